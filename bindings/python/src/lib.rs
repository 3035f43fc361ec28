//! The native half of the Python package `bise`: `python/bise` has what users see.
//!
//! Every method that computes lets other Python threads run meanwhile, and hears Ctrl-C (see
//! [`waiting`]). Texts come from one scheduler for each model, whoever asks: threads that generate
//! at the same time share passes.
#![forbid(unsafe_code)]

mod answer;
mod batch;
mod engine;
mod errors;
mod inner;
mod program;
mod quantize;
mod text;
mod waiting;

/// The module, which `bise` imports.
#[pyo3::pymodule(name = "_bise")]
mod module {
    #[pymodule_export]
    use crate::answer::Answer;
    #[pymodule_export]
    use crate::batch::Batch;
    #[pymodule_export]
    use crate::engine::Engine;
    #[pymodule_export]
    use crate::program::{main, signal};
    #[pymodule_export]
    use crate::quantize::quantize;
    /// The version, that of the program.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
