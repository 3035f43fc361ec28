//! A model, loaded and answering.

use crate::answer::Answer;
use crate::batch::Batch;
use crate::errors::{Kind, error, of_fault, of_host};
use crate::inner::Inner;
use crate::waiting::{interruptible, wait};
use bise_cli::hosted;
use bise_model::constraint::Grammar;
use bise_model::{Context, ContextOptions};
use bise_serve::Served;
use bise_serve::batch::{Common, Row, Running};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A model, loaded and answering.
#[pyclass(frozen, module = "bise._bise")]
pub struct Engine(Mutex<Option<Arc<Inner>>>);

impl Engine {
    fn inner(&self, py: Python<'_>) -> PyResult<Arc<Inner>> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(inner) = &*inner else {
            return Err(error(py, Kind::BiseError, "the model is closed".to_owned()));
        };
        inner.check_process(py)?;
        Ok(inner.clone())
    }

    fn served(&self, py: Python<'_>) -> PyResult<Arc<Served>> {
        Ok(self.inner(py)?.served().clone())
    }
}

#[pymethods]
impl Engine {
    /// The model that `words` ask for, which are options of `bise serve`; and what the user should
    /// know.
    #[staticmethod]
    fn open(py: Python<'_>, words: Vec<OsString>) -> PyResult<(Self, Vec<String>)> {
        let (served, notes) = interruptible(py, &Arc::default(), move || hosted::serve(&words))?;
        let served = served.map_err(|error| of_host(py, error, Kind::ModelError))?;
        let inner = Arc::new(Inner::new(served));
        Ok((Self(Mutex::new(Some(inner))), notes))
    }

    /// Gives up what is being computed, and the memory.
    fn close(&self, py: Python<'_>) {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(move || {
            if let Some(inner) = inner
                && inner.is_here()
            {
                inner.served().scheduler.stop();
            }
        });
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.is_none()
    }

    /// Begins the text that a row of JSON asks for, which follows a grammar if there is one.
    #[pyo3(signature = (row, grammar, ignore_end))]
    fn submit(
        &self,
        py: Python<'_>,
        row: &[u8],
        grammar: Option<(String, String)>,
        ignore_end: bool,
    ) -> PyResult<Answer> {
        let inner = self.inner(py)?;
        let common = common(py, grammar, ignore_end)?;
        let begun = py.detach(|| {
            let row = Row::from_json(0, row);
            Running::begin(inner.served(), row, &common)
        });
        let running = begun.map_err(|fault| of_fault(py, fault))?;
        Ok(Answer::new(inner, running))
    }

    /// Rows that will be answered together.
    fn batch(
        &self,
        py: Python<'_>,
        grammar: Option<(String, String)>,
        ignore_end: bool,
        ordered: bool,
    ) -> PyResult<Batch> {
        let common = common(py, grammar, ignore_end)?;
        Batch::new(py, self.inner(py)?, common, ordered)
    }

    /// The tokens of a text; when `special`, with those that begin and end texts.
    fn tokenize(&self, py: Python<'_>, text: &[u8], special: bool) -> PyResult<Vec<u32>> {
        let served = self.served(py)?;
        Ok(py.detach(|| match special {
            true => served.tokenizer.encode_complete(text),
            false => served.tokenizer.encode(text),
        }))
    }

    /// The tokens of a text that is to go on.
    fn prompt_tokens(&self, py: Python<'_>, text: &[u8]) -> PyResult<Vec<u32>> {
        let served = self.served(py)?;
        Ok(py.detach(|| served.tokenizer.encode_prompt(text)))
    }

    /// The text of tokens.
    fn detokenize(&self, py: Python<'_>, ids: Vec<u32>) -> PyResult<String> {
        let served = self.served(py)?;
        check_ids(py, &served, &ids)?;
        Ok(py.detach(|| served.tokenizer.decode(&ids)))
    }

    /// Logits of what follows each token, `[n, vocabulary]`.
    fn logits<'py>(&self, py: Python<'py>, ids: Vec<u32>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let served = self.served(py)?;
        check_ids(py, &served, &ids)?;
        if ids.is_empty() {
            let message = "there are no tokens; expected at least one".to_owned();
            return Err(error(py, Kind::RequestError, message));
        }
        let shape = [ids.len(), served.model.vocabulary_size()];
        let stop: Arc<AtomicBool> = Arc::default();
        let told = stop.clone();
        let logits = interruptible(py, &stop, move || logits(&served, &ids, told))?;
        let logits = logits.map_err(|(kind, message)| error(py, kind, message))?;
        PyArray1::from_vec(py, logits).reshape(shape)
    }

    /// Embeddings of texts, `[n, dim]`, each of length 1.
    fn embed<'py>(
        &self,
        py: Python<'py>,
        texts: Vec<String>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let served = self.served(py)?;
        let shape = [texts.len(), served.model.config().dim];
        let values = py.detach(|| {
            let mut values = Vec::with_capacity(shape[0] * shape[1]);
            for text in &texts {
                let ids = served.embedding_prompt(text);
                match wait(served.embed(ids))? {
                    Ok(embedding) => values.extend(embedding),
                    Err(fault) => return Ok(Err(fault)),
                }
            }
            PyResult::Ok(Ok(values))
        })?;
        let values = values.map_err(|fault| of_fault(py, fault))?;
        PyArray1::from_vec(py, values).reshape(shape)
    }

    /// Tokens that fit in a text, prompt and answer together.
    #[getter]
    fn ctx(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.served(py)?.context)
    }

    /// Tokens of the vocabulary.
    #[getter]
    fn vocabulary_size(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.served(py)?.model.vocabulary_size())
    }

    /// Values of an embedding.
    #[getter]
    fn dimension(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.served(py)?.model.config().dim)
    }

    /// What the file calls the model.
    #[getter]
    fn name(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.served(py)?.name().to_owned())
    }

    /// What tells the model from others.
    #[getter]
    fn fingerprint(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.served(py)?.model.fingerprint().to_string())
    }

    /// Tokens that end a text.
    #[getter]
    fn end_tokens(&self, py: Python<'_>) -> PyResult<Vec<u32>> {
        Ok(self.served(py)?.tokenizer.ends().to_vec())
    }
}

