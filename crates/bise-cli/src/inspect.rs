//! `bise inspect`: what a model is, what its files hold, and what it needs to run.

use crate::adapter_facts::AdapterFacts;
use crate::family;
use crate::loading::{self, Which, describe, size};
use crate::machine;
use crate::messages::note;
use crate::outcome::Outcome;
use crate::runtime::{self, kv_types};
use anyhow::{Context as _, Result};
use bise_format::TensorName;
use bise_format::adapter::Adapter;
use bise_format::checkpoint::Checkpoint;
use bise_format::gguf::Value;
use bise_format::llama::ScalingKind;
use bise_model::chat::Template;
use bise_model::{Config, ContextOptions, Hashed, KvType, MemoryNeeds, fingerprint};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

/// Show what a model is, what its files hold, and what it needs to run
///
/// Of a LoRA adapter it shows what that is for, and which matrices it changes.
///
/// The weights are not loaded. The fingerprint is the SHA-256 of the metadata that matter, the
/// table of the tensors and the pieces of each (--hash: all of each); it is the same for a model in
/// one file and in several.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Tokens of context to tell the memory for [default: what the model was trained for, or as
    /// much of it as memory allows]
    #[arg(short, long = "ctx", value_name = "CTX", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Format of cached keys and values to tell the memory for
    #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = kv_types())]
    kv_type: KvType,
    /// Take the fingerprint of all weights
    #[arg(long)]
    hash: bool,
    /// Print one JSON object, metadata arrays in full
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<Outcome> {
    let path = args.which.path();
    if let Some(path) = path.filter(|path| Adapter::is_at(path)) {
        return adapter(path, args.json);
    }
    let checkpoint = loading::checkpoint(path)?;
    let config = Config::from_checkpoint(&checkpoint).with_context(|| loading::name(path))?;
    let options = ContextOptions {
        kv: args.kv_type,
        ..ContextOptions::new(config.context_length)
    };
    let available = machine::memory().map(|memory| memory.bytes);
    let usual = || loading::usual_context(&checkpoint, &config, &options, available);
    let options = ContextOptions {
        max_tokens: args.context.map_or_else(usual, |c| c as usize),
        ..options
    };
    let hashed = if args.hash { Hashed::All } else { Hashed::Samples };
    let facts = ModelFacts {
        needs: MemoryNeeds::of(&checkpoint, &config, &options),
        fingerprint: fingerprint(&checkpoint, hashed)?.to_string(),
        chat: chat(&checkpoint, path),
        ends: ends(&checkpoint, path),
        checkpoint,
        config,
        options,
        hashed,
    };
    if args.json {
        facts.print_json()?
    } else {
        facts.print_text()?
    }
    Ok(Outcome::Done)
}

fn adapter(path: &Path, as_json: bool) -> Result<Outcome> {
    let (adapter, notes) = Adapter::open(path)?;
    notes.iter().for_each(note);
    let facts = AdapterFacts(adapter);
    if as_json {
        facts.print_json()?
    } else {
        facts.print_text()?
    }
    Ok(Outcome::Done)
}

/// All that is told of a model.
struct ModelFacts {
    checkpoint: Checkpoint,
    config: Config,
    options: ContextOptions,
    needs: MemoryNeeds,
    fingerprint: String,
    hashed: Hashed,
    chat: Chat,
    /// The tokens that end a text, and their pieces; none without a tokenizer.
    ends: Vec<(u32, String)>,
}

/// How conversations are written for a model, `None` if its file does not tell; or why that cannot
/// be told.
type Chat = Result<Option<Template>, String>;

fn ends(checkpoint: &Checkpoint, path: Option<&Path>) -> Vec<(u32, String)> {
    let tokenizer = runtime::tokenizer_of(checkpoint, path).ok();
    let ends = tokenizer.iter().flat_map(|tokenizer| {
        let ends = tokenizer.ends().iter();
        ends.map(|&id| (id, tokenizer.piece(id).to_owned()))
    });
    ends.collect()
}

fn chat(checkpoint: &Checkpoint, path: Option<&Path>) -> Chat {
    let detect = || -> Result<_> {
        let tokenizer = runtime::tokenizer_of(checkpoint, path)?;
        Ok(Template::detect(&checkpoint.metadata, &tokenizer)?)
    };
    detect().map_err(|error| format!("{error:#}"))
}

/// Values and bytes of all tensors of a type.
#[derive(Clone, Copy, Default)]
struct Share {
    tensors: usize,
    values: usize,
    bytes: usize,
}

