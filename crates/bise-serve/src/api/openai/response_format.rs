//! What an answer is told to follow: `response_format`, and what llama.cpp and vLLM call it.

use super::number::shown;
use crate::fault::Fault;
use bise_model::constraint::Grammar;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// What an answer's text is.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = openai::ResponseFormat)]
pub struct ResponseFormat {
    /// Any text, any JSON object, or JSON by a schema.
    r#type: Kind,
    /// The schema of `json_schema`.
    json_schema: Option<Named>,
    /// A schema of `json_object`, as llama.cpp's clients have it.
    #[schema(value_type = Option<Object>)]
    schema: Option<Box<RawValue>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = openai::FormatType)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Text,
    JsonObject,
    JsonSchema,
}

/// A JSON schema with a name.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = openai::NamedSchema)]
pub struct Named {
    /// What to call it; the model does not see it.
    #[allow(dead_code)] // is checked to be a text
    name: Option<String>,
    /// JSON Schema 2020-12 or an older draft; keywords that cannot be followed are refused.
    #[schema(value_type = Option<Object>)]
    schema: Option<Box<RawValue>>,
    /// Schemas are always followed to the letter.
    #[allow(dead_code)] // is checked to be a boolean
    strict: Option<bool>,
}

/// A grammar, and the field that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What the answer must follow.
    pub grammar: Grammar,
    /// Where it stands in the request.
    pub param: &'static str,
}

impl Told {
    /// The schema, when the answer is to be JSON.
    pub fn schema(&self) -> Option<Value> {
        match &self.grammar {
            Grammar::JsonObject => Some(serde_json::json!({"type": "object"})),
            Grammar::JsonSchema(text) => serde_json::from_str(text).ok(),
            Grammar::Regex(_) | Grammar::Lark(_) | Grammar::Gbnf(_) => None,
        }
    }
}

impl ResponseFormat {
    /// The grammar of such answers; none for any text.
    ///
    /// # Errors
    /// When a schema is missing, or no object.
    pub fn asked(&self) -> Result<Option<Told>, Fault> {
        const SCHEMA: &str = "response_format.json_schema.schema";
        let named = self.json_schema.as_ref();
        let named = named.and_then(|named| named.schema.as_ref());
        match (self.r#type, named, &self.schema) {
            (Kind::Text, ..) => Ok(None),
            (Kind::JsonObject, _, Some(schema)) => {
                by_schema(schema, "response_format.schema").map(Some)
            }
            (Kind::JsonObject, ..) => Ok(Some(Told {
                grammar: Grammar::JsonObject,
                param: "response_format",
            })),
            (Kind::JsonSchema, Some(schema), _) => by_schema(schema, SCHEMA).map(Some),
            (Kind::JsonSchema, None, _) => {
                let message = format!("there is no {SCHEMA}; expected a JSON schema, an object");
                Err(Fault::bad(message).at(SCHEMA))
            }
        }
    }
}

/// The grammar of JSON by `schema`, which is an object, or a text that says one.
///
/// # Errors
/// When it is neither.
pub fn by_schema(schema: &RawValue, param: &'static str) -> Result<Told, Fault> {
    let text = serde_json::from_str::<String>(schema.get());
    let text = text.unwrap_or_else(|_| schema.get().to_owned());
    if !text.trim_start().starts_with('{') {
        let found = shown(&text);
        let message = format!("{param}: found {found}, expected a JSON schema, an object");
        return Err(Fault::bad(message).at(param));
    }
    Ok(Told {
        grammar: Grammar::JsonSchema(text),
        param,
    })
}
