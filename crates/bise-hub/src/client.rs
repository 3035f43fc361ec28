//! Requests to a hub, and what its answers mean.

use crate::error::HubError;
use std::time::Duration;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

/// Tries of a request that fails for no fault of its own.
const TRIES: u32 = 5;
/// The longest that a hub may ask to wait.
const PATIENCE: u64 = 120;

/// What speaks to a hub.
pub(crate) struct Client {
    agent: Agent,
    /// Never part of an error.
    authorization: Option<String>,
}

/// Whether to stop waiting.
pub(crate) type Stopped<'a> = &'a (dyn Fn() -> bool + Sync);

impl Client {
    pub fn new(token: Option<&str>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_recv_body(Some(Duration::from_secs(600)))
            .user_agent(concat!("bise/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: config.into(),
            authorization: token.map(|token| format!("Bearer {token}")),
        }
    }

    /// Gets `url`, which messages call `what`, from the byte `from` on when that is given. Waits
    /// when the hub asks to, and tries again when it is not well. The token goes to the host of
    /// `url` alone.
    pub fn get(
        &self,
        url: &str,
        range: Option<(u64, u64)>,
        what: &str,
        stopped: Stopped<'_>,
    ) -> Result<Response<Body>, HubError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let last = tries >= TRIES;
            let mut request = self.agent.get(url);
            if let Some(authorization) = &self.authorization {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            if let Some((from, to)) = range {
                request = request.header(header::RANGE, format!("bytes={from}-{}", to - 1));
            }
            let wait = match request.call() {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => match meaning(&response, what) {
                    HubError::Busy { seconds, .. } if !last && seconds <= PATIENCE => {
                        Duration::from_secs(seconds)
                    }
                    HubError::Status { .. } if !last => backoff(tries),
                    error => return Err(error),
                },
                Err(source) if last => {
                    return Err(HubError::Network {
                        what: what.to_owned(),
                        source: Box::new(source),
                    });
                }
                Err(_) => backoff(tries),
            };
            pause(wait, stopped)?;
        }
    }
}

/// Longer after each failure.
pub(crate) fn backoff(tries: u32) -> Duration {
    Duration::from_millis(100 << tries.min(6))
}

/// Waits, unless it is stopped.
pub(crate) fn pause(duration: Duration, stopped: Stopped<'_>) -> Result<(), HubError> {
    const STEP: Duration = Duration::from_millis(50);
    let mut left = duration;
    while !left.is_zero() {
        if stopped() {
            return Err(HubError::Stopped);
        }
        let step = left.min(STEP);
        std::thread::sleep(step);
        left -= step;
    }
    Ok(())
}

/// What an answer that is no success means.
fn meaning(response: &Response<Body>, what: &str) -> HubError {
    let what = what.to_owned();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    match response.status() {
        StatusCode::UNAUTHORIZED => HubError::Unauthorized { what },
        StatusCode::FORBIDDEN => HubError::Forbidden { what },
        StatusCode::NOT_FOUND => HubError::NotFound {
            what,
            kind: match header("x-error-code") {
                Some("RevisionNotFound") => "revision",
                Some("EntryNotFound") => "file",
                _ => "repository or file",
            },
        },
        StatusCode::TOO_MANY_REQUESTS => HubError::Busy {
            what,
            seconds: header("retry-after")
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(5),
        },
        status => HubError::Status {
            what,
            status: status.as_u16(),
        },
    }
}
