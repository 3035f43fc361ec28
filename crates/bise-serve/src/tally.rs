//! What a request comes to, in tokens: counted where it is worked on, and told when it ends.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tokens of all that one HTTP request asks for.
#[derive(Debug, Default)]
pub struct Tally {
    prompt: AtomicU64,
    cached: AtomicU64,
    generated: AtomicU64,
}

tokio::task_local! {
    static CURRENT: Arc<Tally>;
}

impl Tally {
    /// Runs a request's handler, which finds this tally by [`Tally::current`].
    pub async fn of<F: Future>(self: Arc<Self>, handler: F) -> F::Output {
        CURRENT.scope(self, handler).await
    }

    /// Does a part of a handler's work that runs on another thread, where this tally is found too.
    pub fn within<T>(self: Arc<Self>, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
    }

    /// The tally of the request that is being handled; one that nobody reads elsewhere.
    pub fn current() -> Arc<Self> {
        CURRENT.try_with(Arc::clone).unwrap_or_default()
    }

    /// A prompt was processed, of which `cached` tokens were known.
    pub fn prompt(&self, tokens: usize, cached: usize) {
        self.prompt.fetch_add(tokens as u64, Ordering::Relaxed);
        self.cached.fetch_add(cached as u64, Ordering::Relaxed);
        metrics::counter!("bise_prompt_tokens_total").increment(tokens as u64);
        metrics::counter!("bise_cached_tokens_total").increment(cached as u64);
    }

    /// A token was generated.
    pub fn generated(&self) {
        self.generated.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("bise_generated_tokens_total").increment(1);
    }

    /// Tokens of prompts, those among them that were known, and tokens that were generated.
    pub fn read(&self) -> [u64; 3] {
        [&self.prompt, &self.cached, &self.generated].map(|count| count.load(Ordering::Relaxed))
    }
}
