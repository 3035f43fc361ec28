//! What options that are given make of [`SamplerOptions`].

use super::{Sampling, SamplingError};
use bise_model::sampler::{Breakers, DryOptions, Sampler, SamplerOptions};
use bise_model::tokenizer::Tokenizer;

/// What repetitions do not go across unless other texts are given, as in llama.cpp.
const BREAKERS: [&str; 4] = ["\n", ":", "\"", "*"];

/// What DRY sees no repetition across: tokens with one of `texts`, or of the usual ones when there
/// are none given.
pub fn breakers(texts: Option<&[String]>, tokenizer: &Tokenizer) -> Breakers {
    let tokens = (0..tokenizer.vocabulary().len() as u32).map(|id| tokenizer.bytes(id));
    match texts {
        Some(texts) => Breakers::new(texts, tokens),
        None => Breakers::new(&BREAKERS, tokens),
    }
}

impl Sampling {
    /// The sampler that these options ask for.
    ///
    /// # Errors
    /// When an option is out of its range, or there is no token that one names.
    pub fn sampler(&self, tokenizer: &Tokenizer) -> Result<Sampler, SamplingError> {
        Ok(Sampler::new(self.options(tokenizer)?)?)
    }

    /// These options; tokens and breakers are of `tokenizer`'s vocabulary.
    ///
    /// # Errors
    /// When there is no token that one names, or no sampler.
    pub fn options(&self, tokenizer: &Tokenizer) -> Result<SamplerOptions, SamplingError> {
        let default = SamplerOptions::default();
        let biases = self.logit_bias.iter().map(|text| bias(text, tokenizer));
        Ok(SamplerOptions {
            samplers: self.kinds()?,
            temperature: self.temp.unwrap_or(default.temperature),
            top_k: self.top_k.unwrap_or(default.top_k),
            top_p: self.top_p.unwrap_or(default.top_p),
            min_p: self.min_p.unwrap_or(default.min_p),
            typical: self.typical.unwrap_or(default.typical),
            xtc_probability: self.xtc_probability.unwrap_or(default.xtc_probability),
            xtc_threshold: self.xtc_threshold.unwrap_or(default.xtc_threshold),
            dry: self.dry(default.dry, tokenizer),
            repeat_penalty: self.repeat_penalty.unwrap_or(default.repeat_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(default.frequency_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(default.presence_penalty),
            repeat_last_n: self.repeat_last_n.unwrap_or(default.repeat_last_n),
            mirostat_target: self.mirostat_ent.unwrap_or(default.mirostat_target),
            mirostat_rate: self.mirostat_lr.unwrap_or(default.mirostat_rate),
            logit_bias: biases.collect::<Result<_, _>>()?,
            seed: self.seed,
        })
    }

    fn dry(&self, default: DryOptions, tokenizer: &Tokenizer) -> DryOptions {
        let mut options = DryOptions {
            multiplier: self.dry_multiplier.unwrap_or(default.multiplier),
            base: self.dry_base.unwrap_or(default.base),
            allowed_length: self
                .dry_allowed_length
                .map_or(default.allowed_length, |n| n as usize),
            last_n: self.dry_penalty_last_n.unwrap_or(default.last_n),
            breakers: default.breakers,
        };
        if options.multiplier != 0.0 {
            let texts = match &self.dry_sequence_breaker[..] {
                [] => None,
                [none] if none == "none" => Some(&[][..]),
                texts => Some(texts),
            };
            options.breakers = breakers(texts, tokenizer);
        }
        options
    }
}

/// `ID=X`, or `TEXT=X` for a text of one token.
fn bias(text: &str, tokenizer: &Tokenizer) -> Result<(u32, f32), SamplingError> {
    let wrong = |problem: String| SamplingError::Bias {
        bias: text.to_owned(),
        problem,
    };
    let (token, bias) = text
        .rsplit_once('=')
        .ok_or_else(|| wrong("expected TOKEN=X, such as 1234=-5 or ' yes'=+2".to_owned()))?;
    let number = match bias.parse::<f32>() {
        Ok(number) if number.is_finite() || bias == "-inf" => number,
        _ => return Err(wrong(format!("'{bias}' is no number, nor -inf"))),
    };
    let tokens = tokenizer.vocabulary().len();
    if !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit()) {
        return match token.parse() {
            Ok(id) if (id as usize) < tokens => Ok((id, number)),
            _ => Err(wrong(format!("there is no token {token}; there are {tokens}"))),
        };
    }
    let found = (0..tokens as u32)
        .find(|&id| !token.is_empty() && *tokenizer.bytes(id) == *token.as_bytes());
    found.map(|id| (id, number)).ok_or_else(|| {
        wrong(format!(
            "no token has the text '{token}'; bise tokenize shows the tokens of a text"
        ))
    })
}
