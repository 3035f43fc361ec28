//! What was written, as Python gets it.

use bise_serve::batch::Text;
use bise_serve::request::Token;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// The fields of `bise.Text`.
pub fn dict<'py>(py: Python<'py>, text: &Text) -> PyResult<Bound<'py, PyDict>> {
    let calls = text.calls.iter().map(|call| {
        let id = call.id.as_deref();
        (id, &call.name, call.arguments.to_string())
    });
    let logprobs = text.logprobs.as_ref();
    let logprobs = logprobs.map(|tokens| tokens.iter().map(|token| described(py, token)));
    let dict = PyDict::new(py);
    dict.set_item("text", &text.text)?;
    dict.set_item("thought", &text.thought)?;
    dict.set_item("tool_calls", calls.collect::<Vec<_>>())?;
    dict.set_item("stop_reason", text.reason.name())?;
    dict.set_item("stop_text", &text.stop_text)?;
    dict.set_item("prompt_tokens", text.prompt_tokens)?;
    dict.set_item("tokens", &text.ids)?;
    dict.set_item("seed", text.seed)?;
    dict.set_item("logprobs", logprobs.map(Iterator::collect::<Vec<_>>))?;
    Ok(dict)
}

/// Id, bytes and log-probability of a token.
type Likely<'py> = (u32, Bound<'py, PyBytes>, f64);

/// A token, and the likeliest ones in its place.
fn described<'py>(py: Python<'py>, token: &Token) -> (Likely<'py>, Vec<Likely<'py>>) {
    let likely = |id: u32, bytes: &[u8], logprob| (id, PyBytes::new(py, bytes), logprob);
    let top = token.top.iter();
    let top = top.map(|(id, bytes, logprob)| likely(*id, bytes, *logprob));
    (likely(token.id, &token.bytes, token.logprob), top.collect())
}
