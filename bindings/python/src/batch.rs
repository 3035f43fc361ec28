//! Many rows that are answered together.

use crate::errors::{about_fault, of_fault};
use crate::inner::Inner;
use crate::text;
use crate::waiting::until;
use bise_serve::batch::{self, Common, Row};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Rows that are being answered. Who lets go of it gives up what is not done.
#[pyclass(frozen, module = "bise._bise")]
pub struct Batch {
    batch: Mutex<batch::Batch>,
    inner: Arc<Inner>,
}

/// An answer: the number of its row, and what was written or what is wrong with the row.
type Answered<'py> = (u64, Option<Bound<'py, PyDict>>, Option<Bound<'py, PyAny>>);

impl Batch {
    /// No rows yet, which `inner` answers.
    pub fn new(py: Python<'_>, inner: Arc<Inner>, common: Common, ordered: bool) -> PyResult<Self> {
        let batch = batch::Batch::new(inner.served().clone(), common);
        let batch = batch.map_err(|fault| of_fault(py, fault))?;
        let batch = if ordered { batch } else { batch.unordered() };
        let batch = Mutex::new(batch);
        Ok(Self { batch, inner })
    }

    fn batch(&self) -> MutexGuard<'_, batch::Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Batch {
    /// Whether another row should be pushed.
    fn has_room(&self, py: Python<'_>) -> bool {
        py.detach(|| self.batch().has_room())
    }

    /// Takes a row of JSON.
    fn push(&self, py: Python<'_>, index: u64, row: &[u8]) -> PyResult<()> {
        self.inner.check_process(py)?;
        py.detach(|| self.batch().push(Row::from_json(index, row)));
        Ok(())
    }

    /// Waits for the next answer; None when all rows that were pushed have been answered.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Answered<'py>>> {
        self.inner.check_process(py)?;
        let answer = py.detach(|| {
            let mut batch = self.batch();
            until(|look: Duration| match batch.next_within(look) {
                None if batch.is_empty() => Some(None),
                answer => answer.map(Some),
            })
        })?;
        let Some(answer) = answer else {
            return Ok(None);
        };
        Ok(Some(match answer.result {
            Ok(written) => (answer.index, Some(text::dict(py, &written)?), None),
            Err(fault) => (answer.index, None, Some(about_fault(py, fault)?)),
        }))
    }
}
