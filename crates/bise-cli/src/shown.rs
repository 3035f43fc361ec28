//! The bar that is on the terminal, which everything else that is written there must leave whole.

use indicatif::{ProgressBar, ProgressDrawTarget};
use std::sync::{Mutex, MutexGuard, PoisonError};

static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn shown() -> MutexGuard<'static, Option<ProgressBar>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows `bar` from now on.
pub fn show(bar: &ProgressBar) {
    bar.set_draw_target(ProgressDrawTarget::stderr());
    *shown() = Some(bar.clone());
}

/// Forgets the bar that is shown, which its owner takes away.
pub fn forget() {
    shown().take();
}

/// Takes away what is shown.
pub fn clear() {
    let bar = shown().take();
    bar.inspect(ProgressBar::finish_and_clear);
}

/// Writes with `write` to standard error, so that no bar gets into it.
pub fn suspend(write: impl FnOnce()) {
    let bar = shown().clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}
