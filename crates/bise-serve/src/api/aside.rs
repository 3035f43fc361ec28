//! Work that takes long, away from the threads that answer all requests.

use crate::fault::Fault;
use crate::tally::Tally;

/// Does `work` on a thread where it keeps nobody waiting: long texts become tokens there, and
/// schemas grammars.
///
/// # Errors
/// Those of `work`, and 500 when it panics.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let tally = Tally::current();
    let done = tokio::task::spawn_blocking(move || tally.within(work)).await;
    done.unwrap_or_else(|_| Err(Fault::internal("the request could not be read")))
}
