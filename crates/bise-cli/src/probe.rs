//! What is shown while a model is run for what it says to probes.

use crate::progress::Bar;
use crate::shown;
use bise_quantize::LayersDone;

/// A bar of layers, in the place of what is shown.
pub fn bar() -> LayersDone {
    shown::clear();
    let bar = Bar::count("running the model", 0, "layers");
    Box::new(move |done, layers| bar.set_of(done, layers))
}
