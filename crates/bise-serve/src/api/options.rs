//! How tokens are chosen, in the words of llama.cpp, which are Ollama's too.

use super::text_or::TextOr;
use crate::fault::Fault;
use crate::served::{Served, Wanted};
use bise_model::sampler::{Breakers, Sampler, SamplerError, SamplerKind, SamplerOptions};
use serde::Deserialize;
use utoipa::ToSchema;

/// Texts in a list at most: each token is compared with all of them.
const MOST_TEXTS: usize = 64;

/// What repetitions do not go across where a request does not say it, as in llama.cpp.
const BREAKERS: [&str; 4] = ["\n", ":", "\"", "*"];

/// How tokens are chosen, and where an answer ends. What is not there is as the server was told.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct Options {
    /// Logits are divided by this; 0 takes the likeliest token always.
    #[schema(minimum = 0)]
    pub temperature: Option<f64>,
    /// Only so many of the likeliest tokens are considered; 0 or -1 for all.
    #[schema(minimum = -1)]
    pub top_k: Option<i64>,
    /// Only the likeliest tokens that together have this probability are considered.
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    /// Only tokens with this share of the likeliest token's probability are considered.
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f64>,
    /// Only the tokens closest to the expected surprise that together have this probability are
    /// considered.
    #[schema(minimum = 0, maximum = 1)]
    pub typical_p: Option<f64>,
    /// How much less likely tokens become that occurred recently; 1 for no less.
    #[schema(exclusive_minimum = 0)]
    pub repeat_penalty: Option<f64>,
    /// How many of the last tokens count as recent; -1 for all.
    #[schema(minimum = -1)]
    pub repeat_last_n: Option<i64>,
    /// What tokens lose that occurred recently.
    pub presence_penalty: Option<f64>,
    /// What tokens lose for each time that they occurred recently.
    pub frequency_penalty: Option<f64>,
    /// The penalty for going on with a repetition; 0 for none.
    #[schema(minimum = 0)]
    pub dry_multiplier: Option<f64>,
    /// By how much this penalty grows with each token more.
    #[schema(minimum = 1)]
    pub dry_base: Option<f64>,
    /// Shorter repetitions are no repetitions.
    #[schema(minimum = 1)]
    pub dry_allowed_length: Option<i64>,
    /// How many of the last tokens are searched for repetitions; -1 for all.
    #[schema(minimum = -1)]
    pub dry_penalty_last_n: Option<i64>,
    /// Texts that repetitions do not go across.
    pub dry_sequence_breakers: Option<Vec<String>>,
    /// How often all but the least likely of the likely tokens are left out.
    #[schema(minimum = 0, maximum = 1)]
    pub xtc_probability: Option<f64>,
    /// The probability from which on a token is likely in this sense.
    #[schema(minimum = 0, maximum = 1)]
    pub xtc_threshold: Option<f64>,
    /// 2 for a text of constant surprise, in place of `top_k` and the others that leave tokens out;
    /// 0 for none.
    #[schema(minimum = 0, maximum = 2)]
    pub mirostat: Option<i64>,
    /// The surprise that mirostat holds, in bits a token.
    #[schema(exclusive_minimum = 0)]
    pub mirostat_tau: Option<f64>,
    /// How fast mirostat learns.
    #[schema(minimum = 0)]
    pub mirostat_eta: Option<f64>,
    /// The same seed gives the same answer; -1 for a random one.
    #[schema(minimum = -1)]
    pub seed: Option<i64>,
    /// Texts that end an answer.
    pub stop: Option<TextOr<String>>,
    /// Tokens of an answer at most; -1 for as many as fit.
    #[serde(alias = "n_predict")]
    #[schema(minimum = -2)]
    pub num_predict: Option<i64>,
    /// Tokens of prompt and answer that must fit: no more than fit in the server's context.
    #[schema(minimum = 1)]
    pub num_ctx: Option<u64>,
    /// 1: there is no tail-free sampling.
    pub tfs_z: Option<f64>,
    /// True: no penalty leaves line breaks out.
    pub penalize_newline: Option<bool>,
}

impl Options {
    /// What is wanted of `served`.
    ///
    /// # Errors
    /// When a number is out of its range; the fault names the option.
    pub fn wanted(self, served: &Served) -> Result<Wanted, Fault> {
        self.check(served)?;
        let sampling = self.sampling(served)?;
        if let Err(error) = Sampler::new(sampling.clone()) {
            return Err(named(&error));
        }
        Ok(Wanted {
            sampling,
            max_tokens: match self.num_predict {
                // Ollama has -2 for filling the context.
                None | Some(-1 | -2) => None,
                Some(n) => Some(count("num_predict", n, "-1 for as many as fit")?),
            },
            stops: stops(self.stop)?,
            ..Wanted::default()
        })
    }

    /// Refuses what cannot be had.
    fn check(&self, served: &Served) -> Result<(), Fault> {
        if let Some(asked) = self.num_ctx.filter(|&asked| asked > served.context as u64) {
            let most = served.context;
            let expected = format!(
                "at most {most}, the server's context; leave it out, or start the server with --ctx {asked}"
            );
            return Err(out_of_range("num_ctx", asked, &expected));
        }
        if let Some(found) = self.tfs_z.filter(|&z| z != 1.0) {
            return Err(out_of_range("tfs_z", found, "1: there is no tail-free sampling"));
        }
        if self.penalize_newline == Some(false) {
            let expected = "true: no penalty leaves line breaks out";
            return Err(out_of_range("penalize_newline", false, expected));
        }
        Ok(())
    }

