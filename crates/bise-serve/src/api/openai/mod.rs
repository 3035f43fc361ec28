//! OpenAI's interface, which most clients speak.
//!
//! | path | |
//! |---|---|
//! | `/v1/chat/completions` | [`chat`]: conversations, tools, answers by a schema |
//! | `/v1/completions` | [`completions`]: texts that go on, gaps |
//! | `/v1/embeddings` | [`embeddings`] |
//! | `/v1/models` | [`models`] |
//!
//! Fields are those of OpenAI, and those that clients of llama.cpp, vLLM and Mistral add; `null`
//! is as good as absent. What a request does not say is as the server was told; fields that are
//! not known are passed over, as OpenAI's clients expect, but for those that would change the
//! answer.

mod answer;
mod chat;
mod chat_answer;
mod common;
mod completions;
mod content;
mod embeddings;
mod error;
mod message;
mod models;
mod number;
mod prompt;
mod response_format;
mod stops;
mod tool;

use crate::fault::Fault;
use crate::http::state::App;
use axum::http::StatusCode;
use axum::routing::any;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(chat::chat))
        .routes(routes!(completions::completions))
        .routes(routes!(embeddings::embeddings))
        .routes(routes!(models::list))
        .routes(routes!(models::one))
        .route("/v1/responses", any(responses))
        .route("/v1/responses/{*rest}", any(responses))
}

/// There are no responses that are kept.
async fn responses() -> Fault {
    let message = "this server does not have /v1/responses; use /v1/chat/completions, which all models answer";
    Fault::new(StatusCode::NOT_FOUND, "invalid_request_error", message).code("not_found")
}
