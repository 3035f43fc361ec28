//! Options of the sampler that are given: those of the command line, of a row, or of a function's
//! keywords. What is not given has the default of
//! [`SamplerOptions`](bise_model::sampler::SamplerOptions).
//!
//! `named` sets options by their names, `applied` makes `SamplerOptions` of them.

mod applied;
mod named;

pub use applied::breakers;
pub use named::random_seed;

use bise_model::sampler::{SamplerError, SamplerKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Options of the sampler that are given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// Which samplers work, and in which order, with `;` between them.
    pub samplers: Option<String>,
    /// Logits are divided by this; 0 always takes the likeliest token.
    pub temp: Option<f32>,
    /// Only this many of the likeliest tokens; 0 for all.
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that together have this probability.
    pub top_p: Option<f32>,
    /// Only tokens with this share of the likeliest token's probability.
    pub min_p: Option<f32>,
    /// Only tokens about as surprising as expected that together have this probability.
    pub typical: Option<f32>,
    /// How often all likely tokens but the least likely are left out.
    pub xtc_probability: Option<f32>,
    /// From which probability on a token is likely in this sense.
    pub xtc_threshold: Option<f32>,
    /// How much less likely tokens become that occurred recently.
    pub repeat_penalty: Option<f32>,
    /// What tokens lose for each time that they occurred recently.
    pub frequency_penalty: Option<f32>,
    /// What tokens lose that occurred recently.
    pub presence_penalty: Option<f32>,
    /// How many of the last tokens count as recent; `usize::MAX` for all.
    pub repeat_last_n: Option<usize>,
    /// The penalty for going on with a repetition.
    pub dry_multiplier: Option<f32>,
    /// By which factor it grows with each token.
    pub dry_base: Option<f32>,
    /// Tokens of a repetition without a penalty.
    pub dry_allowed_length: Option<u32>,
    /// How many of the last tokens are searched for repetitions; `usize::MAX` for all.
    pub dry_penalty_last_n: Option<usize>,
    /// Texts that no repetition goes across; `none` alone for no such text.
    pub dry_sequence_breaker: Vec<String>,
    /// `2` for Mirostat 2, in place of all samplers but penalties, DRY and temperature.
    pub mirostat: Option<String>,
    /// The surprise that Mirostat holds, in bits a token.
    pub mirostat_ent: Option<f32>,
    /// How fast Mirostat learns.
    pub mirostat_lr: Option<f32>,
    /// `TOKEN=X`: X is added to the logit of a token, which is an id or the text of one token.
    pub logit_bias: Vec<String>,
    /// The same seed gives the same text.
    pub seed: Option<u64>,
}

/// Why options make no sampler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplingError {
    /// There is no option of this name.
    #[error("there is no option {name}")]
    Unknown {
        /// The name as it was given.
        name: String,
    },
    /// An option has a value that is none.
    #[error("{name} is {found}, expected {expected}")]
    Value {
        /// The option as it was named.
        name: String,
        /// Its value.
        found: String,
        /// What could stand there.
        expected: &'static str,
    },
    /// An option of a sampler that is not at work, which would be given in vain.
    #[error("an option of the sampler {sampler} is given, but {sampler} is not among the samplers")]
    Unused {
        /// The sampler.
        sampler: &'static str,
    },
    /// A bias that is none, or of a token that is none.
    #[error("logit_bias {bias}: {problem}")]
    Bias {
        /// As it was given.
        bias: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The samplers make no chain, or an option is out of its range.
    #[error(transparent)]
    Sampler(#[from] SamplerError),
}

impl Sampling {
    /// These options, and those of `earlier` that are not among them.
    ///
    /// # Errors
    /// When one of these is of a sampler that is not at work then; of `earlier`, such are of no use
    /// any more.
    pub fn over(&self, earlier: &Self) -> Result<Self, SamplingError> {
        let given = |options: &Self| match serde_json::to_value(options) {
            Ok(Value::Object(options)) => options,
            _ => Map::new(),
        };
        let is_given = |value: &Value| {
            !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
        };
        let mut options = given(earlier);
        if self.samplers.is_some() || self.mirostat.is_some() {
            options.remove("samplers");
            options.remove("mirostat");
        }
        options.extend(given(self).into_iter().filter(|(_, value)| is_given(value)));
        // What was written here can be read.
        let options: Self = serde_json::from_value(Value::Object(options)).unwrap_or_default();
        self.check_used(&options.kinds()?)?;
        Ok(options)
    }

    /// The samplers at work.
    ///
    /// # Errors
    /// When there is none of a name, or their order makes no sense.
    pub fn kinds(&self) -> Result<Vec<SamplerKind>, SamplingError> {
        Ok(match (&self.samplers, &self.mirostat) {
            (Some(list), _) => SamplerKind::parse_list(list)?,
            (None, Some(_)) => SamplerKind::MIROSTAT.to_vec(),
            (None, None) => SamplerKind::DEFAULT.to_vec(),
        })
    }

    fn check_used(&self, samplers: &[SamplerKind]) -> Result<(), SamplingError> {
        let penalizes = self.repeat_penalty.is_some()
            || self.frequency_penalty.is_some()
            || self.presence_penalty.is_some()
            || self.repeat_last_n.is_some();
        let dry = self.dry_multiplier.is_some()
            || self.dry_base.is_some()
            || self.dry_allowed_length.is_some()
            || self.dry_penalty_last_n.is_some()
            || !self.dry_sequence_breaker.is_empty();
        let given = [
            (SamplerKind::Penalties, penalizes),
            (SamplerKind::Dry, dry),
            (SamplerKind::TopK, self.top_k.is_some()),
            (SamplerKind::Typical, self.typical.is_some()),
            (SamplerKind::TopP, self.top_p.is_some()),
            (SamplerKind::MinP, self.min_p.is_some()),
            (
                SamplerKind::Xtc,
                self.xtc_probability.is_some() || self.xtc_threshold.is_some(),
            ),
            (SamplerKind::Temperature, self.temp.is_some()),
            (
                SamplerKind::Mirostat,
                self.mirostat_ent.is_some() || self.mirostat_lr.is_some(),
            ),
        ];
        let unused = given
            .into_iter()
            .find(|(kind, given)| *given && !samplers.contains(kind));
        match unused {
            None => Ok(()),
            Some((kind, _)) => Err(SamplingError::Unused {
                sampler: kind.name(),
            }),
        }
    }
}
