//! Speculative decoding: tokens are guessed, and the model reads several of them at once.
//!
//! Reading a few tokens takes hardly longer than reading one, because both read all weights. So
//! what the text may say next is drafted, by the text itself ([`Lookup`]) or by a smaller model
//! ([`DraftModel`]), and read along with the last token. The next tokens are chosen from the logits
//! as ever, one after the other; while each is the one that was drafted, the logits of what follows
//! are there already. The first that differs makes the rest void.
//!
//! The text is the same with and without drafts, bit for bit, at any temperature: logits do not
//! depend on how many tokens are read at a time, and the sampler sees the same logits in the same
//! order. (The method of Leviathan et al., arXiv 2211.17192, keeps the distribution; here the very
//! tokens are kept, since the sampler's random numbers belong to positions.)
//!
//! How many tokens to draft follows from how likely they are right, and from what batches cost on
//! this machine, which is measured on the way: `k` drafts, right with likelihoods `p1, p2, ...` if
//! those before are, make
//!
//! ```text
//! (1 + p1 + p1 p2 + ... + p1 .. pk) / t(1 + k)       tokens in the time of one
//! ```
//!
//! and the best `k` is taken: 0 where nothing pays. Time decides only how fast the text comes,
//! never what it says.

mod costs;
mod draft;
mod ngram;

pub use draft::DraftError;

use crate::context::{Context, ContextOptions};
use crate::error::LoadError;
use crate::generation::token_sampler::TokenSampler;
use crate::model::Model;
use costs::Costs;
use draft::DraftModel;
use ngram::Lookup;

/// What drafts must promise beyond plain decoding to be made: estimates err.
const MARGIN: f64 = 1.05;

/// How to draft.
#[derive(Clone, Copy, Debug)]
pub struct SpeculationOptions {
    /// Draft from what the text said before.
    pub lookup: bool,
    /// Tokens to draft at a time at most; [`Context::REWIND`] is the most there can be.
    pub most: usize,
    /// Draft as much as there is to draft, whether or not it pays.
    pub always: bool,
}

impl Default for SpeculationOptions {
    fn default() -> Self {
        Self {
            lookup: true,
            most: 16,
            always: false,
        }
    }
}

/// How drafting went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens drafted.
    pub drafted: usize,
    /// Those that the text went on with.
    pub accepted: usize,
}

/// Drafts tokens for a [`Session`](crate::Session).
pub struct Speculation {
    options: SpeculationOptions,
    lookup: Option<Lookup>,
    model: Option<DraftModel>,
    costs: Costs,
}

/// The text so far, as those who draft see it.
pub(crate) struct Text<'a> {
    /// Tokens of the text before the first of `tokens`.
    pub dropped: usize,
    /// The rest of the text.
    pub tokens: &'a [u32],
    /// Where among `tokens` those begin that are looked back on.
    pub history: usize,
}

impl Speculation {
    /// Drafts from the text itself, where `options` ask for it.
    pub fn new(options: SpeculationOptions) -> Self {
        Self {
            options: SpeculationOptions {
                most: options.most.min(Context::REWIND),
                ..options
            },
            lookup: options.lookup.then(Lookup::new),
            model: None,
            costs: Costs::default(),
        }
    }

    /// Drafts with `draft` too, a smaller model of `model`'s vocabulary, in a context of `options`.
    ///
    /// # Errors
    /// When the vocabularies differ, or the context cannot be held.
    pub fn with_model(
        mut self,
        model: &Model,
        draft: &Model,
        options: ContextOptions,
    ) -> Result<Self, DraftError> {
        draft::check_vocabulary(model, draft)?;
        let context = Context::new(draft, options)
            .map_err(|error: LoadError| DraftError::Load(error.into()))?;
        self.model = Some(DraftModel::new(context));
        Ok(self)
    }

