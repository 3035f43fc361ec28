//! The tensors of a model: their names in GGUF and at Hugging Face, and their shapes.

use crate::expected::{Expected, Stacking, has_output};
use crate::hf::{Config, Shards};
use crate::native;
use crate::{FfnMatrix, LayerTensor, TensorName};
use bise_kernels::tensor::RowOrder;

/// Every tensor of the model, in the order of the output.
pub(crate) fn expected(config: &Config, shards: &Shards) -> Vec<Expected> {
    let (d, vocab) = (config.hidden_size, config.vocab_size);
    let one = |gguf, source: &str, shape: &[u64]| Expected::new(gguf, source.into(), shape);
    let place = Place::of(shards);
    let embeddings = place.embeddings();
    let mut tensors = vec![one(TensorName::Embedding, &embeddings, &[vocab, d])];
    for n in 0..config.num_hidden_layers {
        attention(config, place, n, &mut tensors);
        feed_forward(config, shards, place, n, &mut tensors);
    }
    tensors.push(one(
        TensorName::OutputNorm,
        &format!("{}norm.weight", place.model),
        &[d],
    ));
    if has_output(config, shards, place.output, &embeddings) {
        tensors.push(one(TensorName::Output, place.output, &[vocab, d]));
    }
    tensors
}

/// Where a text model is among the tensors of its files.
#[derive(Clone, Copy)]
struct Place {
    /// What the names of its tensors begin with.
    model: &'static str,
    /// The output matrix.
    output: &'static str,
}

/// Alone; beside a part that sees images, as transformers writes it; and as it has it in memory.
const PLACES: [Place; 3] = [
    Place {
        model: "model.",
        output: "lm_head.weight",
    },
    Place {
        model: "language_model.model.",
        output: "language_model.lm_head.weight",
    },
    Place {
        model: "model.language_model.",
        output: "lm_head.weight",
    },
];

impl Place {
    /// Where the embeddings are; the first of the places when they are nowhere.
    fn of(shards: &Shards) -> Self {
        let there = |place: &&Self| shards.get(&place.embeddings()).is_some();
        *PLACES.iter().find(there).unwrap_or(&PLACES[0])
    }

    fn embeddings(self) -> String {
        format!("{}embed_tokens.weight", self.model)
    }

    fn of_layer(self, n: u64, name: &str) -> String {
        format!("{}layers.{n}.{name}", self.model)
    }
}

/// Whether a tensor that is not expected may be there: tables made anew at run time, a tied output
/// matrix, and what sees images.
pub(crate) fn is_harmless(name: &str, config: &Config) -> bool {
    let output = PLACES.iter().any(|place| place.output == name) || name == native::OUTPUT;
    name.ends_with("rotary_emb.inv_freq")
        || name == "rope.freqs"
        || config.is_tied() == Some(true) && output
        || config.has_vision() && is_vision(name)
}

/// Whether a tensor is of a part that sees images, of Hugging Face's layout or Mistral's own.
pub(crate) fn is_vision(name: &str) -> bool {
    const PARTS: [&str; 6] = [
        "vision_tower.",
        "multi_modal_projector.",
        "vision_encoder.",
        "vision_language_adapter.",
        "patch_merger.",
        "pre_mm_projector_norm.",
    ];
    let name = name.strip_prefix("model.").unwrap_or(name);
    PARTS.iter().any(|part| name.starts_with(part))
}

fn attention(config: &Config, place: Place, n: u64, tensors: &mut Vec<Expected>) {
    let (d, head_dim) = (config.hidden_size, config.head_dim());
    let q = config.num_attention_heads * head_dim;
    let kv = config.num_key_value_heads() * head_dim;
    let interleaved = RowOrder::Interleaved {
        head_dim: head_dim as usize,
    };
    #[rustfmt::skip]
    let table = [
        (LayerTensor::AttentionNorm,   "input_layernorm",  vec![d],     RowOrder::Same),
        (LayerTensor::Query,           "self_attn.q_proj", vec![q, d],  interleaved),
        (LayerTensor::Key,             "self_attn.k_proj", vec![kv, d], interleaved),
        (LayerTensor::Value,           "self_attn.v_proj", vec![kv, d], RowOrder::Same),
        (LayerTensor::AttentionOutput, "self_attn.o_proj", vec![d, q],  RowOrder::Same),
    ];
    for (gguf, source, shape, order) in table {
        let source = place.of_layer(n, &format!("{source}.weight"));
        tensors.push(Expected {
            order,
            ..Expected::new(TensorName::Layer(n, gguf), source, &shape)
        });
    }
}

