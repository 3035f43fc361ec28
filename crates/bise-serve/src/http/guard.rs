//! Who may ask: programs of this machine, and web pages that are meant to.
//!
//! A web page anywhere can make its reader's browser send requests to this server. The browser
//! tells where the page is from (`Origin`), and hides the answers from it. A page can get round
//! that with a name of its own that leads here: then the browser takes both for one place, but the
//! name stands in `Host`. So both are looked at.

use crate::fault::Fault;
use crate::options::ServerOptions;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, Any, CorsLayer};

/// What may stand in `Host` and `Origin`.
pub struct Guard {
    address: IpAddr,
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Guard {
    /// Guards a server of these options that listens at `address`.
    pub fn new(options: &ServerOptions, address: SocketAddr) -> Self {
        let named = options.allow_hosts.iter().chain([&options.host]);
        Self {
            address: address.ip(),
            hosts: named.filter_map(|name| host_name(name)).collect(),
            origins: options.allow_origins.iter().map(|origin| tidy(origin)).collect(),
        }
    }

    fn check(&self, request: &Request) -> Result<(), Fault> {
        let headers = request.headers();
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => text(headers, header::HOST)?,
        };
        if let Some(host) = host.filter(|host| !self.is_ours(host)) {
            let name = host_name(host).unwrap_or_else(|| host.to_owned());
            return Err(forbidden(
                "host_not_allowed",
                format!("'{host}' is no name of this server; --allow-host {name} makes it one"),
            ));
        }
        match text(headers, header::ORIGIN)? {
            Some(origin) if !self.allows(origin, host) => Err(forbidden(
                "origin_not_allowed",
                format!(
                    "web pages of '{origin}' may not use this server; \
                     --allow-origin {origin} lets them"
                ),
            )),
            None if self.is_part_of_another_page(headers) => Err(forbidden(
                "origin_not_allowed",
                "web pages of other places may not use this server; --allow-origin lets one"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Whether `host` is a name of this server. A name can be made to lead anywhere, an address
    /// cannot: where all addresses are listened at, it may be any.
    fn is_ours(&self, host: &str) -> bool {
        let Some(name) = host_name(host) else {
            return false;
        };
        if self.hosts.contains(&name) || name == "localhost" || name.ends_with(".localhost") {
            return true;
        }
        name.parse::<IpAddr>().is_ok_and(|address| {
            let address = address.to_canonical();
            address.is_loopback() || address == self.address || self.address.is_unspecified()
        })
    }

    /// Whether pages of `origin` may ask: those of this server, by the name in `host`, and others
    /// that were allowed.
    fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        let origin = tidy(origin);
        let own = origin.split_once("://").map(|(_, authority)| authority);
        let is_own = own.is_some_and(|own| host.is_some_and(|host| host.eq_ignore_ascii_case(own)));
        is_own
            || self
                .origins
                .iter()
                .any(|allowed| *allowed == origin || allowed == "*")
    }

    /// Whether a page of another place asks without telling which: for a picture, say. Who follows
    /// a link is welcome.
    fn is_part_of_another_page(&self, headers: &HeaderMap) -> bool {
        let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
        let welcome = is("sec-fetch-mode", "navigate") || self.origins.iter().any(|o| o == "*");
        is("sec-fetch-site", "cross-site") && !welcome
    }
}

fn forbidden(code: &'static str, message: String) -> Fault {
    Fault::new(StatusCode::FORBIDDEN, "permission_error", message).code(code)
}

/// A header that is text.
fn text(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<&str>, Fault> {
    let value = headers.get(&name).map(HeaderValue::to_str).transpose();
    value.map_err(|_| Fault::bad(format!("the header {name} is not text")))
}

/// The name in `host`, without port and brackets, in small letters.
fn host_name(host: &str) -> Option<String> {
    // An address of version 6 may come without brackets from who starts the server.
    let name = match host.parse::<IpAddr>() {
        Ok(_) => host.to_owned(),
        Err(_) => host.parse::<Authority>().ok()?.host().to_owned(),
    };
    let name = name.trim_start_matches('[').trim_end_matches([']', '.']);
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

/// An origin as browsers write it.
fn tidy(origin: &str) -> String {
    origin.trim_end_matches('/').to_ascii_lowercase()
}

/// Refuses requests that have no business here.
pub async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Result<Response, Fault> {
    guard.check(&request)?;
    Ok(next.run(request).await)
}

/// Tells browsers that pages may read the answers: those that came past [`check`].
pub fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .allow_private_network(true)
        .expose_headers(Any)
        .max_age(Duration::from_secs(600))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(address: &str, hosts: &[&str], origins: &[&str]) -> Guard {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        let options = ServerOptions {
            allow_hosts: texts(hosts),
            allow_origins: texts(origins),
            ..ServerOptions::default()
        };
        Guard::new(&options, address.parse().unwrap())
    }

    #[test]
    fn hosts() {
        let here = guard("127.0.0.1:80", &["Chat.Example.com", "::7"], &[]);
        let lan = guard("192.168.1.5:80", &[], &[]);
        let all = guard("0.0.0.0:80", &["box:8080"], &[]);
        for (host, expected) in [
            ("localhost", [true, true, true]),
            ("LocalHost.:8080", [true, true, true]),
            ("a.localhost:1", [true, true, true]),
            ("127.0.0.1:8080", [true, true, true]),
            ("127.1.2.3", [true, true, true]),
            ("[::1]:8080", [true, true, true]),
            ("[::ffff:127.0.0.1]", [true, true, true]),
            ("192.168.1.5:8080", [false, true, true]),
            ("192.168.1.6", [false, false, true]),
            ("[::7]:9", [true, false, true]),
            ("chat.example.com:443", [true, false, false]),
            ("box", [false, false, true]),
            ("evil.com", [false, false, false]),
            ("localhost.evil.com", [false, false, false]),
            ("127.0.0.1.evil.com", [false, false, false]),
            ("evil.com@127.0.0.1", [true, true, true]),
            ("127.0.0.1@evil.com", [false, false, false]),
            ("", [false, false, false]),
            ("a b", [false, false, false]),
        ] {
            let found = [&here, &lan, &all].map(|guard| guard.is_ours(host));
            assert_eq!(found, expected, "{host}");
        }
    }

    #[test]
    fn origins() {
        let some = guard("127.0.0.1:80", &[], &["https://Example.com/", "null"]);
        let all = guard("127.0.0.1:80", &[], &["*"]);
        let own = Some("localhost:8080");
        for (origin, host, expected) in [
            ("http://localhost:8080", own, true),
            ("http://LOCALHOST:8080", own, true),
            ("http://localhost:3000", own, false),
            ("http://localhost:8080", None, false),
            ("http://localhost", Some("localhost"), true),
            ("https://example.com", own, true),
            ("https://example.com:444", own, false),
            ("http://example.com", own, false),
            ("https://example.com.evil.com", own, false),
            ("null", own, true),
            ("file://", own, false),
            ("", own, false),
        ] {
            assert_eq!(some.allows(origin, host), expected, "{origin}");
            assert!(all.allows(origin, host), "{origin}");
        }
    }
}
