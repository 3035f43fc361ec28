//! Who stops the quantizer.

use bise_quantize::Progress;
use std::cell::Cell;

/// Asks for a stop after so many slabs.
pub struct StopAfter(pub Cell<u32>);

impl Progress for StopAfter {
    fn start(&self, _: u64) {}
    fn advance(&self, _: u64) {
        self.0.set(self.0.get().saturating_sub(1));
    }
    fn finish(&self) {}
    fn wants_stop(&self) -> bool {
        self.0.get() == 0
    }
}
