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

pub mod answer;
mod chat;
pub mod chat_answer;
pub mod common;
mod completions;
mod content;
mod embeddings;
pub mod message;
mod models;
pub mod number;
mod prompt;
mod response_format;
pub mod stops;
pub mod tool;

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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    /// Collects what is referred to.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(name) = map.get("$ref").and_then(Value::as_str) {
                    found.push(name.to_owned());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    /// The description has all that it refers to, and ranges as they are checked.
    #[test]
    fn the_description_is_whole() {
        let api = serde_json::to_value(super::routes().to_openapi()).unwrap();
        let mut found = Vec::new();
        references(&api, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for name in found {
            let at = name.strip_prefix('#').unwrap();
            assert!(api.pointer(at).is_some(), "{name}");
        }
        let properties = "/components/schemas/openai.Common/properties";
        let of = |name: &str| api.pointer(&format!("{properties}/{name}")).unwrap().to_string();
        assert!(of("n").contains("\"minimum\":1"), "{}", of("n"));
        assert!(
            of("temperature").contains("\"maximum\":100"),
            "{}",
            of("temperature")
        );
        if let Ok(path) = std::env::var("DUMP_API") {
            std::fs::write(path, api.to_string()).unwrap();
        }
    }
}
