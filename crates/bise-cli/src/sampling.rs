//! How tokens are chosen: options of every command that generates text.

use crate::numbers;
use crate::usage::Misuse;
use anyhow::{Error, Result};
use bise_model::sampler::{Sampler, SamplerError, SamplerKind, SamplerOptions, SamplerState};
use bise_model::tokenizer::Tokenizer;
use bise_serve::sampling::{Sampling as Given, SamplingError};
use clap::Args;

/// Options of the sampler, as the command line has them.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Sampling")]
pub struct Sampling {
    /// Which samplers work, and in which order, with ; between them
    /// [default: penalties;dry;top-k;typical;top-p;min-p;xtc;temperature]
    #[arg(long, value_name = "LIST", value_parser = list)]
    samplers: Option<String>,
    /// Higher is more varied; 0 always takes the likeliest token [default: 0.8]
    #[arg(long, visible_alias = "temperature", allow_negative_numbers = true, value_parser = numbers::not_negative)]
    temp: Option<f32>,
    /// Choose among the K likeliest tokens; 0 or -1 among all [default: 40]
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = numbers::top_k)]
    top_k: Option<usize>,
    /// Choose among the likeliest tokens whose probabilities reach P together [default: 0.95]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = numbers::unit)]
    top_p: Option<f32>,
    /// Choose among tokens at least P times as likely as the likeliest [default: 0.05]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = numbers::unit)]
    min_p: Option<f32>,
    /// Choose among the tokens about as surprising as expected whose probabilities reach P
    /// together; 1 among all [default: 1]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = numbers::unit)]
    typical: Option<f32>,
    /// How often to leave out all likely tokens but the least likely (XTC); 0 never [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = numbers::unit)]
    xtc_probability: Option<f32>,
    /// From which probability on a token is likely to XTC [default: 0.1]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = numbers::unit)]
    xtc_threshold: Option<f32>,
    /// Make tokens that occurred recently less likely by this factor; 1 does not [default: 1]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true, value_parser = numbers::positive)]
    repeat_penalty: Option<f32>,
    /// Take this from the logit of a token for each time that it occurred recently [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = numbers::finite)]
    frequency_penalty: Option<f32>,
    /// Take this from the logits of tokens that occurred recently [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = numbers::finite)]
    presence_penalty: Option<f32>,
    /// How many of the last tokens count as recent; -1 all [default: 64]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = numbers::all_or)]
    repeat_last_n: Option<usize>,
    /// Penalty for tokens that go on with a repetition (DRY); 0 none [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = numbers::not_negative)]
    dry_multiplier: Option<f32>,
    /// By which factor DRY's penalty grows with each token of the repetition [default: 1.75]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true, value_parser = numbers::from_one)]
    dry_base: Option<f32>,
    /// Tokens of a repetition that DRY lets pass [default: 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..))]
    dry_allowed_length: Option<u32>,
    /// How many of the last tokens DRY searches; -1 all [default: -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = numbers::all_or)]
    dry_penalty_last_n: Option<usize>,
    /// A text that DRY sees no repetition across; can be repeated; none for no such text
    /// [default: end of line, colon, quotation mark, asterisk]
    #[arg(long, value_name = "TEXT")]
    dry_sequence_breaker: Vec<String>,
    /// Hold the surprise of the text: 2 for Mirostat 2, in place of all samplers but penalties, DRY
    /// and temperature
    #[arg(long, value_name = "2", value_parser = ["2"], conflicts_with_all =
        ["samplers", "top_k", "top_p", "min_p", "typical", "xtc_probability", "xtc_threshold"])]
    mirostat: Option<String>,
    /// The surprise that Mirostat holds, in bits a token [default: 5]
    #[arg(long, value_name = "BITS", allow_negative_numbers = true, value_parser = numbers::positive)]
    mirostat_ent: Option<f32>,
    /// How fast Mirostat learns [default: 0.1]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = numbers::not_negative)]
    mirostat_lr: Option<f32>,
    /// Add X to the logit of a token, which is an id or the text of one token; -inf forbids it; can
    /// be repeated
    #[arg(long, value_name = "TOKEN=X")]
    logit_bias: Vec<String>,
    /// Makes the choice of tokens repeatable; -1 is another one each time [default: -1; a session
    /// goes on with its own]
    #[arg(short, long, value_name = "SEED", allow_negative_numbers = true, value_parser = numbers::seed)]
    seed: Option<u64>,
}

impl Sampling {
    /// What is given, in no command line's words.
    ///
    /// # Errors
    /// When an option is of a sampler that is not at work.
    pub fn given(&self) -> Result<Given> {
        self.over(&Given::default())
    }

    /// These options, and those of `earlier` that are not among them.
    ///
    /// # Errors
    /// As [`given`](Self::given).
    pub fn over(&self, earlier: &Given) -> Result<Given> {
        let given = Given {
            samplers: self.samplers.clone(),
            temp: self.temp,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            typical: self.typical,
            xtc_probability: self.xtc_probability,
            xtc_threshold: self.xtc_threshold,
            repeat_penalty: self.repeat_penalty,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            repeat_last_n: self.repeat_last_n,
            dry_multiplier: self.dry_multiplier,
            dry_base: self.dry_base,
            dry_allowed_length: self.dry_allowed_length,
            dry_penalty_last_n: self.dry_penalty_last_n,
            dry_sequence_breaker: self.dry_sequence_breaker.clone(),
            mirostat: self.mirostat.clone(),
            mirostat_ent: self.mirostat_ent,
            mirostat_lr: self.mirostat_lr,
            logit_bias: self.logit_bias.clone(),
            seed: self.seed,
        };
        given.over(earlier).map_err(misuse)
    }

    /// Makes `sampler` go on where another was: with its random numbers, unless these options have
    /// another seed, and with what its filters have learnt, if it has the same ones. Says when the
    /// random numbers are others.
    pub fn go_on(&self, sampler: &mut Sampler, state: &SamplerState) -> Option<String> {
        let mut state = state.clone();
        let mut said = None;
        if let Some(seed) = self.seed.filter(|&seed| seed != state.seed) {
            said = Some(format!(
                "The random numbers begin anew, from seed {seed} instead of {}.",
                state.seed
            ));
            (state.seed, state.draws) = (seed, 0);
        }
        if sampler.restore(&state).is_err() {
            state.memories = sampler.state().memories;
            let restored = sampler.restore(&state);
            debug_assert!(restored.is_ok(), "these are its own");
        }
        said
    }
}

/// The sampler that options ask for.
pub fn sampler(given: &Given, tokenizer: &Tokenizer) -> Result<Sampler> {
    given.sampler(tokenizer).map_err(misuse)
}

/// All options; tokens and breakers are of `tokenizer`'s vocabulary.
pub fn options(given: &Given, tokenizer: &Tokenizer) -> Result<SamplerOptions> {
    given.options(tokenizer).map_err(misuse)
}

/// What is wrong with options of a command line, by their names there.
fn misuse(error: SamplingError) -> Error {
    match error {
        SamplingError::Bias { bias, problem } => {
            Misuse(format!("--logit-bias {bias}: {problem}")).into()
        }
        SamplingError::Unused { .. } => Misuse(error.to_string()).into(),
        error => error.into(),
    }
}

/// An order of samplers.
fn list(text: &str) -> Result<String, SamplerError> {
    SamplerKind::parse_list(text).map(|_| text.to_owned())
}
