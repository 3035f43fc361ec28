//! Telling how far the work is.

/// Hears of progress, from the thread that runs the quantizer.
pub trait Progress {
    /// The work begins: this many bytes of weights will be read.
    fn start(&self, bytes: u64);
    /// This many more bytes have been read and quantized.
    fn advance(&self, bytes: u64);
    /// All is written.
    fn finish(&self);
    /// Whether to stop with [`QuantizeError::Stopped`](crate::QuantizeError::Stopped), leaving what
    /// there is for the next call.
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