    fn sampling(&self, served: &Served) -> Result<SamplerOptions, Fault> {
        let mut options = served.sampling.clone();
        let dry = &mut options.dry;
        for (name, given, place) in [
            ("temperature", self.temperature, &mut options.temperature),
            ("top_p", self.top_p, &mut options.top_p),
            ("min_p", self.min_p, &mut options.min_p),
            ("typical_p", self.typical_p, &mut options.typical),
            ("repeat_penalty", self.repeat_penalty, &mut options.repeat_penalty),
            (
                "presence_penalty",
                self.presence_penalty,
                &mut options.presence_penalty,
            ),
            (
                "frequency_penalty",
                self.frequency_penalty,
                &mut options.frequency_penalty,
            ),
            ("dry_multiplier", self.dry_multiplier, &mut dry.multiplier),
            ("dry_base", self.dry_base, &mut dry.base),
            (
                "xtc_probability",
                self.xtc_probability,
                &mut options.xtc_probability,
            ),
            ("xtc_threshold", self.xtc_threshold, &mut options.xtc_threshold),
            ("mirostat_tau", self.mirostat_tau, &mut options.mirostat_target),
            ("mirostat_eta", self.mirostat_eta, &mut options.mirostat_rate),
        ] {
            if let Some(value) = given {
                *place = narrow(name, value)?;
            }
        }
        for (name, given, all, place) in [
            ("top_k", self.top_k, 0, &mut options.top_k),
            (
                "repeat_last_n",
                self.repeat_last_n,
                usize::MAX,
                &mut options.repeat_last_n,
            ),
            (
                "dry_penalty_last_n",
                self.dry_penalty_last_n,
                usize::MAX,
                &mut dry.last_n,
            ),
        ] {
            match given {
                Some(-1) => *place = all,
                Some(n) => *place = size(count(name, n, "-1 for all")?),
                None => {}
            }
        }
        if let Some(n) = self.dry_allowed_length {
            dry.allowed_length = size(count("dry_allowed_length", n, "1 or more")?);
        }
        if dry.multiplier != 0.0 {
            let given = self.dry_sequence_breakers.clone();
            let texts = given.unwrap_or_else(|| BREAKERS.map(str::to_owned).to_vec());
            few("dry_sequence_breakers", &texts)?;
            let ids = 0..served.tokenizer.vocabulary().len() as u32;
            dry.breakers = Breakers::new(&texts, ids.map(|id| served.tokenizer.bytes(id)));
        }
        match self.mirostat {
            None => {}
            Some(0) if !options.samplers.contains(&SamplerKind::Mirostat) => {}
            Some(0) => options.samplers = SamplerKind::DEFAULT.to_vec(),
            Some(2) => options.samplers = SamplerKind::MIROSTAT.to_vec(),
            Some(n) => return Err(out_of_range("mirostat", n, "0 for none, or 2 for mirostat 2")),
        }
        match self.seed {
            None => {}
            Some(-1) => options.seed = None,
            Some(n) => options.seed = Some(count("seed", n, "-1 for a random one")?),
        }
        Ok(options)
    }
}

/// Texts that end an answer.
pub fn stops(stop: Option<TextOr<String>>) -> Result<Vec<String>, Fault> {
    let texts = stop.map(TextOr::into_list).unwrap_or_default();
    few("stop", &texts)?;
    Ok(texts)
}

fn few(name: &str, texts: &[String]) -> Result<(), Fault> {
    match texts.len() <= MOST_TEXTS {
        true => Ok(()),
        false => {
            let found = format!("a list of {}", texts.len());
            Err(out_of_range(name, found, &format!("at most {MOST_TEXTS} texts")))
        }
    }
}

/// A number that fits 32 bits.
pub fn narrow(name: &str, value: f64) -> Result<f32, Fault> {
    let narrow = value as f32;
    match narrow.is_finite() {
        true => Ok(narrow),
        false => Err(out_of_range(name, format!("{value:e}"), "a number of 32 bits")),
    }
}

/// A number from 0 on, where others have a meaning of their own.
fn count(name: &str, value: i64, others: &str) -> Result<u64, Fault> {
    let expected = || format!("a number from 0 on, or {others}");
    u64::try_from(value).map_err(|_| out_of_range(name, value, &expected()))
}

/// As much of it as this machine can have.
fn size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn out_of_range(name: &str, found: impl std::fmt::Display, expected: &str) -> Fault {
    Fault::bad(format!("{name} is {found}, expected {expected}")).at(name)
}

/// What a sampler does not take, by the names of these options.
fn named(error: &SamplerError) -> Fault {
    let SamplerError::Option {
        option,
        found,
        expected,
    } = error
    else {
        return Fault::bad(error.to_string()).at("samplers");
    };
    let name = match *option {
        "typical" => "typical_p".to_owned(),
        "mirostat_target" => "mirostat_tau".to_owned(),
        "mirostat_rate" => "mirostat_eta".to_owned(),
        other => other.replace('.', "_"),
    };
    out_of_range(&name, found, expected)
}
