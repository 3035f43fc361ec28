//! A text that is being written.

use crate::errors::of_fault;
use crate::inner::Inner;
use crate::text;
use crate::waiting::wait;
use bise_serve::batch::Running;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A text that is being written. Who lets go of it gives the text up.
#[pyclass(frozen, module = "bise._bise")]
pub struct Answer {
    running: Mutex<Running>,
    /// Where the text comes from.
    inner: Arc<Inner>,
}

impl Answer {
    /// What `running` writes, which comes from `inner`.
    pub fn new(inner: Arc<Inner>, running: Running) -> Self {
        let running = Mutex::new(running);
        Self { running, inner }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Answer {
    /// What is new: its text, its thought, and the ids of the tokens that made it certain; None at
    /// the end.
    fn next(&self, py: Python<'_>) -> PyResult<Option<(String, String, Vec<u32>)>> {
        self.inner.check_process(py)?;
        let next = py.detach(|| wait(self.running().next()))?;
        let piece = next.map_err(|fault| of_fault(py, fault))?;
        Ok(piece.map(|piece| (piece.text, piece.thought, piece.ids)))
    }

    /// Waits for the end, and gives all that was written.
    fn whole<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.inner.check_process(py)?;
        let whole = py.detach(|| {
            let mut running = self.running();
            wait(async {
                while running.next().await?.is_some() {}
                Ok(running.text())
            })
        })?;
        let whole = whole.map_err(|fault| of_fault(py, fault))?;
        text::dict(py, &whole.expect("it has ended"))
    }
}