impl ModelFacts {
    fn vocabulary(&self) -> usize {
        self.checkpoint
            .tensor(TensorName::Embedding)
            .map_or(0, |t| t.shape()[0])
    }

    /// What each type has, the largest first.
    fn types(&self) -> Vec<(&'static str, Share)> {
        let mut types: BTreeMap<&str, Share> = BTreeMap::new();
        for tensor in self.checkpoint.tensors.values() {
            let share = types.entry(tensor.dtype().name()).or_default();
            share.tensors += 1;
            share.values += tensor.elements();
            share.bytes += tensor.len();
        }
        let mut types: Vec<_> = types.into_iter().collect();
        types.sort_by_key(|(name, share)| (std::cmp::Reverse(share.bytes), *name));
        types
    }

    fn total(&self) -> Share {
        let types = self.types().into_iter();
        types.fold(Share::default(), |sum, (_, share)| Share {
            tensors: sum.tensors + share.tensors,
            values: sum.values + share.values,
            bytes: sum.bytes + share.bytes,
        })
    }

    /// What the model is.
    fn family(&self) -> String {
        let metadata = &self.checkpoint.metadata;
        family::describe(&self.config, self.vocabulary(), metadata)
    }

    fn window(&self) -> String {
        let layers = self.config.layers.len();
        let mut sizes: Vec<usize> = self.config.windows().collect();
        let with = sizes.len();
        sizes.sort_unstable();
        sizes.dedup();
        let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
        let sizes = sizes.join(" or ");
        let windows = match with {
            0 => return "no sliding window".to_owned(),
            _ if with == layers => format!("sliding window {sizes}"),
            _ => format!("sliding window {sizes} in {with} of {layers} layers"),
        };
        match self.config.window_restored {
            false => windows,
            true => format!(
                "{windows}, restored: the file does not say so, but the model has it (--sliding-window changes that)"
            ),
        }
    }

    /// Who writes conversations.
    fn chats(&self) -> String {
        match &self.chat {
            Ok(Some(template @ Template::Mistral(_))) => {
                format!("as Mistral's format {}", template.describe())
            }
            Ok(Some(template)) => format!("as the file's templates say: {}", template.describe()),
            Ok(None) => "the file does not tell how they are written".to_owned(),
            Err(error) => format!("unknown: {error}"),
        }
    }

    /// The same for programs.
    fn chats_json(&self) -> serde_json::Value {
        let templates = match &self.chat {
            Ok(Some(Template::Jinja(jinja))) => jinja.names().collect(),
            _ => Vec::new(),
        };
        match &self.chat {
            Ok(template) => {
                json!({ "format": template.as_ref().map(Template::name), "templates": templates })
            }
            Err(error) => json!({ "error": error }),
        }
    }

    fn print_text(&self) -> Result<()> {
        let mut out = io::stdout().lock();
        let (c, total) = (&self.config, self.total());
        writeln!(out, "{}; {}", self.family(), self.window())?;
        writeln!(
            out,
            "{} layers of {}, {} heads of {}, {} for keys and values; feed-forward {}; vocabulary {}; RoPE base {}; context {}",
            c.layers.len(),
            c.dim,
            c.n_heads,
            c.head_dim,
            c.n_kv_heads,
            c.hidden_dim,
            self.vocabulary(),
            c.layers[0].rope.theta,
            c.context_length,
        )?;
        writeln!(
            out,
            "{} weights in {} bytes, {:.2} bits each; {}",
            total.values,
            total.bytes,
            bits(total),
            self.checkpoint.container,
        )?;
        let types: Vec<String> = self
            .types()
            .iter()
            .map(|(name, share)| {
                let (tensors, bytes) = (share.tensors, size(share.bytes as u64));
                format!("{name} {tensors} tensors, {bytes}")
            })
            .collect();
        writeln!(out, "types: {}", types.join("; "))?;
        write!(
            out,
            "memory: {}; {}",
            size(self.needs.total()),
            describe(&self.needs, c, &self.options)
        )?;
        match machine::memory() {
            Some(available) => {
                writeln!(out, "; {} has {} left", available.limit, size(available.bytes))?
            }
            None => writeln!(out)?,
        }
        writeln!(out, "chats: {}", self.chats())?;
        if !self.ends.is_empty() {
            let ends = self.ends.iter().map(|(id, piece)| format!("{id} `{piece}`"));
            writeln!(out, "texts end with: {}", ends.collect::<Vec<_>>().join(", "))?;
        }
        writeln!(out, "fingerprint: {}\n", self.fingerprint)?;
        let metadata = &self.checkpoint.metadata;
        let width = metadata.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
        for (key, value) in metadata.iter() {
            writeln!(out, "{key:width$}  {}", brief(value))?;
        }
        writeln!(out)?;
        let width = self.checkpoint.tensors.keys().map(String::len).max().unwrap_or(0);
        for (name, tensor) in &self.checkpoint.tensors {
            write!(out, "{name:width$}  {:7} {:?}", tensor.dtype(), tensor.shape())?;
            match tensor.scales() {
                Some(scales) => writeln!(out, ", {scales}")?,
                None => writeln!(out)?,
            }
        }
        Ok(())
    }

