//! Many prompts in one process, through the scheduler that serves clients.
//!
//! ```no_run
//! # fn example(served: std::sync::Arc<bise_serve::Served>) -> Result<(), Box<dyn std::error::Error>> {
//! use bise_serve::batch::{Batch, Common, Row};
//! use std::time::Duration;
//!
//! let mut batch = Batch::new(served, Common::default())?;
//! let mut rows = (0..1000).map(|i| Row::prompt(i, format!("{i} bottles")));
//! loop {
//!     while batch.has_room() && let Some(row) = rows.next() {
//!         batch.push(row);
//!     }
//!     match batch.next_within(Duration::from_millis(50)) {
//!         Some(answer) => println!("{}: {:?}", answer.index, answer.result),
//!         None if batch.is_empty() => break,
//!         None => {} // a moment to look whether to go on
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A row's answer depends on the row and what is common alone, not on its company. Who drops the
//! batch gives up all that is not done.

mod answer;
mod row;
mod running;

pub use answer::{Answer, Reason, Text};
pub use row::{Common, Row};
pub use running::Running;

use crate::fault::Fault;
use crate::gather::gather;
use crate::request::{End, Piece, Request};
use crate::scheduler::Refused;
use crate::served::{Served, refused};
use answer::Known;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// Rows whose answers wait for those of earlier ones at most, for each answer at a time.
const HELD: usize = 16;
/// How often a request is offered again that the scheduler had no room for.
const AGAIN: Duration = Duration::from_millis(20);

/// What became of a request.
type Outcome = Result<(Piece, End), Fault>;

/// Rows that are being answered.
pub struct Batch {
    served: Arc<Served>,
    common: Common,
    ordered: bool,
    rows: BTreeMap<u64, State>,
    /// Rows that have no outcome yet.
    unfinished: usize,
    /// The number of the next row.
    next: u64,
    done: mpsc::Receiver<(u64, Outcome)>,
    tell: mpsc::Sender<(u64, Outcome)>,
    /// Reads events; `None` while this is dropped.
    reader: Option<Runtime>,
}

/// A row that was pushed.
struct State {
    known: Known,
    /// Until the scheduler takes it.
    request: Option<Box<Request>>,
    outcome: Option<Outcome>,
}

impl Batch {
    /// No rows yet, which `served` will answer, in their order.
    ///
    /// # Errors
    /// When the grammar that is common is none, or the system refuses to start a thread.
    pub fn new(served: Arc<Served>, common: Common) -> Result<Self, Fault> {
        if let Some(grammar) = &common.grammar {
            served.constraints(grammar, 1)?;
        }
        let reader = Builder::new_multi_thread().worker_threads(1).build();
        let reader =
            reader.map_err(|error| Fault::internal(format!("cannot start a thread: {error}")))?;
        let (tell, done) = mpsc::channel();
        Ok(Self {
            served,
            common,
            ordered: true,
            rows: BTreeMap::new(),
            unfinished: 0,
            next: 0,
            done,
            tell,
            reader: Some(reader),
        })
    }

    /// Gives answers as they are ready, in any order.
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.ordered = false;
        self
    }

    /// Whether another row should be pushed: while there are fewer than twice as many as are
    /// answered at a time, and not too many answers wait for an earlier one.
    pub fn has_room(&self) -> bool {
        let at_once = self.served.sequences.max(1);
        self.unfinished < 2 * at_once && self.rows.len() < HELD * at_once
    }

    /// Whether all rows that were pushed have been answered.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes a row. What is wrong with it becomes its answer.
    pub fn push(&mut self, row: Row) {
        let mut known = Known::of(&row);
        let (request, outcome) = match row.request(&self.served, &self.common) {
            Ok(request) => {
                known.take(&request);
                self.unfinished += 1;
                (Some(Box::new(request)), None)
            }
            Err(fault) => (None, Some(Err(fault))),
        };
        let state = State {
            known,
            request,
            outcome,
        };
        self.rows.insert(self.next, state);
        self.next += 1;
        self.offer();
    }

    /// The next answer; `None` when there is none after this time, or none left.
    pub fn next_within(&mut self, time: Duration) -> Option<Answer> {
        let end = Instant::now().checked_add(time);
        loop {
            self.offer();
            if let Some(answer) = self.ready() {
                return Some(answer);
            }
            if self.unfinished == 0 {
                return None;
            }
            let left = end.map_or(time, |end| end.saturating_duration_since(Instant::now()));
            let refused = self.rows.values().any(|state| state.request.is_some());
            let wait = if refused { left.min(AGAIN) } else { left };
            match self.done.recv_timeout(wait) {
                Ok((number, outcome)) => self.finish(number, outcome),
                Err(_) if wait == left => return None,
                Err(_) => {}
            }
        }
    }

    /// Offers rows to the scheduler, in their order, until it has no room.
    fn offer(&mut self) {
        for (&number, state) in &mut self.rows {
            let Some(request) = state.request.take() else {
                continue;
            };
            match self.served.scheduler.offer(request) {
                Ok(events) => {
                    let tell = self.tell.clone();
                    if let Some(reader) = &self.reader {
                        reader.spawn(async move {
                            let gathered = gather(events, 1).await;
                            let outcome = gathered.map(|mut gathered| gathered.answers.remove(0));
                            // Who asked may be gone.
                            let _ = tell.send((number, outcome));
                        });
                    }
                }
                Err((Refused::Full { .. }, request)) => {
                    state.request = Some(request);
                    return;
                }
                Err((why, _)) => {
                    let _ = self.tell.send((number, Err(refused(why))));
                }
            }
        }
    }

    fn finish(&mut self, number: u64, outcome: Outcome) {
        if let Some(state) = self.rows.get_mut(&number) {
            state.outcome = Some(outcome);
            self.unfinished -= 1;
        }
    }

    /// An answer that may be given.
    fn ready(&mut self) -> Option<Answer> {
        while let Ok((number, outcome)) = self.done.try_recv() {
            self.finish(number, outcome);
        }
        let candidates = if self.ordered { 1 } else { self.rows.len() };
        let mut candidates = self.rows.iter().take(candidates);
        let (&number, _) = candidates.find(|(_, state)| state.outcome.is_some())?;
        let State { known, outcome, .. } = self.rows.remove(&number)?;
        Some(known.answer(outcome?))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            // Events that nobody reads tell the scheduler to let go.
            reader.shutdown_background();
        }
    }
}
