//! An answer of which there is one, as it comes or all at once.

use crate::fault::Fault;
use crate::request::{End, Event, Piece};
use futures_util::stream::{self, Stream};
use tokio::sync::mpsc::Receiver;

/// A complete answer.
pub struct Whole {
    /// All that was said and thought.
    pub piece: Piece,
    /// How it ended.
    pub end: End,
    /// Tokens of the prompt that were known.
    pub cached: usize,
}

/// What becomes of a request: its events, of which the last says that the answer has ended or why
/// there is none.
pub fn events(events: Receiver<Event>) -> impl Stream<Item = Event> + Send {
    stream::unfold(Some(events), |events| async {
        let mut events = events?;
        let gone = || Event::Failed {
            problem: "the server ended before the answer did".to_owned(),
        };
        let event = events.recv().await.unwrap_or_else(gone);
        let goes_on = matches!(event, Event::Begun { .. } | Event::Piece { .. });
        Some((event, goes_on.then_some(events)))
    })
}

/// Waits for the end of an answer.
///
/// # Errors
/// 500 when it cannot be computed.
pub async fn whole(mut events: Receiver<Event>) -> Result<Whole, Fault> {
    let (mut whole, mut known) = (Piece::default(), 0);
    while let Some(event) = events.recv().await {
        match event {
            Event::Begun { cached } => known = cached,
            Event::Piece { piece, .. } => {
                whole.text.push_str(&piece.text);
                whole.thought.push_str(&piece.thought);
                whole.tokens.extend(piece.tokens);
            }
            Event::Ended { end, .. } => {
                return Ok(Whole {
                    piece: whole,
                    end,
                    cached: known,
                });
            }
            Event::Failed { problem } => return Err(Fault::internal(problem)),
        }
    }
    Err(Fault::internal("the server ended before the answer did"))
}
