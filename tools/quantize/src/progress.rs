//! Telling how far the work is.

use indicatif::{ProgressBar, ProgressStyle};

/// Hears of progress, from the thread that runs the quantizer.
pub trait Progress {
    /// The work begins: this many bytes of weights will be read.
    fn start(&self, bytes: u64);
    /// This many more bytes have been read and quantized.
    fn advance(&self, bytes: u64);
    /// All is written.
    fn finish(&self);
}

/// Says nothing.
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

/// A bar on stderr with bytes and the time left; nothing when stderr is not a terminal.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar that shows when the work starts.
    pub fn new() -> Self {
        let style =
            ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left");
        Self(ProgressBar::no_length().with_style(style.expect("a valid template")))
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Bar {
    fn start(&self, bytes: u64) {
        self.0.set_length(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}
