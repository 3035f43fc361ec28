//! Adapters as llama.cpp's `convert_lora_to_gguf.py` writes them:
//!
//! ```text
//! general.type          adapter
//! adapter.type          lora
//! adapter.lora.alpha    f32; the scale is alpha / rank, and 1 for an alpha of 0
//! NAME.lora_a           [rank, columns], of experts [experts, rank, columns]
//! NAME.lora_b           [rows, rank]
//! ```
//!
//! Of the embeddings, A comes as `[vocabulary, rank]` and B as `[dim, rank]`. Rows of Q and K are
//! in GGUF's order.

use super::pair::{Halves, Side};
use super::stored::{Adapter, Origin};
use crate::TensorName;
use crate::checkpoint::Checkpoint;
use crate::error::OpenError;
use crate::gguf::{GgufError, Metadata, Value};
use bise_kernels::tensor::Tensor;
use std::path::Path;

/// Experts of a layer, at most.
const MOST_EXPERTS: usize = 1 << 12;

const KIND: &str = "general.type";
const TYPE: &str = "adapter.type";
const ALPHA: &str = "adapter.lora.alpha";
const INVOCATION: &str = "adapter.alora.invocation_tokens";

/// Whether the file at `path` is GGUF and says that it is an adapter.
pub(super) fn is_adapter(path: &Path) -> bool {
    Checkpoint::open(path).is_ok_and(|file| kind(&file.metadata) == Ok(Some("adapter")))
}

fn kind(metadata: &Metadata) -> Result<Option<&str>, ()> {
    metadata.str(KIND).map_err(|_| ())
}

/// Reads the adapter at `path`.
pub(super) fn open(path: &Path) -> Result<Adapter, OpenError> {
    let Checkpoint {
        metadata, tensors, ..
    } = Checkpoint::open(path)?;
    let alpha = check(path, &metadata)?;
    let mut halves = Halves::new(path);
    for (name, tensor) in &tensors {
        put(path, name, tensor, &mut halves)?;
    }
    let scale = |_, rank: usize| match alpha {
        0.0 => Ok(1.0),
        alpha => Ok(f64::from(alpha) / rank as f64),
    };
    let text = |key: &str| metadata.str(key).ok().flatten().map(str::to_owned);
    Ok(Adapter {
        path: path.to_owned(),
        origin: Origin::Gguf,
        base: text("general.base_model.0.repo_url").or(text("general.base_model.0.name")),
        architecture: text("general.architecture"),
        pairs: halves.into_pairs(scale)?,
        repeated: Vec::new(),
    })
}

/// What the metadata say must be an ordinary LoRA; gives its alpha.
fn check(path: &Path, metadata: &Metadata) -> Result<f32, OpenError> {
    let wrong = |error: GgufError| OpenError::gguf(path, error);
    let refuse = |problem: String, cure: &str| Err(OpenError::misplaced(path, problem, cure));
    match metadata.str(KIND).map_err(wrong)? {
        Some("adapter") => {}
        found => {
            let found = found.unwrap_or("model");
            let problem = format!("no adapter: {KIND} is '{found}', expected 'adapter'");
            return refuse(
                problem,
                "give it as MODEL, if it is one, and an adapter as --lora",
            );
        }
    }
    match metadata.str(TYPE).map_err(wrong)? {
        Some("lora") => {}
        found => {
            let found = found.unwrap_or_default();
            let problem = format!("{TYPE} is '{found}', expected 'lora'");
            return refuse(problem, "use it with the program that made it");
        }
    }
    match metadata.get(INVOCATION) {
        Some(Value::Array(tokens)) if tokens.is_empty() => {}
        None => {}
        Some(_) => {
            let problem =
                format!("{INVOCATION} makes it count from some tokens on, which is not supported");
            return refuse(problem, "use llama.cpp, or an adapter without an invocation");
        }
    }
    let alpha = metadata.f32(ALPHA).map_err(wrong)?.unwrap_or(0.0);
    if !alpha.is_finite() {
        let problem = format!("{ALPHA} is {alpha}, expected a finite number");
        return refuse(problem, "convert the adapter again");
    }
    Ok(alpha)
}

/// Takes a tensor of the file as halves of pairs: one, or one for each expert.
fn put(path: &Path, name: &str, tensor: &Tensor, halves: &mut Halves<'_>) -> Result<(), OpenError> {
    let sides = [(".lora_a", Side::A), (".lora_b", Side::B)];
    let found = sides
        .into_iter()
        .find_map(|(end, side)| Some((name.strip_suffix(end)?, side)));
    let target = found.map(|(target, side)| (TensorName::parse(target), side));
    let Some((Some(target), side)) = target else {
        let problem = format!("tensor {name} is for no matrix of a Mistral or Mixtral");
        let cure = match found {
            None => {
                "it replaces a tensor of the model, which is not supported: merge the adapter before it is converted"
            }
            Some(_) => "give an adapter that was trained on such a model",
        };
        return Err(OpenError::misplaced(path, problem, cure));
    };
    let wrong = || {
        let what = format!(
            "tensor {name} has the shape {:?} (outermost first), expected a matrix, or one for each expert",
            tensor.shape()
        );
        OpenError::unsupported(path, what)
    };
    if target.expert(0).is_some() {
        let [count, _, _] = *tensor.shape() else {
            return Err(wrong());
        };
        if count > MOST_EXPERTS {
            return Err(wrong());
        }
        for expert in 0..count {
            let target = target.expert(expert as u64).ok_or_else(wrong)?;
            halves.put(target, side, name, tensor.slab(expert))?;
        }
        return Ok(());
    }
    let matrix = tensor
        .clone()
        .with_outer_ones(2)
        .filter(|matrix| matrix.shape().iter().all(|&extent| extent > 0))
        .ok_or_else(wrong)?;
    if target != TensorName::Embedding {
        return halves.put(target, side, name, matrix);
    }
    // [vocabulary, rank] is B of the embeddings' rows, and [dim, rank] A the other way round.
    match side {
        Side::A => halves.put(target, Side::B, name, matrix),
        Side::B => {
            let turned = matrix.transposed().ok_or_else(|| {
                let problem = format!("tensor {name} is of type {}", tensor.dtype());
                let cure = "convert the adapter again: convert_lora_to_gguf.py --outtype f16";
                OpenError::misplaced(path, problem, cure)
            })?;
            halves.put(target, Side::A, name, turned)
        }
    }
}
