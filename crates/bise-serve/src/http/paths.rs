//! Which paths there are, however clients write them, and what is said of others.

use crate::fault::Fault;
use axum::extract::{Request, State};
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;

/// How much of a path is said again.
const SHOWN: usize = 200;

/// The paths of all routes, such as `/v1/models/{id}`.
pub struct Paths(Vec<Template>);

/// The path of a route; a request for it carries it with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub Arc<str>);

impl Template {
    /// Whether `path` is one of this form.
    fn fits(&self, path: &str) -> bool {
        let (mut parts, mut given) = (self.0.split('/'), path.split('/'));
        loop {
            match (parts.next(), given.next()) {
                (None, None) => return true,
                (Some(part), Some(given)) if part.starts_with('{') || part == given => {}
                _ => return false,
            }
        }
    }
}

impl Paths {
    /// These paths, in the order in which they are listed.
    pub fn new(templates: impl IntoIterator<Item = String>) -> Self {
        Self(templates.into_iter().map(|path| Template(path.into())).collect())
    }

    /// `path` as the routes have it, and which of them it is.
    fn find(&self, path: &str) -> (String, Option<Template>) {
        let tidy = tidy(path);
        for path in [tidy.clone(), format!("/v1{tidy}")] {
            if let Some(template) = self.0.iter().find(|template| template.fits(&path)) {
                return (path, Some(template.clone()));
            }
        }
        (tidy, None)
    }

    /// What was meant by a path that begins with too much, as when a client adds the `/v1` that it
    /// was given already.
    fn meant(&self, path: &str) -> Option<String> {
        let slashes = path.match_indices('/').skip(1);
        slashes
            .map(|(at, _)| self.find(&path[at..]))
            .find_map(|(path, known)| known.map(|_| path))
    }

    /// What is said of a path that is none.
    pub fn unknown(&self, path: &str) -> Fault {
        let shown: String = path.chars().take(SHOWN).collect();
        let message = match self.meant(path) {
            Some(meant) => format!("there is nothing at {shown}; did you mean {meant}?"),
            None => {
                let all: Vec<&str> = self.0.iter().map(|template| &*template.0).collect();
                format!("there is nothing at {shown}; there are {}", all.join(", "))
            }
        };
        Fault::new(StatusCode::NOT_FOUND, "invalid_request_error", message).code("not_found")
    }
}

/// `path` without slashes that do not matter.
fn tidy(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    format!("/{}", parts.join("/"))
}

/// What is said of a method that a path does not know.
pub fn wrong_method(method: &Method, path: &str, known: &str) -> Fault {
    let shown: String = path.chars().take(SHOWN).collect();
    let known = known.replace(',', " or ");
    let message = format!("{method} means nothing at {shown}; expected {known}");
    let fault = Fault::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message);
    fault.code("method_not_allowed")
}

/// Brings the path of a request into the form that the routes have.
pub async fn find(State(paths): State<Arc<Paths>>, mut request: Request, next: Next) -> Response {
    let (path, template) = paths.find(request.uri().path());
    if let Some(template) = template {
        request.extensions_mut().insert(template);
    }
    if path != request.uri().path() {
        let whole = match request.uri().query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = PathAndQuery::try_from(whole).ok();
        // What a path was made of makes one again.
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> Paths {
        let all = [
            "/v1/chat/completions",
            "/v1/models",
            "/v1/models/{id}",
            "/api/chat",
            "/health",
        ];
        Paths::new(all.map(str::to_owned))
    }

    #[test]
    fn prefix_and_slashes_do_not_matter() {
        for (path, expected, known) in [
            ("/v1/chat/completions", "/v1/chat/completions", true),
            ("/chat/completions/", "/v1/chat/completions", true),
            ("//v1//chat///completions//", "/v1/chat/completions", true),
            ("/models/a%2Fb", "/v1/models/a%2Fb", true),
            ("/health/", "/health", true),
            ("/v1/health", "/v1/health", false),
            ("/models/a/b", "/models/a/b", false),
            ("/", "/", false),
            ("", "/", false),
        ] {
            let (found, template) = paths().find(path);
            assert_eq!((&*found, template.is_some()), (expected, known), "{path}");
        }
    }

    #[test]
    fn what_was_meant() {
        for (path, expected) in [
            ("/v1/v1/chat/completions", Some("/v1/chat/completions")),
            ("/v1/api/chat", Some("/api/chat")),
            ("/api/v1/chat/completions", Some("/v1/chat/completions")),
            ("/openai/chat/completions/", Some("/v1/chat/completions")),
            ("/v1/v1/models/x", Some("/v1/models/x")),
            ("/v1/health", Some("/health")),
            ("/v1/nothing", None),
            ("/", None),
            ("/é/health", Some("/health")),
        ] {
            assert_eq!(paths().meant(path).as_deref(), expected, "{path}");
        }
    }
}
