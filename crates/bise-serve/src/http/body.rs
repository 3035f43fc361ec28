//! Bodies of requests: JSON that is checked before it is used.

use super::state::App;
use crate::fault::Fault;
use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

/// A body, read as a `T`, and as it came. The content type does not matter.
pub struct Body<T> {
    /// What it says.
    pub value: T,
    /// The JSON.
    pub text: String,
}

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, app: &App) -> Result<Self, Fault> {
        let text = read(request, app.options.body).await?;
        let value = parse(&text)?;
        Ok(Self { value, text })
    }
}

/// The text of a body of at most `most` bytes.
async fn read(request: Request, most: usize) -> Result<String, Fault> {
    let too_large = || {
        let message = format!("the body is larger than {most} bytes, the most that is taken");
        let fault = Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message);
        fault.code("request_too_large")
    };
    let said = request.headers().get(axum::http::header::CONTENT_LENGTH);
    let said = said.and_then(|len| len.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|len| len > most as u64) {
        return Err(too_large());
    }
    let bytes = to_bytes(request.into_body(), most).await.map_err(|error| {
        let full = bise_format::full_text(&error);
        match full.contains("length limit") {
            true => too_large(),
            false => Fault::bad(format!("the body cannot be read: {full}")),
        }
    })?;
    String::from_utf8(bytes.into()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Fault::bad(format!(
            "the body is not UTF-8 at byte {at}; expected JSON in UTF-8"
        ))
    })
}

/// What `text` says as a `T`; the error names the field.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.into_inner());
        match path.as_str() {
            "." | "?" => Fault::bad(format!("the body is not what is expected: {inner}")),
            _ => Fault::bad(format!("{path}: {inner}")).at(path),
        }
    })?;
    reader
        .end()
        .map_err(|error| Fault::bad(format!("the body is more than one JSON value: {error}")))?;
    Ok(value)
}
