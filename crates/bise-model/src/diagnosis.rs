//! Where what is no number begins: a batch is run once more, with a look at each step.
//!
//! In f32 a NaN never goes away, and neither does an infinity for long. So [`Context`] looks at the end only, which costs
//! nothing, and here it is found out which step was the first to make one of finite numbers.

use crate::block::{add_residual, normalize};
use crate::config::{Config, EMBEDDINGS};
use crate::context::{Context, ContextOptions, Scratch};
use crate::error::NotANumber;
use crate::feed_forward::{FeedForward, Hidden};
use crate::model::Model;
use crate::moe::SparseMoe;
use bise_tensor::checkpoint::Checkpoint;
use bise_tensor::ops::KvType;
use bise_tensor::tensor::Tensor;
use std::fmt;

/// The largest number in F16.
const F16_MOST: f32 = 65504.0;

/// Whether all of `x` are finite numbers.
pub(crate) fn finite(x: &[f32]) -> bool {
    // No early end: this way it is done in vectors.
    !x.iter().fold(false, |bad, x| bad | !x.is_finite())
}

/// A weight that is infinite or NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct BadWeight {
    /// GGUF's name of the tensor.
    pub tensor: String,
    /// Row of the tensor, of all stacked matrices together.
    pub row: usize,
    /// The first such value of the row.
    pub column: usize,
    /// The block of the row in which it is.
    pub block: usize,
    /// The value.
    pub value: f32,
}

impl fmt::Display for BadWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tensor,
            row,
            column,
            block,
            value,
        } = self;
        write!(
            f,
            "tensor '{tensor}' has {value} for a weight, in row {row}, column {column} (block {block} of the row): the file is \
             damaged; download or convert it again (`bise verify` checks all of a file)"
        )
    }
}

impl BadWeight {
    /// The first infinite or NaN weight of rows of `tensor`.
    pub(crate) fn find(name: &str, tensor: &Tensor, rows: impl IntoIterator<Item = usize>) -> Option<Self> {
        let mut values = vec![0.0; tensor.cols()];
        rows.into_iter().find_map(|row| {
            tensor.read_row(row, &mut values);
            let column = values.iter().position(|v| !v.is_finite())?;
            Some(Self {
                tensor: name.to_owned(),
                row,
                column,
                block: column / tensor.dtype().block_len(),
                value: values[column],
            })
        })
    }

    /// The first of the whole tensor called `name`, if there is such a tensor.
    fn of_tensor(checkpoint: &Checkpoint, name: &str) -> Option<Self> {
        let tensor = checkpoint.tensors.get(name)?;
        Self::find(name, tensor, 0..tensor.rows())
    }
}

/// The first step whose result is not finite.
struct Found {
    place: String,
    /// The tensors that have a part in it.
    tensors: Vec<String>,
    /// The largest magnitude that was to be cached, if this was attention.
    cached: Option<f32>,
}

/// A step of a layer, or outside of layers.
fn step(layer: Option<usize>, part: &str, x: &[f32]) -> Result<(), Found> {
    if finite(x) {
        return Ok(());
    }
    let (place, tensor) = match layer {
        Some(layer) => (
            format!("layer {layer}, {part}"),
            format!("blk.{layer}.{part}.weight"),
        ),
        None => (part.to_owned(), format!("{part}.weight")),
    };
    Err(Found {
        place,
        tensors: vec![tensor],
        cached: None,
    })
}

impl Context<'_> {
    /// Says where the numbers of `tokens`, processed from position `first` on, stop being finite. They are processed again:
    /// here, or where a sliding window has overwritten what they see, alone.
    pub(crate) fn diagnose(&mut self, tokens: &[u32], first: usize) -> NotANumber {
        if !self.truncate(first) {
            let options = ContextOptions {
                context: tokens.len(),
                ..*self.options()
            };
            self.clear();
            return match Context::new(self.model(), options) {
                Ok(mut alone) => alone.diagnose(tokens, 0),
                Err(_) => explain(self.model(), KvType::F32, unknown()),
            };
        }
        let (model, kind) = (self.model(), self.options().kv);
        let inputs = self.scratch().inputs.take();
        let found = self.look(tokens, first).err().unwrap_or_else(unknown);
        self.scratch().inputs = inputs;
        let weight = model.checkpoint().tensors.get(EMBEDDINGS).and_then(|tensor| {
            let rows = tokens.iter().map(|&token| token as usize);
            BadWeight::find(EMBEDDINGS, tensor, rows)
        });
        match weight.filter(|_| found.place == "token_embd") {
            Some(weight) => NotANumber {
                place: found.place,
                cause: weight.to_string(),
            },
            None => explain(model, kind, found),
        }
    }

    /// Processes `tokens` again, up to the first step whose result is not finite.
    fn look(&mut self, tokens: &[u32], first: usize) -> Result<(), Found> {
        self.begin(tokens);
        let model = self.model();
        let (config, n) = (model.config(), tokens.len());
        let (cache, s) = self.parts();
        step(None, "token_embd", &s.x)?;
        for (layer, block) in model.weights.blocks.iter().enumerate() {
            let look = |part: &str, x: &[f32]| step(Some(layer), part, x);
            normalize(s, 0..n, &block.attention_norm, config.norm_eps);
            look("attn_norm", s.input.values())?;
            block.attention.forward(config, cache, layer, first, s);
            look_at_attention(layer, n, config, cache.kind(), s)?;
            add_residual(s);
            look("attn_output", &s.x)?;
            normalize(s, 0..n, &block.ffn_norm, config.norm_eps);
            look("ffn_norm", s.input.values())?;
            match &block.feed_forward {
                FeedForward::Dense(network) => {
                    let len = n * config.dim;
                    network.forward(s.level, &mut s.input, &mut s.hidden, &mut s.delta[..len]);
                    look_at_network(layer, None, &s.hidden, &s.delta[..len])?;
                }
                FeedForward::SparseMoe(mixture) => look_at_mixture(layer, mixture, s)?,
            }
            add_residual(s);
            look("ffn_down", &s.x)?;
        }
        let vocabulary = model.vocabulary_size();
        for row in 0..n {
            normalize(s, row..row + 1, &model.weights.norm, config.norm_eps);
            step(None, "output_norm", s.input.values())?;
            let mut logits = vec![0.0; vocabulary];
            model.weights.output.forward(&mut s.input, &mut logits);
            step(None, "output", &logits)?;
        }
        Ok(())
    }
}

