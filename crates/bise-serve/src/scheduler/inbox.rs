//! Where requests wait until the thread that runs passes takes them.

use super::options::SchedulerOptions;
use crate::request::{Embed, Event, Failure, Request};
use crate::tally::Tally;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// What both sides see.
pub struct Shared {
    pub options: SchedulerOptions,
    pub inbox: Mutex<VecDeque<Job>>,
    pub wake: Condvar,
    /// Jobs that were submitted and have not begun.
    pub waiting: AtomicUsize,
    pub running: AtomicUsize,
    pub kv_bytes: AtomicU64,
    pub preemptions: AtomicU64,
    pub cached_tokens: AtomicU64,
    /// No more requests are taken; the thread ends when none is left.
    pub ending: AtomicBool,
    /// The thread ends at once.
    pub stopping: AtomicBool,
    pub thread: Mutex<Option<JoinHandle<()>>>,
}

/// What is to be done.
pub enum Job {
    Answer {
        request: Box<Request>,
        events: mpsc::Sender<Event>,
        came: Instant,
        tally: Arc<Tally>,
    },
    Embed {
        request: Embed,
        result: oneshot::Sender<Result<Vec<f32>, Failure>>,
    },
}

/// Refuses requests when the thread has ended, and those that still wait.
pub struct EndAtLast<'s>(pub &'s Shared);

impl Drop for EndAtLast<'_> {
    fn drop(&mut self) {
        let mut inbox = lock(&self.0.inbox);
        self.0.ending.store(true, Ordering::SeqCst);
        inbox.clear();
        for count in [&self.0.waiting, &self.0.running] {
            count.store(0, Ordering::SeqCst);
        }
    }
}

/// A lock that holds nothing half done.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
