//! `/completion`

use super::asked::{Asked, Completion, Described};
use super::probabilities::Probability;
use super::settings::Settings;
use crate::api::aside::aside;
use crate::api::sse;
use crate::fault::Fault;
use crate::gather::{ended_early, gather};
use crate::http::body::Body;
use crate::http::form::Form;
use crate::http::state::App;
use crate::request::{End, Event, Finish, Piece};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// A piece of an answer, or all of it. The last one says how it ended.
#[derive(Serialize, ToSchema)]
#[schema(as = llama_cpp::Said)]
pub struct Said {
    index: usize,
    content: String,
    /// The tokens, where `return_tokens` asked for them.
    tokens: Vec<u32>,
    /// Whether the answer has ended.
    stop: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    completion_probabilities: Vec<Probability>,
    #[serde(flatten)]
    #[schema(inline)]
    last: Option<Last>,
}

/// What there is to say at the end.
#[derive(Serialize, ToSchema)]
#[schema(as = llama_cpp::Last)]
pub struct Last {
    model: String,
    /// The prompt, with the names of control tokens.
    prompt: String,
    generation_settings: Settings,
    tokens_predicted: usize,
    tokens_evaluated: usize,
    /// Tokens of the prompt that were known.
    tokens_cached: usize,
    /// Never: a prompt that does not fit is refused.
    truncated: bool,
    /// `eos`, `limit` or `word`.
    stop_type: &'static str,
    /// The text of `stop` that came.
    stopping_word: String,
    timings: Timings,
}

/// How long it took, in milliseconds.
#[derive(Serialize, ToSchema)]
#[schema(as = llama_cpp::Timings)]
struct Timings {
    cache_n: usize,
    prompt_n: usize,
    prompt_ms: f64,
    prompt_per_second: f64,
    predicted_n: usize,
    predicted_ms: f64,
    predicted_per_second: f64,
}

/// Go on with a text
#[utoipa::path(post, path = "/completion", tag = "llama.cpp", request_body = Described, responses(
    (status = 200, description = "The answer, or with `stream` events of its pieces.",
     content((Said = "application/json"), (Said = "text/event-stream"))),
))]
pub async fn completion(
    State(app): State<App>,
    Body { value, text }: Body<Completion>,
) -> Result<Response, Fault> {
    let served = app.served()?.clone();
    let (streamed, with) = (value.stream == Some(true), served.clone());
    let (asked, request) = aside(move || Asked::new(&with, value, &text)).await?;
    let incoming = served.submit(request)?;
    if !streamed {
        let mut gathered = gather(incoming, 1).await?;
        let (piece, end) = gathered.answers.pop().ok_or_else(ended_early)?;
        let mut said = asked.said(piece);
        (said.stop, said.last) = (true, Some(asked.last(&end, gathered.cached)));
        return Ok(Json(said).into_response());
    }
    let (mut known, mut ended) = (0, false);
    Ok(sse::respond(sse::received(incoming), move |event| {
        let problem = match event {
            Some(Event::Begun { cached }) => {
                known = cached;
                return Vec::new();
            }
            Some(Event::Piece { piece, .. }) => return vec![sse::data(&asked.said(piece))],
            Some(Event::Ended { end, .. }) => {
                let mut said = asked.said(Piece::default());
                (said.stop, said.last) = (true, Some(asked.last(&end, known)));
                ended = true;
                return vec![sse::data(&said)];
            }
            Some(Event::Failed { problem }) => Fault::internal(problem),
            None if ended => return Vec::new(),
            None => ended_early(),
        };
        ended = true;
        vec![sse::data(&Form::OpenAi.error(&problem))]
    }))
}

impl Asked {
    fn said(&self, piece: Piece) -> Said {
        let tokens = piece.tokens.iter().filter(|_| self.tokens);
        let tokens = tokens.map(|token| token.id).collect();
        let probabilities = piece.tokens.into_iter().filter(|_| self.probabilities);
        Said {
            index: 0,
            content: piece.text,
            tokens,
            stop: false,
            completion_probabilities: probabilities.map(Probability::from).collect(),
            last: None,
        }
    }

    fn last(&self, end: &End, cached: usize) -> Last {
        let (stop_type, word) = match &end.finish {
            Finish::End | Finish::Calls => ("eos", ""),
            Finish::Length => ("limit", ""),
            Finish::Stop(word) => ("word", word.as_str()),
        };
        let new = self.prompt_tokens - cached;
        let rate = |n: usize, seconds: f64| match seconds > 0.0 {
            true => n as f64 / seconds,
            false => 0.0,
        };
        Last {
            model: self.model.clone(),
            prompt: self.prompt.clone(),
            generation_settings: Settings::new(&self.sampling, Some(self.most)),
            tokens_predicted: end.tokens,
            tokens_evaluated: self.prompt_tokens,
            tokens_cached: cached,
            truncated: false,
            stop_type,
            stopping_word: word.to_owned(),
            timings: Timings {
                cache_n: cached,
                prompt_n: new,
                prompt_ms: end.prompt_seconds * 1e3,
                prompt_per_second: rate(new, end.prompt_seconds),
                predicted_n: end.tokens,
                predicted_ms: end.answer_seconds * 1e3,
                predicted_per_second: rate(end.tokens, end.answer_seconds),
            },
        }
    }
}
