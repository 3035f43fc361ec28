//! A row whose answer is read as it comes.

use super::answer::{Known, Text};
use super::row::{Common, Row};
use crate::fault::Fault;
use crate::gather::ended_early;
use crate::request::{End, Event, Piece};
use crate::served::Served;
use tokio::sync::mpsc::Receiver;

/// A row that is being answered. Who drops it gives the answer up.
pub struct Running {
    known: Known,
    events: Receiver<Event>,
    /// All that was read.
    written: Piece,
    end: Option<End>,
}

impl Running {
    /// Begins to answer `row`, with what is `common` where it does not say otherwise.
    ///
    /// # Errors
    /// What is wrong with the row, or that the scheduler takes none.
    pub fn begin(served: &Served, row: Row, common: &Common) -> Result<Self, Fault> {
        let mut known = Known::of(&row);
        let request = row.request(served, common)?;
        known.take(&request);
        Ok(Self {
            known,
            events: served.submit(request)?,
            written: Piece::default(),
            end: None,
        })
    }

    /// Waits for more of the answer; `None` when it has ended.
    ///
    /// # Errors
    /// When the answer could not be computed, or nobody writes it any more.
    pub async fn next(&mut self) -> Result<Option<Piece>, Fault> {
        while self.end.is_none() {
            match self.events.recv().await {
                Some(Event::Begun { .. }) => {}
                Some(Event::Piece { piece, .. }) => {
                    self.written.extend(piece.clone());
                    return Ok(Some(piece));
                }
                Some(Event::Ended { end, .. }) => {
                    // Those of a text that stopped it, for one, are in no piece.
                    let silent = end.ids.get(self.written.ids.len()..).unwrap_or_default();
                    let ids = silent.to_vec();
                    self.end = Some(end);
                    if !ids.is_empty() {
                        let last = Piece {
                            ids,
                            ..Piece::default()
                        };
                        return Ok(Some(last));
                    }
                }
                Some(Event::Failed { problem }) => return Err(Fault::internal(problem)),
                None => return Err(ended_early()),
            }
        }
        Ok(None)
    }

    /// What was written; `None` before the end.
    pub fn text(&self) -> Option<Text> {
        let end = self.end.clone()?;
        Some(self.known.text(self.written.clone(), end))
    }
}