    fn print_json(&self) -> Result<()> {
        let (c, total, needs) = (&self.config, self.total(), &self.needs);
        let metadata = self.checkpoint.metadata.iter();
        let metadata: Map<_, _> = metadata.map(|(k, v)| (k.to_owned(), json_value(v))).collect();
        let tensors = self.checkpoint.tensors.iter().map(|(name, t)| {
            let mut tensor = json!({
                "name": name, "type": t.dtype().name(), "shape": t.shape(),
                "offset": t.offset(), "bytes": t.len(),
            });
            if let Some(scales) = t.scales() {
                let ([rows, columns], count) = (scales.block(), scales.values().len());
                tensor["scales"] = json!({ "count": count, "rows": rows, "columns": columns });
            }
            tensor
        });
        let types = self.types().into_iter().map(|(name, share)| {
            let value =
                json!({ "tensors": share.tensors, "weights": share.values, "bytes": share.bytes });
            (name.to_owned(), value)
        });
        let object = json!({
            "container": self.checkpoint.container.to_string(),
            "family": self.family(),
            "model": {
                "dim": c.dim, "layers": c.layers.len(), "heads": c.n_heads, "kv_heads": c.n_kv_heads,
                "head_dim": c.head_dim, "hidden_dim": c.hidden_dim, "norm_eps": c.norm_eps,
                "rope_theta": c.layers[0].rope.theta, "context_length": c.context_length,
                "sliding_window": c.sliding_window(), "sliding_window_restored": c.window_restored,
                "sliding_windows": c.layers.iter().map(|layer| layer.window).collect::<Vec<_>>(),
                "rope_scaling": scaling_json(c), "attention_temperature": temperature_json(c),
                "vocabulary": self.vocabulary(),
                "experts": c.experts.map(|e| e.count), "experts_per_token": c.experts.map(|e| e.top_k),
            },
            "weights": total.values, "bytes": total.bytes, "bits_per_weight": bits(total),
            "types": types.collect::<Map<_, _>>(),
            "memory": {
                "context": self.options.max_tokens, "total": needs.total(), "weights_laid_out": needs.laid_out,
                "weights_in_files": needs.in_files, "kv": needs.kv, "scratch": needs.scratch,
                "available": machine::memory().map(|a| a.bytes),
            },
            "chat": self.chats_json(),
            "end_tokens": self.ends.iter().map(|(id, piece)| json!({ "id": id, "piece": piece })).collect::<Vec<_>>(),
            "fingerprint": self.fingerprint,
            "fingerprint_of_all_data": self.hashed == Hashed::All,
            "metadata": metadata,
            "tensors": tensors.collect::<Vec<_>>(),
        });
        writeln!(io::stdout().lock(), "{}", serde_json::to_string_pretty(&object)?)?;
        Ok(())
    }
}

/// How positions are scaled; null when they are not.
fn scaling_json(config: &Config) -> serde_json::Value {
    let scaling = config.layers[0].rope.scaling;
    match scaling.kind {
        ScalingKind::Linear { factor } => json!({ "type": "linear", "factor": factor }),
        ScalingKind::Yarn(yarn) => json!({
            "type": "yarn", "factor": yarn.factor, "original_context_length": yarn.length,
            "beta_fast": yarn.beta_fast, "beta_slow": yarn.beta_slow, "magnitude": scaling.magnitude,
        }),
        _ => serde_json::Value::Null,
    }
}

/// How queries grow with their position; null when they do not.
fn temperature_json(config: &Config) -> serde_json::Value {
    let temperature = config.layers[0].rope.temperature;
    temperature.map_or(
        serde_json::Value::Null,
        |temperature| json!({ "scale": temperature.beta, "length": temperature.length }),
    )
}

/// Bits of weights a value.
fn bits(share: Share) -> f64 {
    share.bytes as f64 * 8.0 / share.values.max(1) as f64
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
