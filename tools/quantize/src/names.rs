//! The tensors of a model: their names in GGUF and at Hugging Face, and their shapes.

use crate::hf::Config;
use bise_tensor::tensor::RowOrder;

/// A tensor that a configuration asks for.
pub(crate) struct Expected {
    /// GGUF's name.
    pub gguf: String,
    /// Hugging Face's names: one, or one for each expert.
    pub sources: Vec<String>,
    /// The shape of each source, slowest dimension first as safetensors has it.
    pub shape: Vec<u64>,
    /// How rows move.
    pub order: RowOrder,
    /// How experts lie.
    pub stacking: Stacking,
}

/// How the experts of a layer are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stacking {
    /// There are none: one matrix or vector.
    None,
    /// Each in a source of its own.
    Parts,
    /// In one source, its rows those of one expert after the other.
    Rows,
    /// In one source, its rows the columns of one expert after the other.
    Columns,
}

impl Expected {
    pub(crate) fn new(gguf: String, source: String, shape: &[u64]) -> Self {
        Self {
            gguf,
            sources: vec![source],
            shape: shape.to_vec(),
            order: RowOrder::Same,
            stacking: Stacking::None,
        }
    }

    /// The dimensions in GGUF, fastest first; `experts` are stacked along the slowest.
    pub(crate) fn dims(&self, experts: u64) -> Vec<u64> {
        let mut dims: Vec<u64> = self.shape.iter().rev().copied().collect();
        match self.stacking {
            Stacking::None => {}
            Stacking::Parts => dims.push(experts),
            Stacking::Rows => dims = vec![dims[0], dims[1] / experts, experts],
            Stacking::Columns => dims = vec![dims[1] / experts, dims[0], experts],
        }
        dims
    }
}

/// Every tensor of the model, in the order of the output.
pub(crate) fn expected(config: &Config) -> Vec<Expected> {
    let (d, vocab) = (config.hidden_size, config.vocab_size);
    let one = |gguf: &str, source: &str, shape: &[u64]| Expected::new(gguf.into(), source.into(), shape);
    let mut tensors = vec![one("token_embd.weight", "model.embed_tokens.weight", &[vocab, d])];
    for n in 0..config.num_hidden_layers {
        attention(config, n, &mut tensors);
        feed_forward(config, n, &mut tensors);
    }
    tensors.push(one("output_norm.weight", "model.norm.weight", &[d]));
    if !config.tie_word_embeddings {
        tensors.push(one("output.weight", OUTPUT, &[vocab, d]));
    }
    tensors
}

/// Hugging Face's name of the output matrix.
const OUTPUT: &str = "lm_head.weight";

/// Whether a tensor that is not expected may be there: tables made anew at run time, and a tied output matrix.
pub(crate) fn is_harmless(name: &str, config: &Config) -> bool {
    let output = [OUTPUT, "output.weight"].contains(&name);
    name.ends_with("rotary_emb.inv_freq") || name == "rope.freqs" || config.tie_word_embeddings && output
}

fn attention(config: &Config, n: u64, tensors: &mut Vec<Expected>) {
    let (d, head_dim) = (config.hidden_size, config.head_dim());
    let q = config.num_attention_heads * head_dim;
    let kv = config.num_key_value_heads() * head_dim;
    let interleaved = RowOrder::Interleaved {
        head_dim: head_dim as usize,
    };
    #[rustfmt::skip]
    let table = [
        ("attn_norm",   "input_layernorm",  vec![d],     RowOrder::Same),
        ("attn_q",      "self_attn.q_proj", vec![q, d],  interleaved),
        ("attn_k",      "self_attn.k_proj", vec![kv, d], interleaved),
        ("attn_v",      "self_attn.v_proj", vec![kv, d], RowOrder::Same),
        ("attn_output", "self_attn.o_proj", vec![d, q],  RowOrder::Same),
    ];
    for (gguf, source, shape, order) in table {
        let (gguf, source) = (
            format!("blk.{n}.{gguf}.weight"),
            format!("model.layers.{n}.{source}.weight"),
        );
        tensors.push(Expected {
            order,
            ..Expected::new(gguf, source, &shape)
        });
    }
}

fn feed_forward(config: &Config, n: u64, tensors: &mut Vec<Expected>) {
    let (d, f) = (config.hidden_size, config.intermediate_size);
    let gguf = |name: &str| format!("blk.{n}.{name}.weight");
    let source = |name: &str| format!("model.layers.{n}.{name}.weight");
    tensors.push(Expected::new(
        gguf("ffn_norm"),
        source("post_attention_layernorm"),
        &[d],
    ));
    #[rustfmt::skip]
    let table = [
        ("ffn_gate", "gate_proj", "w1", [f, d]),
        ("ffn_up",   "up_proj",   "w3", [f, d]),
        ("ffn_down", "down_proj", "w2", [d, f]),
    ];
    let Some(experts) = config.experts() else {
        for (name, dense, _, shape) in table {
            tensors.push(Expected::new(gguf(name), source(&format!("mlp.{dense}")), &shape));
        }
        return;
    };
    tensors.push(Expected::new(
        gguf("ffn_gate_inp"),
        source("block_sparse_moe.gate"),
        &[experts, d],
    ));
    for (name, _, expert, shape) in table {
        let sources = (0..experts).map(|e| source(&format!("block_sparse_moe.experts.{e}.{expert}")));
        tensors.push(Expected {
            sources: sources.collect(),
            stacking: Stacking::Parts,
            ..Expected::new(gguf(&format!("{name}_exps")), String::new(), &shape)
        });
    }
}
