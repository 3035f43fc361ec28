//! `/v1/chat/completions`: answers in conversations.

use super::answer::Heading;
use super::chat_answer::{Asked, ChatChunk, ChatCompletion, Pieces, whole};
use super::common::Common;
use super::message::{self, Message};
use super::number::{Limit, Whole};
use super::response_format::Told;
use super::tool::{Tool, ToolChoice, functions};
use crate::api::aside::aside;
use crate::api::sse;
use crate::fault::Fault;
use crate::gather::gather;
use crate::http::body::{self, Body};
use crate::http::state::App;
use crate::request::{Request, Voice};
use crate::served::Served;
use crate::tools::{self, Function, Wanted};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bise_model::chat::Template;
use bise_model::constraint::Grammar;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A conversation, and what is wanted of the answer.
#[derive(Debug, ToSchema)]
#[schema(as = openai::ChatRequest)]
pub struct ChatRequest {
    #[serde(flatten)]
    chat: Chat,
    #[serde(flatten)]
    common: Common,
}

/// A conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = openai::Chat)]
pub struct Chat {
    /// At least one.
    #[schema(min_items = 1)]
    messages: Vec<Message>,
    /// Tokens of an answer at most; as many as fit for -1, or where nothing is said.
    #[schema(inline)]
    max_completion_tokens: Option<Limit<1>>,
    /// The same under its older name, which counts less.
    #[schema(inline)]
    max_tokens: Option<Limit<1>>,
    /// Whether each token's probability is told.
    logprobs: Option<bool>,
    /// Of how many of the likeliest tokens it is told, with `logprobs`.
    #[schema(inline)]
    top_logprobs: Option<Whole<0, 20>>,
    /// What the model may call.
    #[schema(max_items = 128)]
    tools: Option<Vec<Tool>>,
    /// Whether tools are called, and which. A call that is required follows its schema.
    #[schema(inline)]
    tool_choice: Option<ToolChoice>,
    /// Whether several tools may be called at a time.
    parallel_tool_calls: Option<bool>,
    /// How much the model is to think, where its chat format can say so.
    reasoning_effort: Option<String>,
    /// Variables of a Jinja template.
    chat_template_kwargs: Option<Map<String, Value>>,
    #[schema(ignore)]
    modalities: Option<Vec<String>>,
    #[schema(ignore)]
    audio: Option<IgnoredAny>,
    #[schema(ignore)]
    functions: Option<IgnoredAny>,
    #[schema(ignore)]
    function_call: Option<IgnoredAny>,
    #[schema(ignore)]
    web_search_options: Option<IgnoredAny>,
    #[schema(ignore)]
    prediction: Option<IgnoredAny>,
}

/// Answer a conversation
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    operation_id = "openai_chat",
    tag = "OpenAI",
    request_body = ChatRequest,
    responses(
        (status = 200, description = "The answers; with `stream`, events of their pieces.",
         content((ChatCompletion = "application/json"), (ChatChunk = "text/event-stream"))),
    ),
)]
pub async fn chat(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body<Chat>,
) -> Result<Response, Fault> {
    let served = app.served()?.clone();
    let prepared = aside(move || {
        let asked = ChatRequest {
            common: body::parse(&body.text)?,
            chat: body.value,
        };
        let (request, prefix) = asked.request(&served, &body.text)?;
        let answers = Asked {
            heading: Heading::new("chatcmpl", served.name(), served.model.fingerprint()),
            prompt: request.prompt.len(),
            choices: request.choices(),
            logprobs: request.logprobs.is_some(),
            many_calls: asked.chat.many_calls(),
            prefix,
        };
        Ok((served.submit(request)?, answers, asked.common))
    });
    let (events, answers, common) = prepared.await?;
    if common.streams() {
        let mut pieces = Pieces::new(answers, common.wants_usage() || is_mistral(&headers));
        let events = sse::received(events);
        return Ok(sse::respond(events, move |event| pieces.of(event)));
    }
    let gathered = gather(events, answers.choices).await?;
    Ok(Json(whole(answers, gathered)).into_response())
}

/// Whether Mistral's client asks, which cannot ask for the numbers of tokens and reads them.
fn is_mistral(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok());
    agent.is_some_and(|agent| agent.starts_with("mistral-client-python"))
}

impl ChatRequest {
    /// What the scheduler is asked, and what the answers go on from.
    fn request(&self, served: &Served, text: &str) -> Result<(Request, String), Fault> {
        let Self { chat, common } = self;
        served.check_name(common.model.as_deref())?;
        chat.check(served)?;
        let functions = functions(chat.tools.as_deref().unwrap_or_default())?;
        let choice = chat.tool_choice.clone().unwrap_or_default();
        let tools = !functions.is_empty() && choice != ToolChoice::None;
        let asked = common.asked()?;
        let limit = chat.max_completion_tokens.or(chat.max_tokens);
        let wanted = crate::Wanted {
            grammar: self.grammar(served, &choice, &functions, asked.as_ref())?,
            max_tokens: limit.and_then(|limit| limit.0),
            logprobs: chat.logprobs()?,
            ..common.wanted(served)?
        };
        let prefix = message::prefix(&chat.messages);
        let voice = match prefix {
            Some(_) if tools => return Err(chat.begun_with_tools()),
            Some(_) => Voice::Continuation,
            None => Voice::Answer { tools },
        };
        let effort = chat.reasoning_effort.as_deref();
        let prompt = message::prompt(served, text, &chat.messages, tools, effort)?;
        let request = served.request(prompt, voice, wanted);
        let request = request.map_err(|fault| match fault.param.as_deref() {
            Some("response_format") => whose(served, &functions, asked.as_ref(), fault),
            Some("prompt") => fault.at("messages"),
            _ => fault,
        })?;
        Ok((request, prefix.unwrap_or_default()))
    }

