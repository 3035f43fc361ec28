//! Answers of `/api/chat` and `/api/generate`: one JSON object, or a line for each piece.

use crate::api::aside::aside;
use crate::api::openai::answer::{logprob as logprob_of, text};
use crate::api::sse::received;
use crate::fault::Fault;
use crate::gather::{ended_early, gather};
use crate::http::form::Form;
use crate::request::{End, Event, Finish, Piece, Request, Token};
use crate::served::Served;
use axum::Json;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bise_model::chat::ToolCall;
use futures_util::stream::{self, StreamExt};
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;
use utoipa::ToSchema;

/// What an answer says, in the fields of its interface.
pub trait Said: Serialize + Send + 'static {
    /// What is new of an answer.
    fn new(text: String, thought: String, calls: Vec<ToolCall>) -> Self;
}

/// What there is to say of a request besides its answer.
pub struct Asked {
    /// The model's name, as the client wrote it.
    pub model: String,
    /// When the request came.
    pub came: Instant,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Whether thoughts are wanted.
    pub thoughts: bool,
    /// Whether log-probabilities are wanted.
    pub logprobs: bool,
}

/// A piece of an answer, or all of it. The last one says how it ended.
#[derive(Serialize, ToSchema)]
#[schema(as = ollama::Line)]
pub struct Line<S> {
    model: String,
    created_at: String,
    #[serde(flatten)]
    said: S,
    done: bool,
    /// `stop`, `length` or `load`.
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logprobs: Vec<Logprob>,
    /// Nanoseconds from when the request came.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_duration: Option<u64>,
    /// Nanoseconds for which the model was loaded: it always is.
    #[serde(skip_serializing_if = "Option::is_none")]
    load_duration: Option<u64>,
    /// Tokens of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_count: Option<usize>,
    /// Nanoseconds until the prompt was processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_duration: Option<u64>,
    /// Tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_count: Option<usize>,
    /// Nanoseconds from then to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_duration: Option<u64>,
}

/// A token and its log-probability.
#[derive(Serialize, ToSchema)]
#[schema(as = ollama::Logprob)]
struct Logprob {
    token: String,
    logprob: f64,
    bytes: Vec<u8>,
    /// The likeliest in its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    top_logprobs: Vec<Logprob>,
}

impl Logprob {
    fn new(bytes: Vec<u8>, logprob: f64, top: Vec<(u32, Vec<u8>, f64)>) -> Self {
        let top = top
            .into_iter()
            .map(|(_, bytes, logprob)| Self::new(bytes, logprob, Vec::new()));
        Self {
            token: text(&bytes),
            logprob: logprob_of(logprob),
            bytes,
            top_logprobs: top.collect(),
        }
    }

    fn of(token: Token) -> Self {
        Self::new(token.bytes, token.logprob, token.top)
    }
}

/// The answer to what `prepare` makes of a request: where it asks the scheduler for nothing, that
/// the model is there.
///
/// # Errors
/// Those of `prepare`, and 500 when the answer cannot be computed and nothing has been said yet.
pub async fn answer<S: Said>(
    served: Arc<Served>,
    streamed: bool,
    prepare: impl FnOnce(&Served) -> Result<(Asked, Option<Request>), Fault> + Send + 'static,
) -> Result<Response, Fault> {
    let prepared = aside(move || {
        let (asked, request) = prepare(&served)?;
        let events = request.map(|request| served.submit(request));
        Ok((asked, events.transpose()?))
    });
    match prepared.await? {
        (asked, Some(events)) => respond::<S>(asked, events, streamed).await,
        (asked, None) => Ok(loaded::<S>(&asked)),
    }
}

/// The answer to `asked`, whose events are `incoming`.
async fn respond<S: Said>(
    asked: Asked,
    incoming: Receiver<Event>,
    streamed: bool,
) -> Result<Response, Fault> {
    if streamed {
        let end = stream::once(async { None });
        let events = received(incoming).map(Some).chain(end);
        let mut over = false;
        let lines = events.flat_map(move |event| {
            let lines = match event {
                None if over => Vec::new(),
                None => vec![error(&ended_early())],
                Some(event) => {
                    over |= matches!(event, Event::Ended { .. } | Event::Failed { .. });
                    asked.lines::<S>(event)
                }
            };
            stream::iter(lines.into_iter().map(Ok::<_, Infallible>))
        });
        let kind = [(CONTENT_TYPE, "application/x-ndjson")];
        return Ok((kind, Body::from_stream(lines)).into_response());
    }
    let mut gathered = gather(incoming, 1).await?;
    let (piece, end) = gathered.answers.pop().ok_or_else(ended_early)?;
    let mut line = asked.line::<S>(piece, end.calls.clone());
    asked.end(&mut line, &end);
    Ok(Json(line).into_response())
}

/// What is answered to nobody who says anything: the model is there.
fn loaded<S: Said>(asked: &Asked) -> Response {
    let mut line = asked.line::<S>(Piece::default(), Vec::new());
    (line.done, line.done_reason) = (true, Some("load"));
    Json(line).into_response()
}

impl Asked {
    /// What is sent for an event.
    fn lines<S: Said>(&self, event: Event) -> Vec<String> {
        let written = |line: &Line<S>| serde_json::to_string(line).unwrap_or_default() + "\n";
        match event {
            Event::Begun { .. } => Vec::new(),
            Event::Piece { piece, .. } => {
                let no_thought = piece.thought.is_empty() || !self.thoughts;
                let silent = piece.text.is_empty() && no_thought;
                match silent && !self.logprobs {
                    true => Vec::new(),
                    false => vec![written(&self.line(piece, Vec::new()))],
                }
            }
            Event::Ended { end, .. } => {
                let mut lines = Vec::new();
                if !end.calls.is_empty() {
                    lines.push(written(&self.line(Piece::default(), end.calls.clone())));
                }
                let mut last = self.line(Piece::default(), Vec::new());
                self.end(&mut last, &end);
                lines.push(written(&last));
                lines
            }
            Event::Failed { problem } => vec![error(&Fault::internal(problem))],
        }
    }

    fn line<S: Said>(&self, piece: Piece, calls: Vec<ToolCall>) -> Line<S> {
        let thought = match self.thoughts {
            true => piece.thought,
            false => String::new(),
        };
        let logprobs = piece.tokens.into_iter().filter(|_| self.logprobs);
        Line {
            model: self.model.clone(),
            created_at: jiff::Timestamp::now().to_string(),
            said: S::new(piece.text, thought, calls),
            done: false,
            done_reason: None,
            logprobs: logprobs.map(Logprob::of).collect(),
            total_duration: None,
            load_duration: None,
            prompt_eval_count: None,
            prompt_eval_duration: None,
            eval_count: None,
            eval_duration: None,
        }
    }

    fn end<S>(&self, line: &mut Line<S>, end: &End) {
        line.done = true;
        line.done_reason = Some(match end.finish {
            Finish::End | Finish::Stop(_) | Finish::Calls => "stop",
            Finish::Length => "length",
        });
        line.total_duration = Some(nanoseconds(self.came.elapsed()));
        line.load_duration = Some(0);
        line.prompt_eval_count = Some(self.prompt);
        line.prompt_eval_duration = Some(seconds(end.prompt_seconds));
        line.eval_count = Some(end.tokens);
        line.eval_duration = Some(seconds(end.answer_seconds));
    }
}

/// The line of an error.
fn error(fault: &Fault) -> String {
    format!("{}\n", Form::Ollama.error(fault))
}

fn seconds(seconds: f64) -> u64 {
    nanoseconds(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
