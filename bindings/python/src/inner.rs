//! What an engine and its answers hold: a model, and the process that it runs in.

use crate::errors::{Kind, error};
use bise_serve::Served;
use pyo3::prelude::*;
use std::sync::Arc;

/// A model, and the process whose threads run it.
pub struct Inner {
    /// Always there; taken when it is dropped.
    served: Option<Arc<Served>>,
    process: u32,
}

impl Inner {
    /// A model of this process.
    pub fn new(served: Served) -> Self {
        Self {
            served: Some(Arc::new(served)),
            process: std::process::id(),
        }
    }

    /// Whether its threads are in this process.
    pub fn is_here(&self) -> bool {
        self.process == std::process::id()
    }

    /// Refuses to be used in a child that was forked: its threads are not there.
    pub fn check_process(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_here() {
            return Ok(());
        }
        let (mine, here) = (self.process, std::process::id());
        let message = format!(
            "the model was opened by process {mine}, and this is process {here}, forked from it: its threads are \
             not here; open the model in the child, or start it with multiprocessing.get_context(\"spawn\")"
        );
        Err(error(py, Kind::BiseError, message))
    }

    /// The model.
    pub fn served(&self) -> &Arc<Served> {
        self.served.as_ref().expect("taken by drop alone")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(served) = self.served.take() {
            match self.process == std::process::id() {
                true => served.scheduler.stop(),
                // Locks may be held for ever by threads that were not forked.
                false => std::mem::forget(served),
            }
        }
    }
}
