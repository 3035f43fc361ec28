//! What chat and text completions have in common.

use super::number::{Real, Whole};
use super::response_format::{ResponseFormat, Told, by_schema};
use super::stops::Stops;
use crate::fault::Fault;
use crate::served::{MOST_CHOICES, Served, Wanted};
use bise_model::constraint::Grammar;
use bise_model::sampler::SamplerOptions;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

/// Fields of every request for answers.
///
/// `user`, `metadata`, `store`, `service_tier`, `safety_identifier` and `prompt_cache_key` are
/// taken, and change nothing: there are no accounts, nothing is stored, and prompts with the same
/// beginning are always known again. Other fields that are not listed here are passed over.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = openai::Common)]
pub struct Common {
    /// The model's name; the one that is served where there is none.
    pub model: Option<String>,
    /// Whether the answer comes in pieces, as server-sent events.
    pub stream: Option<bool>,
    /// How it does.
    pub stream_options: Option<StreamOptions>,
    /// Answers to the same prompt. Answer `i` has the seed `seed + i`.
    #[schema(inline)]
    pub n: Option<Whole<1, { MOST_CHOICES as i64 }>>,
    /// Texts that end an answer, and do not belong to it.
    #[schema(inline)]
    pub stop: Option<Stops>,
    /// The same request with the same seed has the same answer. Random without one.
    #[schema(inline)]
    pub seed: Option<Whole<{ i64::MIN }, { i64::MAX }>>,
    /// What Mistral's clients call the seed.
    #[schema(inline)]
    random_seed: Option<Whole<{ i64::MIN }, { i64::MAX }>>,
    /// Below 1 the likely gets likelier; 0 takes the likeliest token always.
    #[schema(inline)]
    temperature: Option<Real<0, 100>>,
    /// Only the likeliest tokens that together have this probability.
    #[schema(inline)]
    top_p: Option<Real<0, 1>>,
    /// Only so many of the likeliest tokens; all for 0 or -1.
    #[schema(inline)]
    top_k: Option<Whole<-1, { i32::MAX as i64 }>>,
    /// Only tokens with this share of the likeliest token's probability.
    #[schema(inline)]
    min_p: Option<Real<0, 1>>,
    /// Only tokens close to the expected surprise that together have this probability.
    #[schema(inline)]
    typical_p: Option<Real<0, 1>>,
    /// What tokens lose for each time that they occurred recently.
    #[schema(inline)]
    frequency_penalty: Option<Real<-2, 2>>,
    /// What tokens lose that occurred recently.
    #[schema(inline)]
    presence_penalty: Option<Real<-2, 2>>,
    /// How much less likely tokens become that occurred recently; 1 for no less.
    #[serde(alias = "repetition_penalty")]
    #[schema(value_type = Option<f32>, exclusive_minimum = 0, maximum = 100)]
    repeat_penalty: Option<Real<0, 100>>,
    /// How many of the last tokens count as recent; all for -1.
    #[schema(inline)]
    repeat_last_n: Option<Whole<-1, { i32::MAX as i64 }>>,
    /// Added to the logits of tokens, by their numbers.
    #[schema(schema_with = biases)]
    logit_bias: Option<BTreeMap<String, Real<-100, 100>>>,
    /// Whether the answer goes on after tokens that end a text.
    ignore_eos: Option<bool>,
    /// What the answer's text is.
    response_format: Option<ResponseFormat>,
    /// A grammar that the answer follows, in GBNF or in llguidance's Lark.
    grammar: Option<String>,
    /// A JSON schema that the answer follows.
    #[schema(value_type = Option<Object>)]
    guided_json: Option<Box<RawValue>>,
    /// A regular expression that the whole answer matches.
    #[serde(alias = "guided_regex")]
    regex: Option<String>,
}

/// What the interface's description says of `logit_bias`.
fn biases() -> Schema {
    let number = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[0-9]{1,9}$"));
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .property_names(Some(number))
        .additional_properties(Some(Real::<-100, 100>::schema()))
        .into()
}

