//! Streams of events (SSE), as clients of all interfaces read them.

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Serialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long nothing may come before a comment tells the client that the server is there.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// An event without a name: `data: {..}`.
pub fn data(value: &impl Serialize) -> Event {
    Event::default().data(text(value))
}

/// An event with its name in a line before: `event: message_start`.
pub fn named(name: &str, value: &impl Serialize) -> Event {
    Event::default().event(name).data(text(value))
}

fn text(value: &impl Serialize) -> String {
    // What is sent has texts for keys and can be written.
    serde_json::to_string(value).unwrap_or_default()
}

/// What comes by `receiver`, as a stream. Who drops it gives the request up.
pub fn received<T>(mut receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    stream::poll_fn(move |context| receiver.poll_recv(context))
}

/// A response that sends what `translate` makes of each of `items`, and of their end (`None`).
/// Between them, a comment line is sent whenever nothing came for a while.
pub fn respond<S>(
    items: S,
    mut translate: impl FnMut(Option<S::Item>) -> Vec<Event> + Send + 'static,
) -> Response
where
    S: Stream + Send + 'static,
    S::Item: Send,
{
    let items = items.map(Some).chain(stream::once(async { None }));
    let events = items.flat_map(move |item| stream::iter(translate(item)));
    let heartbeat = KeepAlive::new().interval(HEARTBEAT);
    Sse::new(events.map(Ok::<_, Infallible>))
        .keep_alive(heartbeat)
        .into_response()
}
