//! Pieces of work done by many in any order, taken by one in order.

use crate::error::QuantizeError;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

type Made = Result<Vec<u8>, QuantizeError>;

/// Numbered pieces. Workers are never more than `window` pieces ahead of who takes them.
pub(crate) struct Queue {
    count: usize,
    window: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Pieces begun.
    begun: usize,
    /// Pieces taken.
    taken: usize,
    /// Made and not taken.
    made: BTreeMap<usize, Made>,
    /// Buffers to make pieces in.
    free: Vec<Vec<u8>>,
    stopped: bool,
}

impl Queue {
    pub(crate) fn new(count: usize, window: usize) -> Self {
        Self {
            count,
            window,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Makes pieces until there are no more.
    pub(crate) fn work(&self, make: impl Fn(usize, &mut Vec<u8>) -> Result<(), QuantizeError>) {
        let mut unless_done = StopOnDrop(Some(self));
        while let Some((piece, mut out)) = self.begin() {
            let made = make(piece, &mut out).map(|()| out);
            self.state().made.insert(piece, made);
            self.changed.notify_all();
        }
        unless_done.0 = None;
    }

    /// The next piece to be made, and a buffer for it.
    fn begin(&self) -> Option<(usize, Vec<u8>)> {
        let mut state = self.state();
        loop {
            if state.stopped || state.begun == self.count {
                return None;
            }
            if state.begun < state.taken + self.window {
                state.begun += 1;
                return Some((state.begun - 1, state.free.pop().unwrap_or_default()));
            }
            state = self.wait(state);
        }
    }

    /// The next piece in order; `None` when the work has stopped.
    pub(crate) fn take(&self) -> Option<Made> {
        let mut state = self.state();
        loop {
            let next = state.taken;
            if let Some(made) = state.made.remove(&next) {
                state.taken += 1;
                self.changed.notify_all();
                return Some(made);
            }
            if state.stopped {
                return None;
            }
            state = self.wait(state);
        }
    }

    /// A buffer that is no longer needed.
    pub(crate) fn give_back(&self, buffer: Vec<u8>) {
        self.state().free.push(buffer);
    }

    /// Stops all work when it is dropped.
    pub(crate) fn stop_on_drop(&self) -> StopOnDrop<'_> {
        StopOnDrop(Some(self))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Queue::stop_on_drop`].
pub(crate) struct StopOnDrop<'a>(Option<&'a Queue>);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.0 {
            queue.state().stopped = true;
            queue.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_and_within_the_window() {
        let queue = Queue::new(100, 5);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    queue.work(|i, out| {
                        assert!(i < queue.state().taken + 5);
                        out.clear();
                        out.push(i as u8);
                        Ok(())
                    });
                });
            }
            for i in 0..100 {
                let piece = queue.take().unwrap().unwrap();
                assert_eq!(piece, [i]);
                queue.give_back(piece);
            }
        });
        assert!(queue.state().free.len() <= 6);
    }

    #[test]
    fn a_panic_stops_everybody() {
        let queue = Queue::new(100, 5);
        std::thread::scope(|scope| {
            let worker = scope
                .spawn(|| queue.work(|i, _| if i < 3 { Ok(()) } else { panic!("as intended") }));
            assert_eq!(std::iter::from_fn(|| queue.take()).count(), 3);
            assert!(worker.join().is_err());
        });
    }
}
