//! Telling how far the work is.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Hears of progress, from the thread that runs the quantizer.
pub trait Progress {
    /// The work begins: this many bytes of weights will be read.
    fn start(&self, bytes: u64);
    /// This many more bytes have been read and quantized.
    fn advance(&self, bytes: u64);
    /// All is written.
    fn finish(&self);
    /// Whether to stop with [`QuantizeError::Stopped`](crate::QuantizeError::Stopped), leaving what there is for the next call.
    fn wants_stop(&self) -> bool {
        false
    }
}

/// Says nothing.
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

/// A bar on stderr with bytes and the time left, after a second; nothing when stderr is not a terminal.
pub struct Bar {
    bar: ProgressBar,
    start: Instant,
    stop: Arc<AtomicBool>,
}

impl Bar {
    /// A bar that shows when the work starts. The work stops when `stop` becomes true.
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        let style =
            ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left");
        Self {
            bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
                .with_style(style.expect("a valid template")),
            start: Instant::now(),
            stop,
        }
    }
}

impl Progress for Bar {
    fn start(&self, bytes: u64) {
        self.bar.set_length(bytes);
    }

    fn advance(&self, bytes: u64) {
        if self.bar.is_hidden() && self.start.elapsed() > Duration::from_secs(1) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(bytes);
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn wants_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
