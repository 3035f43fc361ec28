//! Many requests at once: continuous batching over one engine.
//!
//! A thread of its own runs passes, one after the other. Before each it looks at what came and who
//! left; the pass takes the next token of each answer that is being written, and a piece of the
//! oldest prompts that are not processed yet. There are no slots: an answer begins when memory for
//! its keys and values is there, and when pages run out the youngest gives way and is computed
//! again later. An answer's tokens depend on its request alone, whatever the schedule: that is the
//! engine's contract, and the sampler's random numbers belong to positions.

mod answer;
mod embedding;
mod inbox;
mod options;
mod pace;
mod prefix;
mod worker;

pub use options::SchedulerOptions;

use crate::request::{Embed, Event, Failure, Request};
use crate::tally::Tally;
use bise_model::Engine;
use bise_model::chat::Template;
use bise_model::tokenizer::Tokenizer;
use inbox::{EndAtLast, Job, Shared, lock};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// As many requests as may wait do.
    #[error("{waiting} requests are waiting, as many as may; try again later")]
    Full {
        /// How many wait.
        waiting: usize,
    },
    /// The server is about to end, or its engine has failed.
    #[error("the server is shutting down")]
    Ending,
}

/// What goes on, for those who watch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Answers that are being written, or whose prompts are processed.
    pub running: usize,
    /// Answers and embeddings that wait.
    pub waiting: usize,
    /// Bytes of keys and values, those that are kept for later requests included.
    pub kv_bytes: u64,
    /// How often an answer gave way since the start.
    pub preemptions: u64,
    /// Tokens of prompts that were known since the start.
    pub cached_tokens: u64,
}

/// Hands requests to the thread that runs passes. Clones hand them to the same one.
#[derive(Clone)]
pub struct Scheduler(Arc<Shared>);

impl Scheduler {
    /// Starts the thread, which runs `engine`.
    ///
    /// # Errors
    /// When the system refuses to start a thread.
    pub fn start(
        engine: Engine,
        tokenizer: Arc<Tokenizer>,
        template: Arc<Template>,
        options: SchedulerOptions,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            options,
            inbox: Mutex::default(),
            wake: Condvar::new(),
            waiting: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            kv_bytes: AtomicU64::new(0),
            preemptions: AtomicU64::new(0),
            cached_tokens: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            thread: Mutex::default(),
        });
        let with = shared.clone();
        let thread = std::thread::Builder::new()
            .name("scheduler".to_owned())
            .spawn(move || {
                // Whatever happens in there, nobody waits for an answer that will not come.
                let _end = EndAtLast(&with);
                worker::run(&with, engine, &tokenizer, &template);
            })?;
        *lock(&shared.thread) = Some(thread);
        Ok(Self(shared))
    }

    /// Takes a request; its events come by what this returns. Who drops that gives the request up.
    ///
    /// # Errors
    /// When there are too many, or the server is about to end.
    pub fn submit(&self, request: Request) -> Result<mpsc::Receiver<Event>, Refused> {
        self.offer(Box::new(request)).map_err(|(refused, _)| refused)
    }

    /// As [`submit`](Self::submit); a request that is not taken comes back.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn offer(
        &self,
        request: Box<Request>,
    ) -> Result<mpsc::Receiver<Event>, (Refused, Box<Request>)> {
        // An answer has some events in a step: while there is no room for them it pauses.
        let (events, receiver) = mpsc::channel(answer::EVENTS * (1 + request.choices()));
        let job = Job::Answer {
            request,
            events,
            came: Instant::now(),
            tally: Tally::current(),
        };
        match self.push(job) {
            Ok(()) => Ok(receiver),
            Err((refused, Job::Answer { request, .. })) => Err((refused, request)),
            Err((_, Job::Embed { .. })) => unreachable!("what comes back is what was pushed"),
        }
    }

    /// Takes a text whose embedding is wanted: `[dim]` values, pooled and not normalized.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn embed(
        &self,
        request: Embed,
    ) -> Result<oneshot::Receiver<Result<Vec<f32>, Failure>>, Refused> {
        let (result, receiver) = oneshot::channel();
        let tokens = request.tokens.len();
        self.push(Job::Embed { request, result })
            .map_err(|(refused, _)| refused)?;
        Tally::current().prompt(tokens, 0);
        Ok(receiver)
    }

    /// A job that is not taken comes back.
    fn push(&self, job: Job) -> Result<(), (Refused, Job)> {
        let Self(shared) = self;
        let mut inbox = lock(&shared.inbox);
        if shared.ending.load(Ordering::SeqCst) {
            return Err((Refused::Ending, job));
        }
        let waiting = shared.waiting.load(Ordering::SeqCst);
        if waiting >= shared.options.queue {
            return Err((Refused::Full { waiting }, job));
        }
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        inbox.push_back(job);
        shared.wake.notify_one();
        Ok(())
    }

    /// What goes on.
    pub fn load(&self) -> Load {
        Load {
            running: self.0.running.load(Ordering::SeqCst),
            waiting: self.0.waiting.load(Ordering::SeqCst),
            kv_bytes: self.0.kv_bytes.load(Ordering::SeqCst),
            preemptions: self.0.preemptions.load(Ordering::SeqCst),
            cached_tokens: self.0.cached_tokens.load(Ordering::SeqCst),
        }
    }

    /// Whether requests are taken.
    pub fn is_open(&self) -> bool {
        !self.0.ending.load(Ordering::SeqCst)
    }

    /// Takes no more requests. Those that were taken go on.
    pub fn end(&self) {
        let _inbox = lock(&self.0.inbox);
        self.0.ending.store(true, Ordering::SeqCst);
        self.0.wake.notify_one();
    }

    /// Gives up what is not done yet, and waits for the thread to end: a layer's time.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
        self.end();
        if let Some(thread) = lock(&self.0.thread).take() {
            // It said why it ended, if it did otherwise than well.
            let _ = thread.join();
        }
    }
}
