//! A smaller model that drafts.

use super::costs::Costs;
use super::plan::Plan;
use super::rate::Rate;
use super::text::Text;
use crate::context::Context;
use crate::error::LoadError;
use crate::generation::token_sampler::TokenSampler;
use crate::model::Model;
use bise_format::gguf::{Array, Value};
use std::time::Instant;

/// Why a model cannot draft for another.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// The models do not have the same tokens.
    #[error(
        "the draft model's vocabulary is another one: {what} is {draft}, the model's is {model}"
    )]
    Vocabulary {
        /// What differs.
        what: String,
        /// What the model has.
        model: String,
        /// What the draft model has.
        draft: String,
    },
    /// The draft model's context cannot be held.
    #[error("the draft model")]
    Load(#[source] Box<LoadError>),
}

/// Checks that `draft`'s tokens are `model`'s.
///
/// Scores and merges may differ: text is not encoded with the draft model.
pub(super) fn check_vocabulary(model: &Model, draft: &Model) -> Result<(), DraftError> {
    let differs =
        |what: String, model: String, draft: String| DraftError::Vocabulary { what, model, draft };
    let sizes = [model, draft].map(Model::vocabulary_size);
    if sizes[0] != sizes[1] {
        let [model, draft] = sizes.map(|n| format!("{n} tokens"));
        return Err(differs("its size".into(), model, draft));
    }
    for key in ["tokens", "token_type", "bos_token_id", "eos_token_id"] {
        let key = format!("tokenizer.ggml.{key}");
        let of = |model: &Model| model.metadata().get(&key).cloned();
        match (of(model), of(draft)) {
            (Some(Value::Array(a)), Some(Value::Array(b))) => {
                if let Some((i, a, b)) = first_difference(&a, &b) {
                    return Err(differs(format!("{key}[{i}]"), a, b));
                }
            }
            (a, b) if a == b => {}
            (a, b) => return Err(differs(key, describe(a), describe(b))),
        }
    }
    Ok(())
}

fn first_difference(a: &Array, b: &Array) -> Option<(usize, String, String)> {
    if a == b {
        return None;
    }
    let (a, b) = (a.values(), b.values());
    let i = (0..a.len().max(b.len())).find(|&i| a.get(i) != b.get(i))?;
    Some((i, describe(a.get(i).cloned()), describe(b.get(i).cloned())))
}

fn describe(value: Option<Value>) -> String {
    match value {
        None => "absent".to_owned(),
        Some(Value::String(text)) => format!("{text:?}"),
        Some(Value::Array(array)) => format!("a list of {}", array.len()),
        Some(Value::U32(n)) => n.to_string(),
        Some(Value::I32(n)) => n.to_string(),
        Some(other) => format!("{other:?}"),
    }
}

/// Steps without drafts after the first that did not pay; each further one doubles them.
const PAUSE: usize = 16;
const LONGEST_PAUSE: usize = 512;
/// Drafts of a trial after a pause.
const TRIAL: usize = 3;

/// A context of the smaller model that follows the text.
pub(super) struct DraftModel {
    context: Context,
    /// The token of the text that the context begins with.
    first: usize,
    /// Tokens of the text that the context agrees with; it may have read more.
    agreed: usize,
    /// Tokens of the text, when it was last told.
    len: usize,
    /// What was drafted after them.
    drafts: Vec<u32>,
    /// What is looked back on: the end of the text, and the drafts.
    history: Vec<u32>,
    /// Share of drafts that are right.
    right: Rate,
    /// Seconds that a draft takes.
    seconds: Option<f64>,
    pause: usize,
    wait: usize,
}

impl DraftModel {
    pub fn new(context: Context) -> Self {
        Self {
            context,
            first: 0,
            agreed: 0,
            len: 0,
            drafts: Vec::new(),
            history: Vec::new(),
            right: Rate::new(0.7),
            seconds: None,
            pause: PAUSE,
            wait: 0,
        }
    }

    /// How many tokens to draft, up to `most`.
    pub fn plan(&mut self, most: usize, always: bool, costs: &Costs) -> Plan {
        let draft = match (self.seconds, costs.one()) {
            (Some(draft), Some(one)) => draft / one,
            _ => 0.1,
        };
        let share = self.right.share();
        let cost = |k: usize| Some(costs.of(1 + k)? + k as f64 * draft);
        let plan = Plan::best(most, always, |_| share, cost);
        if plan.drafts > 0 {
            self.pause = PAUSE;
            self.wait = 0;
            return plan;
        }
        if costs.one().is_none() {
            return plan;
        }
        // It does not pay; now and then it is tried again.
        self.wait += 1;
        if self.wait <= self.pause {
            return plan;
        }
        self.wait = 0;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let drafts = TRIAL.min(most);
        Plan {
            drafts,
            rate: 1.0 + f64::EPSILON,
        }
    }

    /// Puts up to `most` drafts of what follows `text`, guessed by `sampler`, into `drafts`. Where
    /// the draft model cannot follow it drafts less: nothing depends on it but speed.
    pub fn draft(
        &mut self,
        text: &Text<'_>,
        most: usize,
        sampler: &mut impl TokenSampler,
        drafts: &mut Vec<u32>,
    ) {
        let start = Instant::now();
        self.len = text.dropped + text.tokens.len();
        self.drafts.clear();
        if !self.reach(text, most) {
            return;
        }
        self.history.clear();
        self.history.extend_from_slice(&text.tokens[text.history..]);
        let mut unread = &text.tokens[self.agreed - text.dropped..];
        let caught_up = unread.len() <= 1 + most;
        for ahead in 0..most {
            let Ok(logits) = self.context.forward(unread) else {
                break;
            };
            let Ok(token) = sampler.draft(ahead, logits, &self.history) else {
                break;
            };
            self.history.push(token);
            self.drafts.push(token);
            unread = &self.drafts[ahead..];
        }
        drafts.extend_from_slice(&self.drafts);
        self.agreed = self.len;
        if caught_up && !self.drafts.is_empty() {
            let seconds = start.elapsed().as_secs_f64() / self.drafts.len() as f64;
            let mean = self.seconds.get_or_insert(seconds);
            *mean += 0.2 * (seconds - *mean);
        }
    }

    /// Takes back what the text does not say, and makes room for the rest and `most` drafts, if
    /// need be by reading only the end of the text.
    fn reach(&mut self, text: &Text<'_>, most: usize) -> bool {
        let (capacity, len) = (self.context.capacity(), self.len);
        let fits = |first: usize| capacity.is_none_or(|n| len - first + most <= n);
        let read = (self.first + self.context.len()).min(self.agreed).min(len - 1);
        let follows = read >= self.first.max(text.dropped) && fits(self.first);
        if follows && self.context.truncate(read - self.first) {
            self.agreed = read;
            return true;
        }
        let end = len - (self.context.options().max_tokens / 2).clamp(1, len);
        self.first = if fits(text.dropped) {
            text.dropped
        } else {
            end.max(text.dropped)
        };
        self.agreed = self.first;
        self.context.clear();
        fits(self.first)
    }

    /// The text went on with `token`.
    pub fn observe(&mut self, token: u32) {
        let i = self.agreed - self.len.min(self.agreed);
        let Some(&draft) = self.drafts.get(i) else {
            self.drafts.clear();
            return;
        };
        self.right.observe(draft == token);
        if draft == token {
            self.agreed += 1;
        } else {
            self.drafts.clear();
        }
    }

    /// The text ends after `len` tokens now.
    pub fn truncate(&mut self, len: usize) {
        self.drafts.clear();
        self.agreed = self.agreed.min(len);
    }
}