/// How an answer comes in pieces.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = openai::StreamOptions)]
pub struct StreamOptions {
    /// Whether a last piece tells the numbers of tokens.
    pub include_usage: Option<bool>,
}

impl Common {
    /// Whether the answer comes in pieces.
    pub fn streams(&self) -> bool {
        self.stream == Some(true)
    }

    /// Whether the numbers of tokens were asked for, which plain answers always have.
    pub fn wants_usage(&self) -> bool {
        let options = self.stream_options.as_ref();
        options.and_then(|options| options.include_usage) == Some(true)
    }

    /// The answers to a prompt.
    pub fn choices(&self) -> usize {
        self.n.map_or(1, |n| n.0 as usize)
    }

    /// What is wanted, but for what the interfaces say each in its own way.
    ///
    /// # Errors
    /// When a bias is not of a token.
    pub fn wanted(&self, served: &Served) -> Result<Wanted, Fault> {
        Ok(Wanted {
            sampling: self.sampling(&served.sampling)?,
            stops: self.stop.clone().unwrap_or_default().0,
            choices: Some(self.choices()),
            ignore_end: self.ignore_eos == Some(true),
            ..Wanted::default()
        })
    }

    /// How tokens are chosen: as the server does where the request says nothing.
    fn sampling(&self, usual: &SamplerOptions) -> Result<SamplerOptions, Fault> {
        let real = |asked: Option<f32>, usual: f32| asked.unwrap_or(usual);
        let seed = self.seed.or(self.random_seed).map(|seed| seed.0 as u64);
        let mut sampling = SamplerOptions {
            temperature: real(self.temperature.map(|x| x.0), usual.temperature),
            top_p: real(self.top_p.map(|x| x.0), usual.top_p),
            min_p: real(self.min_p.map(|x| x.0), usual.min_p),
            typical: real(self.typical_p.map(|x| x.0), usual.typical),
            frequency_penalty: real(self.frequency_penalty.map(|x| x.0), usual.frequency_penalty),
            presence_penalty: real(self.presence_penalty.map(|x| x.0), usual.presence_penalty),
            repeat_penalty: real(self.repeat_penalty.map(|x| x.0), usual.repeat_penalty),
            top_k: self.top_k.map_or(usual.top_k, |n| n.0.max(0) as usize),
            // No text is as long as what -1 becomes.
            repeat_last_n: self.repeat_last_n.map_or(usual.repeat_last_n, |n| {
                usize::try_from(n.0).unwrap_or(usize::MAX)
            }),
            seed: seed.or(usual.seed),
            ..usual.clone()
        };
        for (token, bias) in self.logit_bias.iter().flatten() {
            let Ok(token) = token.parse() else {
                let message = format!(
                    "logit_bias has a key {token:?}, expected a token's number as a text: \"123\""
                );
                return Err(Fault::bad(message).at("logit_bias"));
            };
            sampling.logit_bias.push((token, bias.0));
        }
        Ok(sampling)
    }

    /// The one thing that the answer is told to follow.
    ///
    /// # Errors
    /// When there are several, or a schema is none.
    pub fn asked(&self) -> Result<Option<Told>, Fault> {
        let text = |text: &Option<String>, param, grammar: fn(String) -> Grammar| {
            let grammar = text.clone().map(grammar)?;
            Some(Told { grammar, param })
        };
        let format = self.response_format.as_ref().map(ResponseFormat::asked);
        let json = self.guided_json.as_ref();
        let json = json.map(|schema| by_schema(schema, "guided_json"));
        let all = [
            format.transpose()?.flatten(),
            json.transpose()?,
            text(&self.grammar, "grammar", |text| Grammar::from_text(&text)),
            text(&self.regex, "regex", Grammar::Regex),
        ];
        let mut all = all.into_iter().flatten();
        let first = all.next();
        if let (Some(first), Some(second)) = (&first, all.next()) {
            let (first, second) = (first.param, second.param);
            let message = format!("{first} and {second} are both given; expected one of them");
            return Err(Fault::bad(message).at(second));
        }
        Ok(first)
    }
}
