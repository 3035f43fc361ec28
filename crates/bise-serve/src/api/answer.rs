//! An answer of which there is one, as it comes.

use super::gather::ended_early;
use crate::request::Event;
use futures_util::stream::{self, Stream};
use tokio::sync::mpsc::Receiver;

/// What becomes of a request: its events, of which the last says that the answer has ended or why
/// there is none.
pub fn events(events: Receiver<Event>) -> impl Stream<Item = Event> + Send {
    stream::unfold(Some(events), |events| async {
        let mut events = events?;
        let gone = || Event::Failed {
            problem: ended_early().message,
        };
        let event = events.recv().await.unwrap_or_else(gone);
        let goes_on = matches!(event, Event::Begun { .. } | Event::Piece { .. });
        Some((event, goes_on.then_some(events)))
    })
}
