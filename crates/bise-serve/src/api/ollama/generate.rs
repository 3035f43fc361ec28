//! `/api/generate`

use super::line::{Asked, Line, Said, answer};
use super::options::{KeepAlive, Thinking, at_format, check_name, logprobs, no_images, wanted};
use crate::api::openai::number::Whole;
use crate::api::options::Options;
use crate::api::turns::{Think, Turns};
use crate::fault::Fault;
use crate::http::body::Body;
use crate::http::state::App;
use crate::request::{Request, Voice};
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
#[schema(as = ollama::Generate)]
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
    /// Whether each token's probability is told.
    logprobs: Option<bool>,
    /// Of how many of the likeliest tokens it is told, with `logprobs`.
    #[schema(inline)]
    top_logprobs: Option<Whole<0, 20>>,
    #[allow(dead_code)] // the model stays
    keep_alive: Option<KeepAlive>,
}

/// A part of the answer.
#[derive(Serialize, ToSchema)]
#[schema(as = ollama::TextAnswer)]
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

/// Go on with a text, or fill a gap in it
#[utoipa::path(post, path = "/api/generate", tag = "Ollama", request_body = Generate, responses(
    (status = 200, description = "A line for each piece, or with `stream` false all at once.",
     content((Line<Answer> = "application/x-ndjson"), (Line<Answer> = "application/json"))),
))]
pub async fn generate(State(app): State<App>, body: Body<Generate>) -> Result<Response, Fault> {
    let came = Instant::now();
    let (served, streamed) = (app.served()?.clone(), body.value.stream != Some(false));
    let asked = move |served: &Served| body.value.request(served, &body.text, came);
    answer::<Answer>(served, streamed, asked).await
}

impl Generate {
    /// What is to be told, and what the scheduler is asked: nothing where there is no prompt.
    fn request(
        self,
        served: &Served,
        text: &str,
        came: Instant,
    ) -> Result<(Asked, Option<Request>), Fault> {
        self.check(served)?;
        let mut wanted = wanted(served, self.options.as_ref(), self.format.as_deref(), text)?;
        wanted.logprobs = logprobs(self.logprobs, self.top_logprobs)?;
        let think = self.think.as_ref();
        let think = think.map(|think| think.think(served, &self.model)).transpose()?;
        let mut asked = Asked {
            model: self.model.clone(),
            came,
            prompt: 0,
            thoughts: think != Some(Think::Off),
            logprobs: wanted.logprobs.is_some(),
        };
        let Some((prompt, voice)) = self.prompt(served, think.as_ref())? else {
            return Ok((asked, None));
        };
        asked.prompt = prompt.len();
        let request = served.request(prompt, voice, wanted).map_err(at_format)?;
        Ok((asked, Some(request)))
    }

    /// Refuses what cannot be had.
    fn check(&self, served: &Served) -> Result<(), Fault> {
        check_name(served, &self.model)?;
        no_images(self.images.as_ref(), "images")?;
        let refuse = |at: &str, message: &str| Err(Fault::bad(message).at(at));
        if self
            .template
            .as_deref()
            .is_some_and(|template| !template.is_empty())
        {
            let message = "template cannot be taken: bise serve --template tells how a \
                           conversation is written; with \"raw\": true the prompt is the text itself";
            return refuse("template", message);
        }
        if self.context.as_ref().is_some_and(|context| !context.is_empty()) {
            let message = "context cannot be taken: send what was said as messages to /api/chat, \
                           which reads only what is new";
            return refuse("context", message);
        }
        let alone = self.raw == Some(true) || self.suffix().is_some() || served.no_chat.is_some();
        if alone && self.system.as_deref().is_some_and(|system| !system.is_empty()) {
            let message = "system cannot be said here: raw texts, texts with a suffix, and models \
                           without a chat format have no place for it";
            return refuse("system", message);
        }
        Ok(())
    }

    fn suffix(&self) -> Option<&str> {
        self.suffix.as_deref().filter(|suffix| !suffix.is_empty())
    }

    /// The tokens of the prompt, and how the answer is read; none where there is no prompt.
    fn prompt(
        &self,
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
        let ids = turns.prompt(served, think)?;
        Ok(Some((ids, Voice::Answer { tools: false })))
    }
}
