//! Errors in the form that the clients of a path know.

use super::state::App;
use crate::fault::Fault;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Whose clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `{"error": {"message", "type", "param", "code"}}`, Mistral's and llama.cpp's too.
    OpenAi,
    /// `{"error": "text"}`
    Ollama,
    /// `{"type": "error", "error": {"type", "message"}}`
    Anthropic,
}

impl Form {
    /// The form of a path.
    pub fn of(path: &str) -> Self {
        let path = path.strip_prefix("/v1").unwrap_or(path);
        if path.starts_with("/api/") {
            Self::Ollama
        } else if path == "/messages" || path.starts_with("/messages/") {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }

    /// The body of an error, also in the middle of a stream.
    pub fn error(self, fault: &Fault) -> Value {
        match self {
            Self::OpenAi => json!({"error": {
                "message": fault.message,
                "type": fault.kind,
                "param": fault.param,
                "code": fault.code,
            }}),
            Self::Ollama => json!({"error": fault.message}),
            Self::Anthropic => json!({
                "type": "error",
                "error": {"type": anthropic_kind(fault.status), "message": fault.message},
            }),
        }
    }
}

/// What Anthropic calls an error of this status.
fn anthropic_kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        500..=599 => "api_error",
        _ => "invalid_request_error",
    }
}

impl IntoResponse for Fault {
    /// Without a body, which [`render`] makes when it knows the path.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives errors a body in the form of the request's path.
pub async fn render(State(_app): State<App>, request: Request, next: Next) -> Response {
    let form = Form::of(request.uri().path());
    let mut response = next.run(request).await;
    let Some(fault) = response.extensions_mut().remove::<Fault>() else {
        return response;
    };
    let mut rendered = (fault.status, Json(form.error(&fault))).into_response();
    let headers = rendered.headers_mut();
    if let Some(seconds) = fault.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if fault.status.is_server_error() && fault.retry_after.is_none() {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    if fault.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    rendered
}
