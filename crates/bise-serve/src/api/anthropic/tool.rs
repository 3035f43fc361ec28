//! Tools, and which are to be called.

use crate::fault::Fault;
use crate::served::Served;
use crate::tools::{self, Function, Wanted};
use bise_model::constraint::Grammar;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// A tool that the model may call.
#[derive(Deserialize, ToSchema)]
#[schema(as = anthropic::Tool)]
pub struct Tool {
    /// `custom`: the server has no tools of its own.
    r#type: Option<String>,
    /// 1 to 64 letters, digits, `_` or `-`.
    #[schema(pattern = "^[a-zA-Z0-9_-]{1,64}$")]
    name: String,
    /// What it does; the model reads it.
    description: Option<String>,
    /// A JSON schema of the arguments.
    #[schema(value_type = Object)]
    input_schema: Option<Box<RawValue>>,
}

/// The same in the words of OpenAI's interface.
#[derive(Serialize)]
struct Offered<'a> {
    r#type: &'static str,
    function: Definition<'a>,
}

#[derive(Serialize)]
struct Definition<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: &'a RawValue,
}

impl Tool {
    /// The same in other words; it is tool `i` of the request.
    fn offered(&self, i: usize) -> Result<Offered<'_>, Fault> {
        let kind = self.r#type.as_deref().unwrap_or("custom");
        let message = match (kind, self.input_schema.as_deref()) {
            ("custom", Some(parameters)) => {
                return Ok(Offered {
                    r#type: "function",
                    function: Definition {
                        name: &self.name,
                        description: self.description.as_deref(),
                        parameters,
                    },
                });
            }
            ("custom", None) => {
                format!("tools[{i}].input_schema is not there, expected a JSON schema")
            }
            _ => format!(
                "tools[{i}].type is {kind:?}: this server has no tools of its own, expected \
                 \"custom\""
            ),
        };
        Err(Fault::bad(message).at(format!("tools[{i}]")))
    }
}

/// `tools` in the words of OpenAI's interface, which chat formats know; none where there are none.
///
/// # Errors
/// When one is the server's business.
pub fn offered(tools: &[Tool]) -> Result<Option<Box<RawValue>>, Fault> {
    let all = tools.iter().enumerate().map(|(i, tool)| tool.offered(i));
    let all: Vec<Offered<'_>> = all.collect::<Result<_, _>>()?;
    match all.is_empty() {
        true => Ok(None),
        // What was read can be written.
        false => Ok(serde_json::value::to_raw_value(&all).ok()),
    }
}

/// Whether tools are called, and which.
#[derive(Deserialize, ToSchema)]
#[schema(as = anthropic::ToolChoice)]
pub struct ToolChoice {
    r#type: Kind,
    /// The one that is called, of type `tool`.
    name: Option<String>,
    /// Whether one alone is called at a time.
    disable_parallel_tool_use: Option<bool>,
}

/// Which tools are called.
#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[schema(as = anthropic::ToolChoiceType)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The model chooses.
    #[default]
    Auto,
    /// Any is called.
    Any,
    /// One is called.
    Tool,
    /// None is called, and none is shown.
    None,
}

/// What is asked of tools.
pub struct Asked {
    /// Whether they are shown to the model.
    pub shown: bool,
    /// Whether several may be called at a time.
    pub many: bool,
    /// What an answer must follow, with the field that it comes from.
    pub grammar: Option<(Grammar, &'static str)>,
    /// Those that may be called.
    functions: Vec<Function>,
}

impl Asked {
    /// What `choice` asks of `functions`, and `schema` of a text.
    ///
    /// # Errors
    /// When there is no such tool, or the model has no words for calls.
    pub fn new(
        served: &Served,
        choice: Option<&ToolChoice>,
        mut functions: Vec<Function>,
        schema: Option<&RawValue>,
    ) -> Result<Self, Fault> {
        const SCHEMA: &str = "output_config.format.schema";
        let kind = choice.map_or(Kind::Auto, |choice| choice.r#type);
        let many = choice.is_none_or(|choice| choice.disable_parallel_tool_use != Some(true));
        let fault = |message: String| Err(Fault::bad(message).at("tool_choice"));
        let shown = !functions.is_empty() && kind != Kind::None;
        if matches!(kind, Kind::Any | Kind::Tool) && !shown {
            return fault("tool_choice: there are no tools to call, expected tools".to_owned());
        }
        if kind == Kind::Tool {
            let Some(name) = choice.and_then(|choice| choice.name.as_deref()) else {
                return fault("tool_choice.name is not there, expected a tool's name".to_owned());
            };
            functions.retain(|function| function.name == name);
            if functions.is_empty() {
                return fault(format!("tool_choice.name: none of the tools is called {name:?}"));
            }
        }
        let grammar = match (kind, schema.map(RawValue::get)) {
            (Kind::Any | Kind::Tool, _) => {
                let calls = tools::grammar(served, &functions, many, &Wanted::Calls)?;
                Some((calls, "tools"))
            }
            (Kind::Auto, Some(schema)) if shown => {
                let schema: Value = serde_json::from_str(schema).unwrap_or_default();
                let wanted = Wanted::CallsOr(schema);
                Some((tools::grammar(served, &functions, many, &wanted)?, SCHEMA))
            }
            (_, Some(schema)) => Some((Grammar::JsonSchema(schema.to_owned()), SCHEMA)),
            (_, None) => None,
        };
        Ok(Self {
            shown,
            many,
            grammar,
            functions,
        })
    }

    /// Where in the request it is that a grammar cannot be followed.
    pub fn blame(&self, served: &Served, fault: Fault) -> Fault {
        match (fault.param.as_deref(), &self.grammar) {
            (Some("response_format"), Some((_, at))) if self.shown => {
                let fault = tools::blame(served, &self.functions, fault.at(*at));
                named(fault)
            }
            (Some("response_format"), Some((_, at))) => fault.at(*at),
            _ => fault,
        }
    }
}

/// The fault of a tool, whose place has other names in OpenAI's interface.
pub fn named(fault: Fault) -> Fault {
    let named = |text: &str| {
        let text = text.replace(".function.parameters", ".input_schema");
        text.replace(".function.", ".")
    };
    let (message, param) = (named(&fault.message), fault.param.as_deref().map(named));
    Fault {
        message,
        param,
        ..fault
    }
}