/// What a text must follow: `grammar` is its kind and its text.
fn common(py: Python<'_>, grammar: Option<(String, String)>, ignore_end: bool) -> PyResult<Common> {
    let grammar = grammar.map(|(kind, text)| match kind.as_str() {
        "schema" => Ok(Grammar::JsonSchema(text)),
        "regex" => Ok(Grammar::Regex(text)),
        "grammar" => Ok(Grammar::from_text(&text)),
        "json" => Ok(Grammar::JsonObject),
        _ => {
            let message = format!("{kind} is no kind of grammar");
            Err(error(py, Kind::RequestError, message))
        }
    });
    Ok(Common {
        grammar: grammar.transpose()?,
        ignore_end,
        ..Common::default()
    })
}

/// Refuses tokens that are not in the vocabulary.
fn check_ids(py: Python<'_>, served: &Served, ids: &[u32]) -> PyResult<()> {
    let size = served.tokenizer.vocabulary().len();
    match ids.iter().position(|&id| id as usize >= size) {
        None => Ok(()),
        Some(at) => {
            let message = format!(
                "token {} at position {at} is not in the vocabulary; expected one below {size}",
                ids[at]
            );
            Err(error(py, Kind::RequestError, message))
        }
    }
}

fn logits(served: &Served, ids: &[u32], stop: Arc<AtomicBool>) -> Result<Vec<f32>, (Kind, String)> {
    let engine = &served.engine;
    let options = ContextOptions {
        max_tokens: served.context,
        prefill_chunk: engine.rows,
        kv: engine.kv,
        level: engine.level,
    };
    let failed = |problem: String| (Kind::BiseError, problem);
    let context = Context::new(&served.model, options);
    let mut context = context.map_err(|error| failed(bise_format::full_text(&error)))?;
    if let Some(capacity) = context.capacity().filter(|&capacity| capacity < ids.len()) {
        let message = format!(
            "{} tokens do not fit the context of {capacity}; open the model with a larger ctx",
            ids.len()
        );
        return Err((Kind::ContextFull, message));
    }
    context.watch_progress(Some(Arc::new(move |_, _| match stop.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })));
    let mut logits = Vec::with_capacity(ids.len() * served.model.vocabulary_size());
    let mut work = || context.forward_all(ids, |row: &[f32]| logits.extend_from_slice(row));
    let done = match &engine.threads {
        Some(threads) => threads.run(work),
        None => work(),
    };
    done.map_err(|error| failed(bise_format::full_text(&error)))?;
    Ok(logits)
}