    /// What the answer must follow: calls of tools, where one is required, or what was asked for;
    /// either, where the model may choose.
    fn grammar(
        &self,
        served: &Served,
        choice: &ToolChoice,
        functions: &[Function],
        asked: Option<&Told>,
    ) -> Result<Option<Grammar>, Fault> {
        let called = called(choice, functions)?;
        let wanted = match (choice, asked) {
            (ToolChoice::Any | ToolChoice::Named(_), _) => Wanted::Calls,
            (ToolChoice::Auto, Some(asked)) if !called.is_empty() => match asked.schema() {
                Some(schema) => Wanted::CallsOr(schema),
                None => {
                    let param = asked.param;
                    let what = "calls of tools do not follow it; expected tool_choice \"none\"";
                    return Err(Fault::bad(format!("{param}: {what}")).at(param));
                }
            },
            (_, asked) => return Ok(asked.map(|asked| asked.grammar.clone())),
        };
        tools::grammar(served, &called, self.chat.many_calls(), &wanted).map(Some)
    }
}

/// The fault of a grammar, at that part of the request whose it is.
fn whose(served: &Served, functions: &[Function], asked: Option<&Told>, fault: Fault) -> Fault {
    match asked {
        Some(asked) if functions.is_empty() => fault.at(asked.param),
        Some(asked) => match served.constraints(&asked.grammar, 1) {
            Err(fault) => fault.at(asked.param),
            Ok(_) => tools::blame(served, functions, fault),
        },
        None => tools::blame(served, functions, fault),
    }
}

/// Those of `functions` that may be called.
fn called(choice: &ToolChoice, functions: &[Function]) -> Result<Vec<Function>, Fault> {
    let fault = |message: String| Err(Fault::bad(message).at("tool_choice"));
    match choice {
        ToolChoice::Any | ToolChoice::Named(_) if functions.is_empty() => {
            fault("tool_choice: there are no tools to call; expected tools".to_owned())
        }
        ToolChoice::Named(name) => match functions.iter().find(|other| other.name == *name) {
            Some(function) => Ok(vec![function.clone()]),
            None => fault(format!("tool_choice: none of the tools is called {name:?}")),
        },
        _ => Ok(functions.to_vec()),
    }
}

impl Chat {
    /// Whether several tools may be called at a time.
    fn many_calls(&self) -> bool {
        self.parallel_tool_calls != Some(false)
    }

    /// The fault of an answer that was begun, where tools may be called.
    fn begun_with_tools(&self) -> Fault {
        let param = format!("messages[{}].prefix", self.messages.len().saturating_sub(1));
        let what = "an answer that was begun cannot call tools; expected tool_choice \"none\"";
        Fault::bad(format!("{param}: {what}")).at(param)
    }

    /// Refuses what would change the answer, and is not done here.
    fn check(&self, served: &Served) -> Result<(), Fault> {
        let refused = [
            ("audio", self.audio.is_some(), "modalities [\"text\"]"),
            ("functions", self.functions.is_some(), "tools"),
            ("function_call", self.function_call.is_some(), "tool_choice"),
            (
                "web_search_options",
                self.web_search_options.is_some(),
                "tools of one's own",
            ),
            ("prediction", self.prediction.is_some(), "none"),
        ];
        if let Some((param, _, instead)) = refused.iter().find(|(_, there, _)| *there) {
            let message = format!("{param} is not supported here; expected {instead} instead");
            return Err(Fault::bad(message).at(*param));
        }
        let other = self
            .modalities
            .iter()
            .flatten()
            .find(|modality| *modality != "text");
        if let Some(other) = other {
            let message = format!("modalities has {other:?}; this model writes \"text\" alone");
            return Err(Fault::bad(message).at("modalities"));
        }
        let variables = self.chat_template_kwargs.as_ref();
        match (variables.and_then(|map| map.keys().next()), &*served.template) {
            (Some(name), Template::Mistral(version)) => {
                let message = format!(
                    "chat_template_kwargs has {name:?}, and chat format {version} has no \
                     variables; expected none, or a server with a Jinja template (--template)"
                );
                Err(Fault::bad(message).at("chat_template_kwargs"))
            }
            _ => Ok(()),
        }
    }

    /// Of how many of the likeliest tokens the probability is told, if at all.
    fn logprobs(&self) -> Result<Option<usize>, Fault> {
        let top = self.top_logprobs.map_or(0, |n| n.0 as usize);
        match self.logprobs == Some(true) {
            true => Ok(Some(top)),
            false if top > 0 => {
                let message = format!("top_logprobs is {top}; expected `logprobs` to be true too");
                Err(Fault::bad(message).at("top_logprobs"))
            }
            false => Ok(None),
        }
    }
}