/// Looks at what attention has left in `s` for `n` tokens.
fn look_at_attention(
    layer: usize,
    n: usize,
    config: &Config,
    kind: KvType,
    s: &Scratch,
) -> Result<(), Found> {
    let look = |part: &str, x: &[f32]| step(Some(layer), part, x);
    let kv = n * config.n_kv_heads * config.head_dim;
    let (q, k, v) = (&s.q[..s.joined.values().len()], &s.k[..kv], &s.v[..kv]);
    look("attn_q", q)?;
    look("attn_k", k)?;
    look("attn_v", v)?;
    look("attention", s.joined.values()).map_err(|found| {
        let most = k.iter().chain(v).fold(0f32, |most, x| most.max(x.abs()));
        Found {
            cached: Some(most).filter(|_| kind != KvType::F32),
            ..found
        }
    })?;
    look("attn_output", &s.delta[..s.x.len()])
}

/// Looks at what a network, of an expert or of all tokens, has left.
fn look_at_network(layer: usize, expert: Option<usize>, hidden: &Hidden, out: &[f32]) -> Result<(), Found> {
    let len = hidden.activations.values().len();
    let parts = [
        ("gate", &hidden.gate[..len]),
        ("up", &hidden.up[..len]),
        ("gate", hidden.activations.values()),
        ("down", out),
    ];
    parts.into_iter().try_for_each(|(part, x)| {
        step(Some(layer), &format!("ffn_{part}"), x).map_err(|found| match expert {
            None => found,
            Some(e) => Found {
                place: format!("{}, expert {e}", found.place),
                tensors: vec![
                    format!("blk.{layer}.ffn_{part}_exps.weight"),
                    format!("blk.{layer}.ffn_{part}.{e}.weight"),
                ],
                ..found
            },
        })
    })
}

/// Runs a mixture of experts, and looks at its router and at each expert.
fn look_at_mixture(layer: usize, mixture: &SparseMoe, s: &mut Scratch) -> Result<(), Found> {
    mixture.route(s);
    let logits = s.input.len() * mixture.experts.len();
    step(Some(layer), "ffn_gate_inp", &s.routing.logits[..logits])?;
    for (e, expert) in mixture.experts.iter().enumerate() {
        mixture.send(e, expert, s);
        if !s.routing.tokens.is_empty() {
            let out = &s.routing.outputs[..s.routing.tokens.len() * s.input.width()];
            look_at_network(layer, Some(e), &s.hidden, out)?;
        }
    }
    Ok(())
}

/// What there is when the numbers are finite the second time.
fn unknown() -> Found {
    Found {
        place: "the text before".to_owned(),
        tensors: Vec::new(),
        cached: None,
    }
}

/// Why the step that was found had such a result.
fn explain(model: &Model, kind: KvType, found: Found) -> NotANumber {
    let checkpoint = model.checkpoint();
    let named = |tensor: &String| {
        let tied = tensor == "output.weight" && !checkpoint.tensors.contains_key(tensor);
        BadWeight::of_tensor(checkpoint, if tied { EMBEDDINGS } else { tensor })
    };
    let most = match kind {
        KvType::Q8_0 => 127.0 * F16_MOST,
        _ => F16_MOST,
    };
    let cause = match (found.tensors.iter().find_map(named), found.cached) {
        (Some(weight), _) => weight.to_string(),
        (None, Some(cached)) if cached > most => format!(
            "a key or value of {cached} is more than the {most} that the cache holds; a cache in f32 (--kv-type f32) holds it"
        ),
        _ => "the weights that it takes are finite, and their sums too large for numbers of 32 bits: weights before it are \
              damaged, or scaled wrongly"
            .to_owned(),
    };
    NotANumber {
        place: found.place,
        cause,
    }
}

/// What is said of a layer of a model that is run layer by layer.
pub(crate) fn explain_layer(checkpoint: &Checkpoint, layer: Option<usize>) -> NotANumber {
    let prefix = layer.map(|layer| format!("blk.{layer}."));
    let in_it = |name: &str| match &prefix {
        Some(prefix) => name.starts_with(prefix),
        None => !name.starts_with("blk."),
    };
    let names = checkpoint.tensors.keys().filter(|name| in_it(name));
    let weight = names
        .filter_map(|name| BadWeight::of_tensor(checkpoint, name))
        .next();
    NotANumber {
        place: layer.map_or("the output".to_owned(), |layer| format!("layer {layer}")),
        cause: weight.map_or(
            "its weights are finite, and their sums too large".to_owned(),
            |weight| weight.to_string(),
        ),
    }
}
