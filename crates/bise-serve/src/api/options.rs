//! How tokens are chosen, in the words of llama.cpp, which are Ollama's too.

use super::openai::number::{Real, Whole};
use super::openai::stops::Stops;
use crate::fault::Fault;
use crate::sampling::breakers;
use crate::served::{Served, Wanted};
use bise_model::sampler::{SamplerKind, SamplerOptions};
use serde::Deserialize;
use utoipa::ToSchema;

/// A number of tokens; all for -1.
type Tokens = Whole<-1, { i32::MAX as i64 }>;

/// How tokens are chosen, and where an answer ends. What is not there is as the server was told.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct Options {
    /// Logits are divided by this; 0 takes the likeliest token always.
    #[schema(inline)]
    temperature: Option<Real<0, 100>>,
    /// Only so many of the likeliest tokens; all for 0 or -1.
    #[schema(inline)]
    top_k: Option<Tokens>,
    /// Only the likeliest tokens that together have this probability.
    #[schema(inline)]
    top_p: Option<Real<0, 1>>,
    /// Only tokens with this share of the likeliest token's probability.
    #[schema(inline)]
    min_p: Option<Real<0, 1>>,
    /// Only tokens close to the expected surprise that together have this probability.
    #[schema(inline)]
    typical_p: Option<Real<0, 1>>,
    /// How much less likely tokens become that occurred recently; 1 for no less.
    #[schema(value_type = Option<f32>, exclusive_minimum = 0, maximum = 100)]
    repeat_penalty: Option<Real<0, 100>>,
    /// How many of the last tokens count as recent; all for -1.
    #[schema(inline)]
    repeat_last_n: Option<Tokens>,
    /// What tokens lose that occurred recently.
    #[schema(inline)]
    presence_penalty: Option<Real<-100, 100>>,
    /// What tokens lose for each time that they occurred recently.
    #[schema(inline)]
    frequency_penalty: Option<Real<-100, 100>>,
    /// The penalty for going on with a repetition; 0 for none.
    #[schema(inline)]
    dry_multiplier: Option<Real<0, 100>>,
    /// By how much this penalty grows with each token more.
    #[schema(inline)]
    dry_base: Option<Real<1, 100>>,
    /// Shorter repetitions are no repetitions.
    #[schema(inline)]
    dry_allowed_length: Option<Whole<1, { i32::MAX as i64 }>>,
    /// How many of the last tokens are searched for repetitions; all for -1.
    #[schema(inline)]
    dry_penalty_last_n: Option<Tokens>,
    /// Texts that repetitions do not go across.
    #[schema(inline)]
    dry_sequence_breakers: Option<Stops>,
    /// How often all but the least likely of the likely tokens are left out.
    #[schema(inline)]
    xtc_probability: Option<Real<0, 1>>,
    /// The probability from which on a token is likely in this sense.
    #[schema(inline)]
    xtc_threshold: Option<Real<0, 1>>,
    /// 2 for a text of constant surprise, in place of `top_k` and the others that leave tokens out;
    /// 0 for none.
    #[schema(inline)]
    mirostat: Option<Whole<0, 2>>,
    /// The surprise that mirostat holds, in bits a token.
    #[schema(value_type = Option<f32>, exclusive_minimum = 0, maximum = 100)]
    mirostat_tau: Option<Real<0, 100>>,
    /// How fast mirostat learns.
    #[schema(inline)]
    mirostat_eta: Option<Real<0, 100>>,
    /// The same request with the same seed has the same answer. Random without one, and for -1.
    #[schema(inline)]
    seed: Option<Whole<{ i64::MIN }, { i64::MAX }>>,
    /// Texts that end an answer, and do not belong to it.
    #[schema(inline)]
    stop: Option<Stops>,
    /// Tokens of an answer at most; as many as fit for -1, and for Ollama's -2.
    #[serde(alias = "n_predict")]
    #[schema(inline)]
    num_predict: Option<Whole<-2, { i64::MAX }>>,
    /// Tokens of prompt and answer that must fit: no more than do in the server's context.
    #[schema(inline)]
    num_ctx: Option<Whole<1, { i64::MAX }>>,
    /// 1: there is no tail-free sampling.
    #[schema(inline)]
    tfs_z: Option<Real<0, 1>>,
    /// True: no penalty leaves line breaks out.
    penalize_newline: Option<bool>,
}