/// The matrix, its name in a Mistral, that of an expert, and whether the outputs are the hidden
/// values.
const FEED_FORWARD: [(FfnMatrix, &str, &str, bool); 3] = [
    (FfnMatrix::Gate, "gate_proj", "w1", true),
    (FfnMatrix::Up, "up_proj", "w3", true),
    (FfnMatrix::Down, "down_proj", "w2", false),
];

fn feed_forward(
    config: &Config,
    shards: &Shards,
    place: Place,
    n: u64,
    tensors: &mut Vec<Expected>,
) {
    let (d, f) = (config.hidden_size, config.intermediate_size);
    let gguf = |tensor| TensorName::Layer(n, tensor);
    let source = |name: &str| place.of_layer(n, &format!("{name}.weight"));
    tensors.push(Expected::new(
        gguf(LayerTensor::FfnNorm),
        source("post_attention_layernorm"),
        &[d],
    ));
    let Some(experts) = config.experts() else {
        for (matrix, dense, _, wide) in FEED_FORWARD {
            let shape = if wide { [f, d] } else { [d, f] };
            let source = source(&format!("mlp.{dense}"));
            tensors.push(Expected::new(gguf(LayerTensor::Ffn(matrix)), source, &shape));
        }
        return;
    };
    if shards.get(&fused(n, "gate_up_proj")).is_some() {
        return mixture_of_transformers_5(config, (n, experts), tensors);
    }
    let gate = source("block_sparse_moe.gate");
    tensors.push(Expected::new(gguf(LayerTensor::Router), gate, &[experts, d]));
    for (matrix, _, expert, wide) in FEED_FORWARD {
        let shape = if wide { [f, d] } else { [d, f] };
        let sources =
            (0..experts).map(|e| source(&format!("block_sparse_moe.experts.{e}.{expert}")));
        tensors.push(Expected {
            sources: sources.collect(),
            stacking: Stacking::Parts,
            ..Expected::new(gguf(LayerTensor::Experts(matrix)), String::new(), &shape)
        });
    }
}

fn fused(n: u64, name: &str) -> String {
    format!("model.layers.{n}.mlp.experts.{name}")
}

/// A mixture as transformers 5 has it in memory, and stores it when asked to:
///
/// ```text
/// mlp.gate.weight           [experts, dim]
/// mlp.experts.gate_up_proj  [experts, 2 * hidden, dim]    of each expert the gate's rows first
/// mlp.experts.down_proj     [experts, dim, hidden]
/// ```
fn mixture_of_transformers_5(
    config: &Config,
    (n, experts): (u64, u64),
    tensors: &mut Vec<Expected>,
) {
    let (d, f) = (config.hidden_size, config.intermediate_size);
    let gguf = |tensor| TensorName::Layer(n, tensor);
    let gate = format!("model.layers.{n}.mlp.gate.weight");
    tensors.push(Expected::new(gguf(LayerTensor::Router), gate, &[experts, d]));
    let table = [
        (FfnMatrix::Gate, "gate_up_proj", [experts, 2 * f, d], (0, 2)),
        (FfnMatrix::Up, "gate_up_proj", [experts, 2 * f, d], (1, 2)),
        (FfnMatrix::Down, "down_proj", [experts, d, f], (0, 1)),
    ];
    for (matrix, source, shape, (part, of)) in table {
        tensors.push(Expected {
            stacking: Stacking::Fused { part, of },
            ..Expected::new(gguf(LayerTensor::Experts(matrix)), fused(n, source), &shape)
        });
    }
}
