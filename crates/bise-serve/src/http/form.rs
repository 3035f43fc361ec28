//! Errors in the form that the clients of a path know.

use super::paths::wrong_method;
use crate::fault::Fault;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::response::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

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

/// An error as OpenAI's clients know it.
#[derive(Serialize, ToSchema)]
pub struct OpenAiError<'f> {
    error: OpenAiProblem<'f>,
}

/// What is wrong, for OpenAI's clients.
#[derive(Serialize, ToSchema)]
pub struct OpenAiProblem<'f> {
    /// What was found, what was expected, and the way out.
    message: &'f str,
    /// The kind of error.
    r#type: &'f str,
    /// Where in the request.
    param: Option<&'f str>,
    /// The kind of error, more precisely.
    code: Option<&'f str>,
}

/// An error as Ollama's clients know it.
#[derive(Serialize, ToSchema)]
pub struct OllamaError<'f> {
    /// What was found, what was expected, and the way out.
    error: &'f str,
}

/// An error as Anthropic's clients know it.
#[derive(Serialize, ToSchema)]
pub struct AnthropicError<'f> {
    /// `error`
    r#type: &'f str,
    error: AnthropicProblem<'f>,
}

/// What is wrong, for Anthropic's clients.
#[derive(Serialize, ToSchema)]
pub struct AnthropicProblem<'f> {
    /// The kind of error.
    r#type: &'f str,
    /// What was found, what was expected, and the way out.
    message: &'f str,
}

impl Form {
    /// The form of a path, which may have one prefix too many.
    pub fn of(path: &str) -> Self {
        let path = path.trim_start_matches("/v1");
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
        let message = &*fault.message;
        match self {
            Self::OpenAi => json!(OpenAiError {
                error: OpenAiProblem {
                    message,
                    r#type: fault.kind,
                    param: fault.param.as_deref(),
                    code: fault.code,
                }
            }),
            Self::Ollama => json!(OllamaError { error: message }),
            Self::Anthropic => json!(AnthropicError {
                r#type: "error",
                error: AnthropicProblem {
                    r#type: anthropic_kind(fault.status),
                    message,
                },
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
    /// Without a body, which `render` makes when it knows the path.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives errors a body in the form of the request's path.
pub async fn render(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (mut parts, body) = next.run(request).await.into_parts();
    let fault = match parts.extensions.remove::<Fault>() {
        Some(fault) => fault,
        None if parts.status == StatusCode::METHOD_NOT_ALLOWED => {
            let known = parts.headers.get(header::ALLOW);
            let known = known.and_then(|known| known.to_str().ok()).unwrap_or_default();
            wrong_method(&method, &path, known)
        }
        None if is_plain_error(&parts) => said(parts.status, body).await,
        None => return Response::from_parts(parts, body),
    };
    let rendered = (fault.status, Json(Form::of(&path).error(&fault))).into_response();
    let (rendered, body) = rendered.into_parts();
    // What was said besides, such as which methods there are, still holds.
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(rendered.headers);
    parts.status = rendered.status;
    let headers = &mut parts.headers;
    if let Some(seconds) = fault.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if fault.status.is_server_error() && fault.retry_after.is_none() {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    if fault.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    Response::from_parts(parts, body)
}

/// Whether a response is an error in no client's form: one of the framework's own.
fn is_plain_error(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let is_plain = kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    is_plain && (parts.status.is_client_error() || parts.status.is_server_error())
}

/// The error that a plain text is about.
async fn said(status: StatusCode, body: Body) -> Fault {
    let text = to_bytes(body, 1 << 16).await.unwrap_or_default();
    let message = match String::from_utf8_lossy(&text).trim() {
        "" => status.canonical_reason().unwrap_or("unknown error").to_owned(),
        text => text.to_owned(),
    };
    let kind = match status.is_server_error() {
        true => "server_error",
        false => "invalid_request_error",
    };
    Fault::new(status, kind, message)
}