impl Options {
    /// What is wanted of `served`.
    ///
    /// # Errors
    /// When it cannot be had; the fault names the option.
    pub fn wanted(self, served: &Served) -> Result<Wanted, Fault> {
        self.check(served)?;
        Ok(Wanted {
            sampling: self.sampling(served),
            max_tokens: self.num_predict.and_then(|n| u64::try_from(n.0).ok()),
            stops: self.stop.map_or(Vec::new(), |stops| stops.0),
            ..Wanted::default()
        })
    }

    /// Refuses what cannot be had.
    fn check(&self, served: &Served) -> Result<(), Fault> {
        let refuse = |name: &str, found: String, expected: String| {
            Err(Fault::bad(format!("{name} is {found}, expected {expected}")).at(name))
        };
        let most = served.context;
        if let Some(asked) = self.num_ctx.filter(|asked| asked.0 as u64 > most as u64) {
            let asked = asked.0;
            let expected = format!(
                "at most {most}, the server's context; leave it out, or start the server with --ctx \
                 {asked}"
            );
            return refuse("num_ctx", asked.to_string(), expected);
        }
        if self.mirostat.is_some_and(|kind| kind.0 == 1) {
            let expected = "0 for none, or 2 for mirostat 2".to_owned();
            return refuse("mirostat", "1".to_owned(), expected);
        }
        if let Some(found) = self.tfs_z.filter(|z| z.0 != 1.0) {
            let expected = "1: there is no tail-free sampling".to_owned();
            return refuse("tfs_z", found.0.to_string(), expected);
        }
        if self.penalize_newline == Some(false) {
            let expected = "true: no penalty leaves line breaks out".to_owned();
            return refuse("penalize_newline", "false".to_owned(), expected);
        }
        for (name, given) in [
            ("mirostat_tau", self.mirostat_tau),
            ("repeat_penalty", self.repeat_penalty),
        ] {
            if given.is_some_and(|given| given.0 == 0.0) {
                return refuse(name, "0".to_owned(), "a number above 0".to_owned());
            }
        }
        Ok(())
    }

    fn sampling(&self, served: &Served) -> SamplerOptions {
        let mut options = served.sampling.clone();
        let dry = &mut options.dry;
        for (given, place) in [
            (self.temperature.map(|x| x.0), &mut options.temperature),
            (self.top_p.map(|x| x.0), &mut options.top_p),
            (self.min_p.map(|x| x.0), &mut options.min_p),
            (self.typical_p.map(|x| x.0), &mut options.typical),
            (self.repeat_penalty.map(|x| x.0), &mut options.repeat_penalty),
            (self.presence_penalty.map(|x| x.0), &mut options.presence_penalty),
            (
                self.frequency_penalty.map(|x| x.0),
                &mut options.frequency_penalty,
            ),
            (self.dry_multiplier.map(|x| x.0), &mut dry.multiplier),
            (self.dry_base.map(|x| x.0), &mut dry.base),
            (self.xtc_probability.map(|x| x.0), &mut options.xtc_probability),
            (self.xtc_threshold.map(|x| x.0), &mut options.xtc_threshold),
            (self.mirostat_tau.map(|x| x.0), &mut options.mirostat_target),
            (self.mirostat_eta.map(|x| x.0), &mut options.mirostat_rate),
        ] {
            *place = given.unwrap_or(*place);
        }
        for (given, all, place) in [
            (self.top_k, 0, &mut options.top_k),
            (self.repeat_last_n, usize::MAX, &mut options.repeat_last_n),
            (self.dry_penalty_last_n, usize::MAX, &mut dry.last_n),
        ] {
            if let Some(tokens) = given {
                *place = usize::try_from(tokens.0).unwrap_or(all);
            }
        }
        if let Some(length) = self.dry_allowed_length {
            dry.allowed_length = length.0 as usize;
        }
        if dry.multiplier != 0.0 {
            let texts = self.dry_sequence_breakers.as_ref().map(|texts| &texts.0[..]);
            dry.breakers = breakers(texts, &served.tokenizer);
        }
        match self.mirostat.map(|kind| kind.0) {
            Some(2) => options.samplers = SamplerKind::MIROSTAT.to_vec(),
            Some(0) if options.samplers.contains(&SamplerKind::Mirostat) => {
                options.samplers = SamplerKind::DEFAULT.to_vec();
            }
            _ => {}
        }
        match self.seed.map(|seed| seed.0) {
            Some(-1) => options.seed = None,
            Some(seed) => options.seed = Some(seed as u64),
            None => {}
        }
        options
    }
}
