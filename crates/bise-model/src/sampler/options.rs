//! The options of `bise run`, and the chain of filters they stand for.

use super::order::check_order;
use super::{
    Chain, Dry, DryOptions, Greedy, MinP, Mirostat, Penalties, SamplerError, SamplerKind,
    Temperature, TopK, TopP, Typical, Xtc,
};

/// How to choose tokens. The defaults write varied, sensible text.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerOptions {
    /// Which samplers work, and in which order. A sampler that is not among them does nothing,
    /// whatever its options.
    pub samplers: Vec<SamplerKind>,
    /// Logits are divided by this: below 1 the likely gets likelier. 0 takes the most likely token
    /// always.
    pub temperature: f32,
    /// Only this many of the most likely tokens are considered; 0 for all.
    pub top_k: usize,
    /// Only the most likely tokens that together have this probability are considered; 1 for all.
    pub top_p: f32,
    /// Only tokens with this share of the most likely token's probability are considered; 0 for
    /// all.
    pub min_p: f32,
    /// Only the tokens closest to the expected surprise that together have this probability are
    /// considered; 1 for all.
    pub typical: f32,
    /// How often all but the least likely of the likely tokens are left out; 0 for never.
    pub xtc_probability: f32,
    /// The probability from which on a token is likely in this sense.
    pub xtc_threshold: f32,
    /// Penalties for going on with repetitions.
    pub dry: DryOptions,
    /// How much less likely tokens become that occurred recently; 1 for no less.
    pub repeat_penalty: f32,
    /// What tokens lose for each time that they occurred recently; 0 for nothing.
    pub frequency_penalty: f32,
    /// What tokens lose that occurred recently; 0 for nothing.
    pub presence_penalty: f32,
    /// How many of the last tokens count as recent.
    pub repeat_last_n: usize,
    /// The mean surprise that mirostat holds, in bits a token.
    pub mirostat_target: f32,
    /// How fast mirostat learns.
    pub mirostat_rate: f32,
    /// Added to the logits of tokens before all else; negative infinity forbids a token.
    pub logit_bias: Vec<(u32, f32)>,
    /// The same seed gives the same text; `None` for a random seed, which the sampler then tells.
    pub seed: Option<u64>,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            samplers: SamplerKind::DEFAULT.to_vec(),
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical: 1.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            dry: DryOptions::default(),
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            repeat_last_n: 64,
            mirostat_target: 5.0,
            mirostat_rate: 0.1,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

impl SamplerOptions {
    /// Always the most likely token.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            ..Self::default()
        }
    }

    /// Options that change nothing: tokens are drawn as probable as the model says.
    pub fn off() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            ..Self::default()
        }
    }

    /// The filters these options stand for, in the order of [`samplers`](Self::samplers). Those
    /// that would change nothing are left out.
    ///
    /// # Errors
    /// When an option is out of its range, or the order of samplers makes no sense.
    pub fn chain(&self) -> Result<Chain, SamplerError> {
        self.validate()?;
        let mut chain = Chain::new();
        for &kind in &self.samplers {
            self.push(kind, &mut chain);
        }
        Ok(chain)
    }

    fn push(&self, kind: SamplerKind, chain: &mut Chain) {
        let penalizes = self.repeat_penalty != 1.0
            || self.frequency_penalty != 0.0
            || self.presence_penalty != 0.0;
        match kind {
            SamplerKind::Penalties if penalizes && self.repeat_last_n > 0 => {
                chain.push(Penalties::new(
                    self.repeat_penalty,
                    self.frequency_penalty,
                    self.presence_penalty,
                    self.repeat_last_n,
                ))
            }
            SamplerKind::Dry if self.dry.multiplier != 0.0 && self.dry.last_n > 0 => {
                chain.push(Dry::new(self.dry.clone()));
            }
            SamplerKind::TopK if self.top_k > 0 => chain.push(TopK(self.top_k)),
            SamplerKind::Typical if self.typical < 1.0 => chain.push(Typical(self.typical)),
            SamplerKind::TopP if self.top_p < 1.0 => chain.push(TopP(self.top_p)),
            SamplerKind::MinP if self.min_p > 0.0 => chain.push(MinP(self.min_p)),
            SamplerKind::Xtc if self.xtc_probability > 0.0 => chain.push(Xtc {
                probability: self.xtc_probability,
                threshold: self.xtc_threshold,
            }),
            SamplerKind::Temperature if self.temperature == 0.0 => chain.push(Greedy),
            SamplerKind::Temperature if self.temperature != 1.0 => {
                chain.push(Temperature(self.temperature))
            }
            SamplerKind::Mirostat => {
                chain.push(Mirostat::new(self.mirostat_target, self.mirostat_rate))
            }
            _ => {}
        }
    }

    fn validate(&self) -> Result<(), SamplerError> {
        const UNIT: (f32, f32, &str) = (0.0, 1.0, "a number from 0 to 1");
        const ANY: (f32, f32, &str) = (f32::MIN, f32::MAX, "a number");
        const POSITIVE: (f32, f32, &str) = (f32::from_bits(1), f32::MAX, "a positive number");
        const NOT_NEGATIVE: (f32, f32, &str) = (0.0, f32::MAX, "0 or a positive number");
        const FROM_ONE: (f32, f32, &str) = (1.0, f32::MAX, "a number from 1 on");
        let checks = [
            ("temperature", self.temperature, NOT_NEGATIVE),
            ("top_p", self.top_p, UNIT),
            ("min_p", self.min_p, UNIT),
            ("typical", self.typical, UNIT),
            ("xtc_probability", self.xtc_probability, UNIT),
            ("xtc_threshold", self.xtc_threshold, UNIT),
            ("dry.multiplier", self.dry.multiplier, NOT_NEGATIVE),
            ("dry.base", self.dry.base, FROM_ONE),
            ("dry.allowed_length", self.dry.allowed_length as f32, FROM_ONE),
            ("repeat_penalty", self.repeat_penalty, POSITIVE),
            ("frequency_penalty", self.frequency_penalty, ANY),
            ("presence_penalty", self.presence_penalty, ANY),
            ("mirostat_target", self.mirostat_target, POSITIVE),
            ("mirostat_rate", self.mirostat_rate, NOT_NEGATIVE),
        ];
        for (option, found, (least, most, expected)) in checks {
            if !(least..=most).contains(&found) {
                return Err(SamplerError::Option {
                    option,
                    found: found.to_string(),
                    expected,
                });
            }
        }
        if let Some((_, bias)) = self
            .logit_bias
            .iter()
            .find(|(_, b)| b.is_nan() || *b == f32::INFINITY)
        {
            return Err(SamplerError::Option {
                option: "logit_bias",
                found: bias.to_string(),
                expected: "a number or negative infinity",
            });
        }
        check_order(&self.samplers)
    }
}
