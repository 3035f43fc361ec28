//! Who drafts, and how much: the text itself or a smaller model, whichever promises more.

use super::costs::Costs;
use super::draft::{DraftError, DraftModel, check_vocabulary};
use super::ngram::Lookup;
use super::plan::Plan;
use super::text::Text;
use crate::context::{Context, ContextOptions};
use crate::error::LoadError;
use crate::generation::token_sampler::TokenSampler;
use crate::model::Model;

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
        check_vocabulary(model, draft)?;
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
            lookup.plan(most, always, |k| costs.of(1 + k))
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
