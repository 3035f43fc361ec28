//! Bodies of requests: JSON that is checked before it is used.

use super::state::{App, SMALL};
use crate::fault::Fault;
use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::timeout;

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
        let len = len(&request, app.options.body)?;
        let room = u32::try_from(len / SMALL).unwrap_or(u32::MAX);
        let room = app.room.acquire_many(room);
        let _room = timeout(app.options.patience.body, room)
            .await
            .map_err(|_| busy())?;
        let text = read(request, app).await?;
        if app.options.log_text {
            tracing::info!(target: "bise_serve::texts", %text, "request");
        }
        let value = match text.len() > SMALL {
            true => at_length(|| parse(&text))?,
            false => parse(&text)?,
        };
        Ok(Self { value, text })
    }
}

fn busy() -> Fault {
    let message = "other large requests are being read; try again later";
    let fault = Fault::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message);
    fault.code("busy").retry_after(1)
}

fn too_large(most: usize) -> Fault {
    let message = format!("the body is larger than {most} bytes, the most that is taken");
    let fault = Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message);
    fault.code("request_too_large")
}

/// How many bytes a body has; as many as it may have where that is not said.
fn len(request: &Request, most: usize) -> Result<usize, Fault> {
    let said = request.headers().get(header::CONTENT_LENGTH);
    let said = said.and_then(|len| len.to_str().ok()?.parse::<u64>().ok());
    match said.map(usize::try_from) {
        None => Ok(most),
        Some(Ok(len)) if len <= most => Ok(len),
        Some(_) => Err(too_large(most)),
    }
}

/// The text of a body.
async fn read(request: Request, app: &App) -> Result<String, Fault> {
    let (most, patience) = (app.options.body, app.options.patience.body);
    let bytes = timeout(patience, to_bytes(request.into_body(), most)).await;
    let bytes: Bytes = match bytes {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => {
            let full = bise_format::full_text(&error);
            return Err(match full.contains("length limit") {
                true => too_large(most),
                false => Fault::bad(format!("the body cannot be read: {full}")),
            });
        }
        Err(_) => {
            let message = format!("the body did not come within {} s", patience.as_secs_f32());
            let status = StatusCode::REQUEST_TIMEOUT;
            return Err(Fault::new(status, "invalid_request_error", message).code("timeout"));
        }
    };
    String::from_utf8(bytes.into()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Fault::bad(format!(
            "the body is not UTF-8 at byte {at}; expected JSON in UTF-8"
        ))
    })
}

/// Does `work` that takes long enough to be in the way of others, who go on elsewhere.
pub fn at_length<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
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
