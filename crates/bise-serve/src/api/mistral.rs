//! Mistral's interface, as far as it is not OpenAI's: `/v1/fim/completions`.

use super::aside::aside;
use super::openai::answer::Heading;
use super::openai::chat_answer::{Asked, ChatChunk, ChatCompletion, Pieces, whole};
use super::openai::common::Common;
use super::openai::number::{Limit, Whole};
use super::sse;
use crate::fault::Fault;
use crate::gather::gather;
use crate::http::body::{Body, parse};
use crate::http::state::App;
use crate::request::{Request, Voice};
use crate::served::{Served, Wanted};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(fim))
}

/// A text with a gap, and what is wanted in it.
#[derive(ToSchema)]
#[schema(as = mistral::FimRequest)]
#[allow(dead_code)] // describes the body, whose halves are read one after the other
struct FimRequest {
    #[serde(flatten)]
    fim: Fim,
    #[serde(flatten)]
    common: Common,
}

/// A text with a gap.
#[derive(Deserialize, ToSchema)]
#[schema(as = mistral::Fim)]
struct Fim {
    /// What stands before the gap.
    prompt: String,
    /// What stands after it; without it the text goes on.
    suffix: Option<String>,
    /// Tokens of the answer at most; as many as fit for -1, or where nothing is said.
    #[schema(inline)]
    max_tokens: Option<Limit<0>>,
    /// 0: answers have no least length.
    #[allow(dead_code)] // is checked to be 0
    #[schema(inline)]
    min_tokens: Option<Whole<0, 0>>,
}

/// Fill a gap in a text
#[utoipa::path(
    post, path = "/v1/fim/completions", tag = "Mistral", request_body = FimRequest, responses(
    (status = 200, description = "The answers, or with `stream` their pieces and `[DONE]`.",
     content((ChatCompletion = "application/json"), (ChatChunk = "text/event-stream"))),
))]
async fn fim(State(app): State<App>, body: Body<Fim>) -> Result<Response, Fault> {
    let served = app.served()?.clone();
    let prepared = aside(move || {
        let common: Common = parse(&body.text)?;
        let request = body.value.request(&served, &common)?;
        let answers = Asked {
            heading: Heading::new("fim", served.name(), served.model.fingerprint()),
            prompt: request.prompt.len(),
            choices: request.choices(),
            logprobs: false,
            many_calls: false,
            prefix: String::new(),
        };
        Ok((served.submit(request)?, answers, common))
    });
    let (events, answers, common) = prepared.await?;
    if common.streams() {
        let mut pieces = Pieces::new(answers, true);
        return Ok(sse::respond(sse::received(events), move |event| pieces.of(event)));
    }
    let gathered = gather(events, answers.choices).await?;
    Ok(Json(whole(answers, gathered)).into_response())
}

impl Fim {
    fn request(&self, served: &Served, common: &Common) -> Result<Request, Fault> {
        served.check_name(common.model.as_deref())?;
        let prompt = match self.suffix.as_deref() {
            None | Some("") => served.text_prompt(&self.prompt),
            Some(suffix) => {
                let ids = served
                    .tokenizer
                    .encode_infill(self.prompt.as_bytes(), suffix.as_bytes());
                ids.map_err(|error| Fault::bad(error.to_string()).at("suffix"))?
            }
        };
        let asked = common.asked()?;
        let wanted = Wanted {
            grammar: asked.as_ref().map(|asked| asked.grammar.clone()),
            max_tokens: self.max_tokens.and_then(|limit| limit.0),
            ..common.wanted(served)?
        };
        let request = served.request(prompt, Voice::Continuation, wanted);
        request.map_err(|fault| match (fault.param.as_deref(), asked) {
            (Some("response_format"), Some(asked)) => fault.at(asked.param),
            (Some("messages"), _) => fault.at("prompt"),
            _ => fault,
        })
    }
}
