//! `bise inspect`: what a GGUF file holds.

use crate::{Outcome, runtime};
use anyhow::Result;
use bise_model::{Config, Model};
use bise_tensor::gguf::Value;
use serde_json::{Map, json};
use std::io::{self, Write};
use std::path::PathBuf;

/// Show what a GGUF file holds
#[derive(clap::Args)]
pub struct Args {
    /// GGUF file [default: the built-in story teller]
    model: Option<PathBuf>,
    /// Print one JSON object, metadata arrays in full
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<Outcome> {
    let model = runtime::open(args.model.as_deref())?;
    if args.json {
        print_json(&model)?
    } else {
        print_text(&model)?
    }
    Ok(Outcome::Done)
}

/// Values and bytes of all tensors.
fn totals(model: &Model) -> (usize, usize) {
    let tensors = model.checkpoint().tensors.values();
    tensors.fold((0, 0), |(values, bytes), t| {
        (values + t.elements(), bytes + t.len())
    })
}

fn kind(config: &Config) -> String {
    let family = match config.experts {
        Some(experts) => format!(
            "Mixtral: {} experts, {} for each token",
            experts.count, experts.top_k
        ),
        None => "Mistral".to_owned(),
    };
    let window = config
        .sliding_window
        .map_or("no sliding window".to_owned(), |w| format!("sliding window {w}"));
    format!(
        "{family}; {} layers of {}, {} heads of {}, {} for keys and values; feed-forward {}; {window}",
        config.n_layers, config.dim, config.n_heads, config.head_dim, config.n_kv_heads, config.hidden_dim,
    )
}

fn print_text(model: &Model) -> Result<()> {
    let mut out = io::stdout().lock();
    let checkpoint = model.checkpoint();
    let (values, bytes) = totals(model);
    writeln!(out, "{}", kind(model.config()))?;
    writeln!(
        out,
        "{values} weights in {bytes} bytes, {:.2} bits each; {}\n",
        bytes as f64 * 8.0 / values as f64,
        checkpoint.container,
    )?;
    let width = checkpoint
        .metadata
        .iter()
        .map(|(key, _)| key.len())
        .max()
        .unwrap_or(0);
    for (key, value) in checkpoint.metadata.iter() {
        writeln!(out, "{key:width$}  {}", brief(value))?;
    }
    writeln!(out)?;
    let width = checkpoint.tensors.keys().map(String::len).max().unwrap_or(0);
    for (name, tensor) in &checkpoint.tensors {
        writeln!(out, "{name:width$}  {:6} {:?}", tensor.dtype(), tensor.shape())?;
    }
    Ok(())
}

/// A value on one line: long texts and arrays cut.
fn brief(value: &Value) -> String {
    const MOST: usize = 72;
    let text = match value {
        Value::Array(array) => {
            let some: Vec<String> = array
                .values()
                .iter()
                .take(6)
                .map(|v| json_value(v).to_string())
                .collect();
            let more = if array.len() > some.len() { ", .." } else { "" };
            return format!("{} values [{}{more}]", array.len(), some.join(", "));
        }
        Value::String(text) => text.replace('\n', "\\n"),
        other => json_value(other).to_string(),
    };
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}

fn print_json(model: &Model) -> Result<()> {
    let checkpoint = model.checkpoint();
    let (values, bytes) = totals(model);
    let config = model.config();
    let metadata: Map<_, _> = checkpoint
        .metadata
        .iter()
        .map(|(k, v)| (k.to_owned(), json_value(v)))
        .collect();
    let tensors: Vec<_> = checkpoint
        .tensors
        .iter()
        .map(|(name, t)| json!({ "name": name, "type": t.dtype().name(), "shape": t.shape(), "offset": t.offset(), "bytes": t.len() }))
        .collect();
    let object = json!({
        "container": checkpoint.container.to_string(),
        "model": {
            "dim": config.dim, "layers": config.n_layers, "heads": config.n_heads, "kv_heads": config.n_kv_heads,
            "head_dim": config.head_dim, "hidden_dim": config.hidden_dim, "norm_eps": config.norm_eps,
            "rope_theta": config.rope_theta, "context_length": config.context_length,
            "sliding_window": config.sliding_window, "vocabulary": model.vocabulary_size(),
            "experts": config.experts.map(|e| e.count), "experts_per_token": config.experts.map(|e| e.top_k),
        },
        "weights": values, "bytes": bytes, "bits_per_weight": bytes as f64 * 8.0 / values as f64,
        "metadata": metadata,
        "tensors": tensors,
    });
    writeln!(io::stdout().lock(), "{}", serde_json::to_string_pretty(&object)?)?;
    Ok(())
}

/// A metadata value as JSON; numbers that JSON cannot hold (NaN, infinities) become null.
fn json_value(value: &Value) -> serde_json::Value {
    match value {
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        Value::F32(v) => json!(v),
        Value::Bool(v) => json!(v),
        Value::String(v) => json!(v),
        Value::Array(v) => v.values().iter().map(json_value).collect(),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F64(v) => json!(v),
    }
}
