//! `/api/generate`

use super::line::{Asked, Line, Said, loaded, respond};
use super::options::{KeepAlive, Thinking, check_name, logprobs, no_images, wanted};
use crate::api::options::Options;
use crate::api::turns::{Think, Turns, prompt};
use crate::fault::Fault;
use crate::http::body::Body;
use crate::http::state::App;
use crate::request::Voice;
use crate::served::Served;
use axum::extract::State;
use axum::response::Response;
use bise_model::chat::ToolCall;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Instant;
use utoipa::ToSchema;

/// A text that is to go on.
#[derive(Deserialize, ToSchema)]
pub struct Generate {
    model: String,
    /// What a user says; the beginning of a text where `raw` is true, or where the model has no
    /// chat format. Without it the model is loaded, which it is.
    prompt: Option<String>,
    /// What comes after the gap that the answer fills.
    suffix: Option<String>,
    system: Option<String>,
    /// Whether the prompt is no message but the text itself.
    raw: Option<bool>,
    /// Not taken: the server's chat format is used.
    #[schema(max_length = 0)]
    template: Option<String>,
    /// Not taken: `/api/chat` has messages for it.
    #[schema(value_type = Option<Vec<u32>>, max_items = 0)]
    context: Option<Vec<IgnoredAny>>,
    #[schema(value_type = Option<Vec<String>>, max_items = 0)]
    images: Option<Vec<IgnoredAny>>,
    /// `json`, or a JSON schema.
    #[schema(value_type = Option<Value>)]
    format: Option<Box<RawValue>>,
    options: Option<Options>,
    /// Whether each piece comes in a line of its own; it does unless this is false.
    stream: Option<bool>,
    think: Option<Thinking>,
    logprobs: Option<bool>,
    #[schema(maximum = 20)]
    top_logprobs: Option<u64>,
    #[allow(dead_code)]
    keep_alive: Option<KeepAlive>,
}

/// A part of the answer.
#[derive(Serialize, ToSchema)]
pub struct Answer {
    response: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
}

impl Said for Answer {
    fn new(response: String, thinking: String, _calls: Vec<ToolCall>) -> Self {
        Self { response, thinking }
    }
}

/// What follows a text, or fills a gap in it.
#[utoipa::path(post, path = "/api/generate", tag = "Ollama", request_body = Generate, responses(
    (status = 200, description = "The answer, whole or a line for each piece.", body = Line<Answer>),
))]
pub async fn generate(
    State(app): State<App>,
    Body { value, text }: Body<Generate>,
) -> Result<Response, Fault> {
    let came = Instant::now();
    let served = app.served()?;
    value.check(served)?;
    let mut wanted = wanted(served, value.options.clone(), value.format.as_deref(), &text)?;
    wanted.logprobs = logprobs(value.logprobs, value.top_logprobs)?;
    let think = value.think.clone();
    let think = think.map(|think| think.think(served, &value.model)).transpose()?;
    let mut asked = Asked {
        model: value.model.clone(),
        came,
        prompt: 0,
        thoughts: think != Some(Think::Off),
        logprobs: wanted.logprobs.is_some(),
    };
    let streamed = value.stream != Some(false);
    let Some((prompt, voice)) = value.prompt(served, think.as_ref())? else {
        return Ok(loaded::<Answer>(&asked));
    };
    asked.prompt = prompt.len();
    let events = served.submit(served.request(prompt, voice, wanted)?)?;
    respond::<Answer>(asked, events, streamed).await
}

impl Generate {
    /// Refuses what cannot be had.
    fn check(&self, served: &Served) -> Result<(), Fault> {
        check_name(served, &self.model)?;
        no_images(self.images.as_deref().unwrap_or_default(), "images")?;
        let refuse = |at: &str, message: &str| Err(Fault::bad(message).at(at));
        if self
            .template
            .as_deref()
            .is_some_and(|template| !template.is_empty())
        {
            let message = "template cannot be taken: bise serve --template tells how a conversation is written; \
                           with \"raw\": true the prompt is the text itself";
            return refuse("template", message);
        }
        if self.context.as_ref().is_some_and(|context| !context.is_empty()) {
            let message = "context cannot be taken: send what was said as messages to /api/chat, which reads only \
                           what is new";
            return refuse("context", message);
        }
        let alone = self.raw == Some(true) || self.suffix().is_some() || served.no_chat.is_some();
        if alone && self.system.as_deref().is_some_and(|system| !system.is_empty()) {
            let message = "system cannot be said here: raw texts, texts with a suffix, and models without a chat \
                           format have no place for it";
            return refuse("system", message);
        }
        Ok(())
    }

    fn suffix(&self) -> Option<&str> {
        self.suffix.as_deref().filter(|suffix| !suffix.is_empty())
    }

    /// The tokens of the prompt, and how the answer is read; none where there is no prompt.
    fn prompt(
        self,
        served: &Served,
        think: Option<&Think>,
    ) -> Result<Option<(Vec<u32>, Voice)>, Fault> {
        let text = self.prompt.as_deref().unwrap_or_default();
        if let Some(suffix) = self.suffix() {
            let ids = served.tokenizer.encode_infill(text.as_bytes(), suffix.as_bytes());
            let ids = ids.map_err(|error| Fault::bad(error.to_string()).at("suffix"))?;
            return Ok(Some((ids, Voice::Continuation)));
        }
        if text.is_empty() {
            return Ok(None);
        }
        if self.raw == Some(true) || served.no_chat.is_some() {
            return Ok(Some((served.text_prompt(text), Voice::Continuation)));
        }
        let mut turns = Turns::default();
        if let Some(system) = self.system.as_deref().filter(|system| !system.is_empty()) {
            turns.say("system", system);
        }
        turns.say("user", text);
        let ids = prompt(served, turns.conversation()?, think)?;
        Ok(Some((ids, Voice::Answer { tools: false })))
    }
}
