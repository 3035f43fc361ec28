//! Telling how far the work is.

use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// A bar on stderr with bytes and the time left; nothing when stderr is not a terminal.
pub struct Bar {
    bar: ProgressBar,
    stop: Arc<AtomicBool>,
}

impl Bar {
    /// A bar that shows when the work starts. The work stops when `stop` becomes true.
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        let style =
            ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left");
        Self {
            bar: ProgressBar::no_length().with_style(style.expect("a valid template")),
            stop,
        }
    }
}

impl Progress for Bar {
    fn start(&self, bytes: u64) {
        self.bar.set_length(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn wants_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
