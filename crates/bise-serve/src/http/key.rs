//! Keys: what a request shows to be answered.

use crate::fault::Fault;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use subtle::{Choice, ConstantTimeEq};

/// The keys that are accepted, as hashes: all of one length, so that comparing takes one time.
pub struct Keys(Vec<[u8; 32]>);

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

impl Keys {
    /// Any of `keys` is accepted, and everything when there are none.
    pub fn new(keys: &[String]) -> Self {
        Self(keys.iter().map(|key| hash(key.as_bytes())).collect())
    }

    /// Whether one of the keys is `shown`, found out in the same time whichever it is.
    fn accept(&self, shown: &[u8]) -> bool {
        let shown = hash(shown);
        let none = Choice::from(0);
        let any = self.0.iter().fold(none, |any, key| any | key.ct_eq(&shown));
        any.into()
    }

    /// Refuses a request that shows none of the keys.
    fn check(&self, headers: &HeaderMap) -> Result<(), Fault> {
        if self.0.is_empty() {
            return Ok(());
        }
        let bearers = headers.get_all(header::AUTHORIZATION).into_iter();
        let bearers = bearers.filter_map(|value| {
            let (scheme, key) = value.as_bytes().split_first_chunk::<7>()?;
            scheme
                .eq_ignore_ascii_case(b"bearer ")
                .then_some(key.trim_ascii())
        });
        let others = headers.get_all("x-api-key").into_iter();
        let shown: Vec<_> = bearers.chain(others.map(|value| value.as_bytes())).collect();
        if shown.iter().any(|key| self.accept(key)) {
            return Ok(());
        }
        let problem = match shown.is_empty() {
            true => {
                "this server asks for a key: send it as 'Authorization: Bearer KEY', \
                 or as 'x-api-key: KEY'"
            }
            false => "the key that was sent is none of this server's",
        };
        let fault = Fault::new(StatusCode::UNAUTHORIZED, "authentication_error", problem);
        Err(fault.code("invalid_api_key"))
    }
}

/// Lets requests through that show a key.
pub async fn check(
    State(keys): State<Arc<Keys>>,
    request: Request,
    next: Next,
) -> Result<Response, Fault> {
    keys.check(request.headers())?;
    Ok(next.run(request).await)
}
