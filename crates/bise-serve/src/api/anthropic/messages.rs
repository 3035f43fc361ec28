//! `/v1/messages`, `/v1/messages/count_tokens`

use super::answer::{Answer, Asked};
use super::stream::{Pieces, StreamEvent};
use super::talk::Talk;
use crate::api::aside::aside;
use crate::api::openai::answer::Heading;
use crate::api::openai::number::{Real, Whole};
use crate::api::openai::stops::Stops;
use crate::api::sse;
use crate::fault::Fault;
use crate::http::body::{Body, parse};
use crate::http::state::App;
use crate::request::Request;
use crate::served::{Served, Wanted};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A conversation, and what is wanted of the answer.
#[derive(ToSchema)]
#[schema(as = anthropic::MessagesRequest)]
#[allow(dead_code)] // describes the body, whose halves are read one after the other
pub struct Messages {
    #[serde(flatten)]
    talk: Talk,
    #[serde(flatten)]
    limits: Limits,
}

/// What is wanted of an answer.
#[derive(Deserialize, ToSchema)]
#[schema(as = anthropic::Limits)]
pub struct Limits {
    /// Tokens of the answer at most.
    #[schema(value_type = u64, minimum = 0, maximum = 9223372036854775807u64)]
    max_tokens: Whole<0, { i64::MAX }>,
    /// Texts that end the answer, and do not belong to it.
    #[schema(inline)]
    stop_sequences: Option<Stops>,
    /// Whether the answer comes in pieces, as server-sent events.
    stream: Option<bool>,
    /// Below 1 the likely gets likelier; 0 takes the likeliest token always.
    #[schema(inline)]
    temperature: Option<Real<0, 100>>,
    /// Only the likeliest tokens that together have this probability.
    #[schema(inline)]
    top_p: Option<Real<0, 1>>,
    /// Only so many of the likeliest tokens; all for 0.
    #[schema(inline)]
    top_k: Option<Whole<0, { i32::MAX as i64 }>>,
    /// Whose request it is, which changes nothing.
    #[allow(dead_code)] // is checked to be an object
    metadata: Option<Metadata>,
    /// There is one tier.
    #[allow(dead_code)] // is checked to be a tier
    service_tier: Option<Tier>,
    #[schema(ignore)]
    mcp_servers: Option<Vec<IgnoredAny>>,
    #[schema(ignore)]
    container: Option<IgnoredAny>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = anthropic::Metadata)]
struct Metadata {
    #[allow(dead_code)] // is checked to be a text
    user_id: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = anthropic::ServiceTier)]
#[serde(rename_all = "snake_case")]
enum Tier {
    Auto,
    StandardOnly,
}

/// Answer a conversation
#[utoipa::path(post, path = "/v1/messages", tag = "Anthropic", request_body = Messages, responses(
    (status = 200, description = "The answer, or with `stream` events of its pieces.",
     content((Answer = "application/json"), (StreamEvent = "text/event-stream"))),
))]
pub async fn messages(State(app): State<App>, body: Body<Talk>) -> Result<Response, Fault> {
    let served = app.served()?.clone();
    let prepared = aside(move || {
        let limits: Limits = parse(&body.text)?;
        let (asked, request) = limits.request(&served, &body.value)?;
        Ok((asked, served.submit(request)?, limits.stream))
    });
    let (asked, events, streamed) = prepared.await?;
    if streamed == Some(true) {
        let mut pieces = Pieces::new(asked);
        return Ok(sse::respond(sse::received(events), move |event| pieces.of(event)));
    }
    Ok(Json(asked.whole(events).await?).into_response())
}

impl Limits {
    fn request(&self, served: &Served, talk: &Talk) -> Result<(Asked, Request), Fault> {
        let refused = [
            (
                "mcp_servers",
                self.mcp_servers.as_ref().is_some_and(|all| !all.is_empty()),
            ),
            ("container", self.container.is_some()),
        ];
        if let Some((name, _)) = refused.iter().find(|(_, there)| *there) {
            let message =
                format!("{name} cannot be had here; leave it out, and run tools yourself");
            return Err(Fault::bad(message).at(*name));
        }
        let read = talk.read(served)?;
        let mut sampling = served.sampling.clone();
        sampling.temperature = self.temperature.map_or(sampling.temperature, |x| x.0);
        sampling.top_p = self.top_p.map_or(sampling.top_p, |x| x.0);
        sampling.top_k = self.top_k.map_or(sampling.top_k, |n| n.0 as usize);
        let wanted = Wanted {
            sampling,
            grammar: read.tools.grammar.as_ref().map(|(grammar, _)| grammar.clone()),
            max_tokens: u64::try_from(self.max_tokens.0).ok(),
            stops: self.stop_sequences.clone().unwrap_or_default().0,
            ..Wanted::default()
        };
        let request = served.request(read.prompt, read.voice, wanted);
        let request = request.map_err(|fault| match fault.param.as_deref() {
            Some("prompt") => fault.at("messages"),
            _ => read.tools.blame(served, fault),
        })?;
        let asked = Asked {
            heading: Heading::new("msg", served.name(), served.model.fingerprint()),
            prompt: request.prompt.len(),
            thoughts: read.thoughts,
            many: read.tools.many,
        };
        Ok((asked, request))
    }
}

/// How many tokens a prompt has.
#[derive(Serialize, ToSchema)]
#[schema(as = anthropic::TokenCount)]
pub struct TokenCount {
    input_tokens: usize,
}

/// Count the tokens of a conversation
#[utoipa::path(
    post, path = "/v1/messages/count_tokens", tag = "Anthropic", request_body = Talk, responses(
    (status = 200, description = "How many there are.", body = TokenCount),
))]
pub async fn count_tokens(
    State(app): State<App>,
    Body { value, .. }: Body<Talk>,
) -> Result<Json<TokenCount>, Fault> {
    let served = app.served()?.clone();
    let read = aside(move || value.read(&served)).await?;
    Ok(Json(TokenCount {
        input_tokens: read.prompt.len(),
    }))
}
