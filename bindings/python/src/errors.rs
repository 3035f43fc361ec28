//! From errors of the libraries to the exceptions of `bise.errors`.

use bise_cli::hosted::{HostError, in_words};
use bise_serve::Fault;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// The exceptions, by their names in `bise.errors`.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Anything else.
    BiseError,
    /// A model cannot be loaded.
    ModelError,
    /// An argument or a request is not what is expected.
    RequestError,
    /// A text does not fit the context.
    ContextFull,
    /// A file cannot be quantized.
    QuantizeError,
}

/// The exception that says `message`.
pub fn error(py: Python<'_>, kind: Kind, message: String) -> PyErr {
    about(py, kind, message, None)
}

fn about(py: Python<'_>, kind: Kind, message: String, param: Option<String>) -> PyErr {
    let class = py
        .import("bise.errors")
        .and_then(|errors| errors.getattr(format!("{kind:?}")))
        .and_then(|class| Ok(class.cast_into::<PyType>()?));
    match class {
        Ok(class) => PyErr::from_type(class, (message, param)),
        Err(error) => error,
    }
}

/// The same, to be told and not raised.
pub fn about_fault(py: Python<'_>, fault: Fault) -> PyResult<Bound<'_, PyAny>> {
    Ok(of_fault(py, fault).into_value(py).into_bound(py).into_any())
}

/// The exception for what is wrong with a request.
pub fn of_fault(py: Python<'_>, fault: Fault) -> PyErr {
    let kind = match fault.code {
        Some("context_length_exceeded") => Kind::ContextFull,
        _ if fault.status.is_client_error() => Kind::RequestError,
        _ => Kind::BiseError,
    };
    about(py, kind, in_words(&fault.message), fault.param)
}

/// The exception for what a host's work ended with; `kind` is that of what was found in files.
pub fn of_host(py: Python<'_>, error: HostError, kind: Kind) -> PyErr {
    match error {
        HostError::Option(message) => self::error(py, Kind::RequestError, message),
        HostError::Stopped => PyKeyboardInterrupt::new_err(()),
        other => self::error(py, kind, other.to_string()),
    }
}
