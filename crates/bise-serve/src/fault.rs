//! What is wrong with a request, before an interface puts it into its own form.

use axum::http::StatusCode;

/// Why a request gets no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// The status of the response.
    pub status: StatusCode,
    /// The kind of error, in OpenAI's words: `invalid_request_error`.
    pub kind: &'static str,
    /// More precisely: `model_not_found`.
    pub code: Option<&'static str>,
    /// Where in the request: `messages[2].content`.
    pub param: Option<String>,
    /// What was found, what was expected, and the way out.
    pub message: String,
    /// After how many seconds it may be tried again; never, when `None`.
    pub retry_after: Option<u32>,
}

impl Fault {
    /// Status 400, for a request that can never be answered.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// Any status and kind.
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            code: None,
            param: None,
            message: message.into(),
            retry_after: None,
        }
    }

    /// Status 500: something is wrong with the server.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// The same, at this place of the request.
    #[must_use]
    pub fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The same, with this code.
    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// The same, to be tried again after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}
