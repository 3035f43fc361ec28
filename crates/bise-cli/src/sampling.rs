//! How tokens are chosen: options of every command that generates text.

use crate::numbers;
use crate::usage::Misuse;
use anyhow::{Result, ensure};
use bise_model::sampler::{
    Breakers, DryOptions, Sampler, SamplerError, SamplerKind, SamplerOptions, SamplerState,
};
use bise_model::tokenizer::Tokenizer;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What repetitions do not go across unless other texts are given.
const BREAKERS: [&str; 4] = ["\n", ":", "\"", "*"];

/// Options of the sampler. What is not given has the default of [`SamplerOptions`].
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[command(next_help_heading = "Sampling")]
#[serde(default)]
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
    /// These options, and those of `earlier` that are not among them.
    ///
    /// # Errors
    /// When one of these is of a sampler that is not at work then; of `earlier`, such are of no use
    /// any more.
    pub fn over(&self, earlier: &Self) -> Result<Self> {
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
        let options: Self = serde_json::from_value(Value::Object(options))?;
        self.check_used(&options.kinds()?)?;
        Ok(options)
    }

    /// The samplers at work.
    fn kinds(&self) -> Result<Vec<SamplerKind>> {
        Ok(match (&self.samplers, &self.mirostat) {
            (Some(list), _) => SamplerKind::parse_list(list)?,
            (None, Some(_)) => SamplerKind::MIROSTAT.to_vec(),
            (None, None) => SamplerKind::DEFAULT.to_vec(),
        })
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

    /// The sampler that these options ask for.
    pub fn sampler(&self, tokenizer: &Tokenizer) -> Result<Sampler> {
        Ok(Sampler::new(self.options(tokenizer)?)?)
    }

    /// These options; tokens and breakers are of `tokenizer`'s vocabulary.
    pub fn options(&self, tokenizer: &Tokenizer) -> Result<SamplerOptions> {
        let default = SamplerOptions::default();
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
            logit_bias: self
                .logit_bias
                .iter()
                .map(|text| bias(text, tokenizer))
                .collect::<Result<_, _>>()?,
            seed: self.seed,
        })
    }

    /// An option of a sampler that is not at work would be given in vain.
    fn check_used(&self, samplers: &[SamplerKind]) -> Result<()> {
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
        for (kind, given) in given {
            ensure!(
                !given || samplers.contains(&kind),
                Misuse(format!(
                    "an option of the sampler {0} is given, but {0} is not among the samplers",
                    kind.name()
                ))
            );
        }
        Ok(())
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
            let given: Vec<&str> = self.dry_sequence_breaker.iter().map(String::as_str).collect();
            let texts = match &given[..] {
                [] => &BREAKERS[..],
                ["none"] => &[],
                texts => texts,
            };
            let tokens = (0..tokenizer.vocabulary().len() as u32).map(|id| tokenizer.bytes(id));
            options.breakers = Breakers::new(texts, tokens);
        }
        options
    }
}

/// An order of samplers.
fn list(text: &str) -> Result<String, SamplerError> {
    SamplerKind::parse_list(text).map(|_| text.to_owned())
}

/// `ID=X`, or `TEXT=X` for a text of one token.
fn bias(text: &str, tokenizer: &Tokenizer) -> Result<(u32, f32), Misuse> {
    let wrong = |problem: String| Misuse(format!("--logit-bias {text}: {problem}"));
    let (token, bias) = text
        .rsplit_once('=')
        .ok_or_else(|| wrong("expected TOKEN=X, such as 1234=-5 or ' yes'=+2".to_owned()))?;
    let number = match bias.parse::<f32>() {
        Ok(number) if number.is_finite() || bias == "-inf" => number,
        _ => return Err(wrong(format!("'{bias}' is no number, nor -inf"))),
    };
    if !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit()) {
        let tokens = tokenizer.vocabulary().len();
        return match token.parse() {
            Ok(id) if (id as usize) < tokens => Ok((id, number)),
            _ => Err(wrong(format!("there is no token {token}; there are {tokens}"))),
        };
    }
    let found = (0..tokenizer.vocabulary().len() as u32)
        .find(|&id| !token.is_empty() && *tokenizer.bytes(id) == *token.as_bytes());
    found.map(|id| (id, number)).ok_or_else(|| {
        wrong(format!(
            "no token has the text '{token}'; bise tokenize shows the tokens of a text"
        ))
    })
}
