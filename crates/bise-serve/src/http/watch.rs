//! A line in the log for each request, and its measurements. No texts, unless they are asked for.

use super::paths::Template;
use super::state::App;
use crate::tally::Tally;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// The status of a request whose client left before there was one.
const LEFT: u16 = 499;

/// What is told of a request when it ends, however it does.
struct Line {
    method: Method,
    path: String,
    template: Option<Template>,
    /// How often the client has tried before.
    retry: Option<u64>,
    status: Option<StatusCode>,
    start: Instant,
    tally: Arc<Tally>,
}

impl Line {
    fn of(request: &Request) -> Self {
        Self {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            template: request.extensions().get().cloned(),
            retry: number(request.headers(), "x-stainless-retry-count"),
            status: None,
            start: Instant::now(),
            tally: Arc::default(),
        }
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

impl Drop for Line {
    fn drop(&mut self) {
        let time = self.start.elapsed();
        let status = self.status.map_or(LEFT, |status| status.as_u16());
        let [prompt, cached, generated] =
            self.tally.read().map(|tokens| (tokens > 0).then_some(tokens));
        tracing::info!(
            target: "bise_serve::requests",
            method = %self.method,
            path = self.path,
            status,
            ms = time.as_millis() as u64,
            prompt,
            cached,
            generated,
            retry = self.retry,
        );
        let template = self.template.as_ref().map_or("other", |template| &*template.0);
        let path = [("path", template.to_owned())];
        let both = [path[0].clone(), ("status", status.to_string())];
        metrics::counter!("bise_requests_total", &both).increment(1);
        metrics::histogram!("bise_request_seconds", &path).record(time.as_secs_f64());
    }
}

/// A response's body, and the line that is due when it ends.
struct Watched {
    body: Body,
    _line: Line,
    log_text: bool,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let (true, Some(Ok(frame))) = (self.log_text, &frame)
            && let Some(data) = frame.data_ref()
        {
            let text = String::from_utf8_lossy(data);
            tracing::info!(target: "bise_serve::texts", %text, "response");
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Watches a request from its head to the end of its response.
pub async fn watch(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut line = Line::of(&request);
    let response = line.tally.clone().of(next.run(request)).await;
    line.status = Some(response.status());
    response.map(|body| {
        Body::new(Watched {
            body,
            _line: line,
            log_text: app.options.log_text,
        })
    })
}