    /// Puts up to `most` drafts of what follows `text` into `drafts`, which is empty.
    pub(crate) fn draft(
        &mut self,
        text: &Text<'_>,
        most: usize,
        sampler: &mut impl TokenSampler,
        drafts: &mut Vec<u32>,
    ) {
        let most = most.min(self.options.most);
        let lookup = self.lookup.as_mut().map(|lookup| {
            lookup.search(&text.tokens[text.history..], most.max(1));
            &*lookup
        });
        if most == 0 {
            return;
        }
        let (always, costs) = (self.options.always, &self.costs);
        let by_lookup = lookup.map_or(Plan::NONE, |lookup| {
            let most = most.min(lookup.guess().len());
            Plan::best(most, always, |i| lookup.likelihood(i), |k| costs.of(1 + k))
        });
        let by_model = self
            .model
            .as_mut()
            .map_or(Plan::NONE, |model| model.plan(most, always, costs));
        match (lookup, &mut self.model) {
            (_, Some(model)) if by_model.drafts > 0 && by_model.rate > by_lookup.rate => {
                model.draft(text, by_model.drafts, sampler, drafts);
            }
            (Some(lookup), _) => drafts.extend(&lookup.guess()[..by_lookup.drafts]),
            (None, _) => {}
        }
    }

    /// The text went on with `token`.
    pub(crate) fn observe(&mut self, token: u32) {
        if let Some(lookup) = &mut self.lookup {
            lookup.observe(token);
        }
        if let Some(model) = &mut self.model {
            model.observe(token);
        }
    }

    /// A batch of `n` tokens took `seconds`.
    pub(crate) fn ran(&mut self, n: usize, seconds: f64) {
        self.costs.observe(n, seconds);
    }

    /// The text ends after `len` tokens now.
    pub(crate) fn truncate(&mut self, len: usize) {
        if let Some(model) = &mut self.model {
            model.truncate(len);
        }
    }
}

/// How many tokens to draft.
#[derive(Clone, Copy, Debug)]
struct Plan {
    drafts: usize,
    /// Tokens to expect in the time of one.
    rate: f64,
}

impl Plan {
    const NONE: Self = Self {
        drafts: 0,
        rate: 1.0,
    };

    /// The best of up to `most` drafts, when `cost` gives the time of so many in that of a batch of
    /// one; none before costs are known. With `always` it is `most` drafts.
    fn best(
        most: usize,
        always: bool,
        likelihood: impl Fn(usize) -> f64,
        cost: impl Fn(usize) -> Option<f64>,
    ) -> Self {
        if always && most > 0 {
            return Self {
                drafts: most,
                rate: f64::MAX,
            };
        }
        let (mut best, mut chain, mut expected) = (Self::NONE, 1.0, 1.0);
        for drafts in 1..=most {
            chain *= likelihood(drafts - 1);
            expected += chain;
            let Some(cost) = cost(drafts) else { break };
            let rate = expected / cost;
            if rate > best.rate.max(MARGIN) {
                best = Self { drafts, rate };
            }
        }
        best
    }
}

/// A share of events, of which the last count most.
#[derive(Clone, Copy, Debug)]
struct Rate {
    hits: f64,
    all: f64,
}

impl Rate {
    /// How much an event counts after the next one.
    const FADE: f64 = 0.95;

    /// As if two events had had this share.
    fn new(share: f64) -> Self {
        Self {
            hits: 2.0 * share,
            all: 2.0,
        }
    }

    fn observe(&mut self, hit: bool) {
        self.hits = self.hits * Self::FADE + f64::from(u8::from(hit));
        self.all = self.all * Self::FADE + 1.0;
    }

    fn share(self) -> f64 {
        self.hits / self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_number_of_drafts() {
        let plan = |likelihood: f64, slope: f64| {
            Plan::best(16, false, |_| likelihood, |k| Some(1.0 + slope * k as f64))
        };
        assert_eq!(
            plan(0.9, 1.0).drafts,
            0,
            "a draft that costs as much as a token never pays"
        );
        assert_eq!(plan(0.05, 0.2).drafts, 0, "nor does one that is never right");
        assert_eq!(plan(1.0, 0.2).drafts, 16);
        let few = plan(0.6, 0.1);
        assert!((2..8).contains(&few.drafts) && few.rate > 1.5, "{few:?}");
        assert_eq!(
            Plan::best(16, false, |_| 1.0, |_| None).drafts,
            0,
            "nothing is known of costs"
        );
        assert_eq!(Plan::best(16, true, |_| 0.0, |_| None).drafts, 16);
        assert_eq!(Plan::best(0, true, |_| 0.0, |_| None).drafts, 0);
    }
}
