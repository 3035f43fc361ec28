//! Tools as requests have them, and which are to be called.

use super::message::Kind;
use super::number::unexpected;
use crate::fault::Fault;
use crate::tools::{self, Function, MOST_TOOLS};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// A tool that the model may call.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = openai::Tool)]
pub struct Tool {
    /// There are only functions.
    #[allow(dead_code)] // there is nothing to choose
    r#type: Option<Kind>,
    /// The function.
    function: Offered,
}

/// A function that the model may call.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = openai::Offered)]
struct Offered {
    /// 1 to 64 letters, digits, `_` or `-`.
    #[schema(pattern = "^[a-zA-Z0-9_-]{1,64}$")]
    name: String,
    /// What it does; the model reads it.
    #[allow(dead_code)] // chat formats take it from the JSON; here it is checked to be a text
    description: Option<String>,
    /// A JSON schema of the arguments, an object.
    #[serde(default, deserialize_with = "object")]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Box<RawValue>>,
    /// Arguments follow the schema to the letter wherever a call is required; where the model may
    /// choose, it writes them as it likes.
    #[allow(dead_code)] // is checked to be a boolean
    strict: Option<bool>,
}

fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    match Option::<Box<RawValue>>::deserialize(deserializer)? {
        Some(json) if !json.get().starts_with('{') => {
            Err(unexpected(&json, "expected a JSON schema, an object"))
        }
        written => Ok(written),
    }
}

/// Whether tools are called, and which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model chooses.
    #[default]
    Auto,
    /// None is called, and none is shown.
    None,
    /// Any of them is called.
    Any,
    /// This one is called.
    Named(String),
}

impl<'de> Deserialize<'de> for ToolChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

impl PartialSchema for ToolChoice {
    fn schema() -> RefOr<Schema> {
        let words = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(["auto", "none", "required", "any"]));
        OneOfBuilder::new().item(words).item(Named::schema()).into()
    }
}

impl ToSchema for ToolChoice {}

struct Reader;

#[derive(Deserialize, ToSchema)]
#[schema(as = openai::NamedTool)]
struct Named {
    #[allow(dead_code)] // there is nothing to choose
    r#type: Kind,
    #[schema(inline)]
    function: Name,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = openai::ToolName)]
struct Name {
    name: String,
}

impl<'de> Visitor<'de> for Reader {
    type Value = ToolChoice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "\"auto\", \"none\", \"required\", \"any\", or {\"type\": \"function\", \
             \"function\": {\"name\": ..}}",
        )
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<ToolChoice, E> {
        match word {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" | "any" => Ok(ToolChoice::Any),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ToolChoice, A::Error> {
        let named = Named::deserialize(MapAccessDeserializer::new(map))?;
        Ok(ToolChoice::Named(named.function.name))
    }
}

/// The functions that `tools` offer.
///
/// # Errors
/// When there are too many, two have one name, or a name is none.
pub fn functions(offered: &[Tool]) -> Result<Vec<Function>, Fault> {
    if offered.len() > MOST_TOOLS {
        let message = format!("there are {} tools; expected at most {MOST_TOOLS}", offered.len());
        return Err(Fault::bad(message).at("tools"));
    }
    let mut functions: Vec<Function> = Vec::new();
    for (i, Tool { function, .. }) in offered.iter().enumerate() {
        let name = &function.name;
        let twin = functions.iter().any(|other| other.name == *name);
        if twin || !tools::is_name(name) {
            let what = match twin {
                true => "is the name of another tool too; expected one of its own",
                false => "is no name for a tool; expected 1 to 64 letters, digits, _ or -",
            };
            let param = format!("tools[{i}].function.name");
            return Err(Fault::bad(format!("{param}: {name:?} {what}")).at(param));
        }
        let parameters = function.parameters.as_ref();
        functions.push(Function {
            name: name.clone(),
            parameters: parameters.and_then(|json| serde_json::from_str(json.get()).ok()),
        });
    }
    Ok(functions)
}
