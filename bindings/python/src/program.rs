//! The whole program in this process.

use crate::waiting::interruptible;
use bise_cli::hosted;
use pyo3::prelude::*;
use std::ffi::OsString;
use std::sync::Arc;

/// Runs the program with `words`, of which the first is its name, and gives the exit code.
#[pyfunction]
pub fn main(py: Python<'_>, words: Vec<OsString>) -> PyResult<u8> {
    interruptible(py, &Arc::default(), move || hosted::main(words))
}

/// Tells the program that runs of a signal. It may take a while to end for it, and may end the
/// process.
#[pyfunction]
pub fn signal(number: i32) {
    std::thread::spawn(move || hosted::signal(number));
}
