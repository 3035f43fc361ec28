//! Whole answers, of what comes piece by piece.

use crate::fault::Fault;
use crate::request::{End, Event, Piece};
use tokio::sync::mpsc;

/// All that was answered to a request.
#[derive(Debug)]
pub struct Gathered {
    /// Tokens of the prompt that were known from earlier requests.
    pub cached: usize,
    /// Of each answer what it says, and how it ended.
    pub answers: Vec<(Piece, End)>,
}

/// Waits for all answers to a request. Who drops the future gives the request up.
///
/// # Errors
/// When an answer could not be computed.
pub async fn gather(mut events: mpsc::Receiver<Event>, choices: usize) -> Result<Gathered, Fault> {
    let mut known = 0;
    let mut answers: Vec<(Piece, Option<End>)> = vec![Default::default(); choices];
    while let Some(event) = events.recv().await {
        match event {
            Event::Begun { cached } => known = cached,
            Event::Piece { choice, piece } => answers[choice].0.extend(piece),
            Event::Ended { choice, end } => answers[choice].1 = Some(end),
            Event::Failed { problem } => return Err(Fault::internal(problem)),
        }
    }
    let answers = answers.into_iter().map(|(piece, end)| Some((piece, end?)));
    let answers: Option<Vec<_>> = answers.collect();
    Ok(Gathered {
        cached: known,
        answers: answers.ok_or_else(ended_early)?,
    })
}

/// The fault of an answer that nobody writes any more.
pub fn ended_early() -> Fault {
    Fault::internal("the server ended before the answer did")
}
