//! How far the work is: a bar on the terminal, where it takes over a second.

use bise_quantize::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Work that takes less is not worth a bar.
const SOON: Duration = Duration::from_secs(1);

/// The bar that is shown.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Takes away what is shown.
pub fn clear() {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).take();
    shown.inspect(ProgressBar::finish_and_clear);
}

/// Writes with `write` to standard error, so that no bar gets into it.
pub fn suspend(write: impl FnOnce()) {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shown {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// A bar on standard error, if that is a terminal; gone when it is dropped.
pub struct Bar {
    bar: ProgressBar,
    start: Instant,
}

impl Bar {
    /// `what` is done with so many bytes.
    pub fn bytes(what: &'static str, total: u64) -> Self {
        Self::new(what, "{bytes}/{total_bytes}", total)
    }

    /// `what` is done with so many `things`.
    pub fn count(what: &'static str, total: u64, things: &str) -> Self {
        Self::new(what, &format!("{{pos}}/{{len}} {things}"), total)
    }

    fn new(what: &'static str, count: &str, total: u64) -> Self {
        let style = ProgressStyle::with_template(&format!("{{msg}} {{wide_bar}} {count}, {{eta}} left"));
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        Self {
            bar: bar.with_style(style.expect("a valid template")).with_message(what),
            start: Instant::now(),
        }
    }

    /// So much more is done.
    pub fn advance(&self, more: u64) {
        self.show();
        self.bar.inc(more);
    }

    /// So much is done in all.
    pub fn set(&self, done: u64) {
        self.show();
        self.bar.set_position(done);
    }

    fn show(&self) {
        if self.bar.is_hidden() && self.start.elapsed() > SOON && !self.bar.is_finished() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.bar.clone());
        }
    }

    /// Takes it away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
        SHOWN.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.end();
    }
}

/// A bar of the quantizer, which stops when it is told to.
pub struct Stoppable {
    pub bar: Bar,
    pub stop: Arc<AtomicBool>,
}

impl Progress for Stoppable {
    fn start(&self, bytes: u64) {
        self.bar.bar.set_length(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.bar.advance(bytes);
    }

    fn finish(&self) {
        self.bar.end();
    }

    fn wants_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
