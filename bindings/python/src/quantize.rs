//! `bise.quantize`.

use crate::errors::{Kind, of_host};
use crate::waiting::interruptible;
use bise_cli::hosted;
use pyo3::prelude::*;
use std::ffi::OsString;
use std::sync::Arc;

/// Quantizes as `words` ask for, which are those of `bise quantize`; gives the report as JSON, and
/// what the user should know.
#[pyfunction]
pub fn quantize(py: Python<'_>, words: Vec<OsString>) -> PyResult<(String, Vec<String>)> {
    let stop = Arc::default();
    let told = Arc::clone(&stop);
    let (report, notes) = interruptible(py, &stop, move || hosted::quantize(&words, told))?;
    match report {
        Ok(report) => Ok((report.to_string(), notes)),
        Err(error) => Err(of_host(py, error, Kind::QuantizeError)),
    }
}
