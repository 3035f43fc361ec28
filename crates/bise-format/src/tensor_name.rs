//! GGUF's names of a model's tensors: the only place that reads and writes them.
//!
//! ```text
//! token_embd.weight                       the embeddings
//! blk.N.attn_norm.weight, blk.N.attn_q.weight, ..      of layer N
//! blk.N.ffn_up.weight                     of a dense network
//! blk.N.ffn_up_exps.weight                of all experts of a mixture, stacked
//! blk.N.ffn_up.E.weight                   of expert E alone, as in the first files of mixtures
//! output_norm.weight, output.weight       what stands behind the layers
//! ```

use std::fmt;

/// A tensor of a model of GGUF's architecture `llama`.
///
/// ```
/// use bise_format::{FfnMatrix, LayerTensor, TensorName};
///
/// let name = TensorName::parse("blk.3.ffn_up.7.weight").unwrap();
/// assert_eq!(name, TensorName::Layer(3, LayerTensor::Expert(FfnMatrix::Up, 7)));
/// assert_eq!(name.to_string(), "blk.3.ffn_up.7.weight");
/// assert_eq!(TensorName::parse("blk.03.attn_q.weight"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TensorName {
    /// `[vocabulary, dim]`
    Embedding,
    /// The norm before the output matrix, `[dim]`.
    OutputNorm,
    /// `[vocabulary, dim]`; models without it use the embeddings.
    Output,
    /// Factors of the rotary frequencies, `[head_dim / 2]`.
    RopeFreqs,
    /// A tensor of the layer of this number, from 0.
    Layer(u64, LayerTensor),
}

/// A tensor of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerTensor {
    /// The norm before attention, `[dim]`.
    AttentionNorm,
    /// `[heads * head_dim, dim]`
    Query,
    /// `[kv_heads * head_dim, dim]`
    Key,
    /// `[kv_heads * head_dim, dim]`
    Value,
    /// `[dim, heads * head_dim]`
    AttentionOutput,
    /// The norm before the feed-forward network, `[dim]`.
    FfnNorm,
    /// What chooses experts, `[experts, dim]`.
    Router,
    /// A matrix of a dense feed-forward network.
    Ffn(FfnMatrix),
    /// Such a matrix of all experts, stacked: `[experts, ..]`.
    Experts(FfnMatrix),
    /// Such a matrix of the expert of this number, from 0.
    Expert(FfnMatrix, u64),
}

/// A matrix of a feed-forward network, `w2(silu(w1 x) * w3 x)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FfnMatrix {
    /// `w1`, `[hidden_dim, dim]`
    Gate,
    /// `w3`, `[hidden_dim, dim]`
    Up,
    /// `w2`, `[dim, hidden_dim]`
    Down,
}

impl FfnMatrix {
    /// All three, in the order of files.
    pub const ALL: [Self; 3] = [Self::Gate, Self::Up, Self::Down];

    const fn name(self) -> &'static str {
        match self {
            Self::Gate => "ffn_gate",
            Self::Up => "ffn_up",
            Self::Down => "ffn_down",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|matrix| matrix.name() == name)
    }
}

/// The tensors of a layer that are not of its feed-forward network's matrices.
const NAMED: [(LayerTensor, &str); 7] = [
    (LayerTensor::AttentionNorm, "attn_norm"),
    (LayerTensor::Query, "attn_q"),
    (LayerTensor::Key, "attn_k"),
    (LayerTensor::Value, "attn_v"),
    (LayerTensor::AttentionOutput, "attn_output"),
    (LayerTensor::FfnNorm, "ffn_norm"),
    (LayerTensor::Router, "ffn_gate_inp"),
];

/// The tensors outside of layers.
const OUTSIDE: [(TensorName, &str); 4] = [
    (TensorName::Embedding, "token_embd.weight"),
    (TensorName::OutputNorm, "output_norm.weight"),
    (TensorName::Output, "output.weight"),
    (TensorName::RopeFreqs, "rope_freqs.weight"),
];

impl TensorName {
    /// The tensor that is called `name`; `None` for names that no such model has, numbers with
    /// needless zeros among them.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some((outside, _)) = OUTSIDE.iter().find(|(_, other)| *other == name) {
            return Some(*outside);
        }
        let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
        let within = LayerTensor::parse(rest.strip_suffix(".weight")?)?;
        Some(Self::Layer(number(layer)?, within))
    }

    /// The number of the layer that it is in.
    pub fn layer(self) -> Option<u64> {
        match self {
            Self::Layer(layer, _) => Some(layer),
            _ => None,
        }
    }

    /// What it is within its layer.
    pub fn within_layer(self) -> Option<LayerTensor> {
        match self {
            Self::Layer(_, tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Of one expert's own tensor, the tensor of all experts, and the expert's number.
    pub fn of_expert(self) -> Option<(Self, u64)> {
        match self {
            Self::Layer(layer, LayerTensor::Expert(matrix, expert)) => {
                Some((Self::Layer(layer, LayerTensor::Experts(matrix)), expert))
            }
            _ => None,
        }
    }

    /// Of the tensor of all experts, that of expert `expert` alone.
    pub fn expert(self, expert: u64) -> Option<Self> {
        match self {
            Self::Layer(layer, LayerTensor::Experts(matrix)) => {
                Some(Self::Layer(layer, LayerTensor::Expert(matrix, expert)))
            }
            _ => None,
        }
    }
}

impl LayerTensor {
    fn parse(name: &str) -> Option<Self> {
        if let Some((tensor, _)) = NAMED.iter().find(|(_, other)| *other == name) {
            return Some(*tensor);
        }
        if let Some((matrix, expert)) = name.split_once('.') {
            return Some(Self::Expert(FfnMatrix::from_name(matrix)?, number(expert)?));
        }
        match name.strip_suffix("_exps") {
            Some(matrix) => FfnMatrix::from_name(matrix).map(Self::Experts),
            None => FfnMatrix::from_name(name).map(Self::Ffn),
        }
    }

    /// The matrix of a feed-forward network that it is, or that it stacks.
    pub fn ffn(self) -> Option<FfnMatrix> {
        match self {
            Self::Ffn(matrix) | Self::Experts(matrix) | Self::Expert(matrix, _) => Some(matrix),
            _ => None,
        }
    }
}

/// The number that `digits` are, written as usual.
fn number(digits: &str) -> Option<u64> {
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

impl fmt::Display for TensorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(layer, tensor) => write!(f, "blk.{layer}.{tensor}.weight"),
            outside => {
                let found = OUTSIDE.iter().find(|(other, _)| other == outside);
                f.write_str(found.map_or("", |(_, name)| *name))
            }
        }
    }
}

/// Without the layer's number, as in `attn_q` and `ffn_up.7`.
impl fmt::Display for LayerTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ffn(matrix) => f.write_str(matrix.name()),
            Self::Experts(matrix) => write!(f, "{}_exps", matrix.name()),
            Self::Expert(matrix, expert) => write!(f, "{}.{expert}", matrix.name()),
            named => {
                let found = NAMED.iter().find(|(other, _)| other == named);
                f.write_str(found.map_or("", |(_, name)| *name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let mut names: Vec<TensorName> = OUTSIDE.iter().map(|(name, _)| *name).collect();
        let ffn = FfnMatrix::ALL.into_iter().flat_map(|matrix| {
            [
                LayerTensor::Ffn(matrix),
                LayerTensor::Experts(matrix),
                LayerTensor::Expert(matrix, 0),
                LayerTensor::Expert(matrix, 63),
            ]
        });
        for tensor in NAMED.iter().map(|(tensor, _)| *tensor).chain(ffn) {
            names.extend([0, 31, u64::MAX].map(|layer| TensorName::Layer(layer, tensor)));
        }
        for name in names {
            assert_eq!(TensorName::parse(&name.to_string()), Some(name), "{name}");
        }
    }

    #[test]
    fn other_names_are_none() {
        for name in [
            "",
            "output",
            "output.bias",
            "blk.0.attn_q",
            "blk.0.attn_q.bias",
            "blk.00.attn_q.weight",
            "blk.+1.attn_q.weight",
            "blk.-1.attn_q.weight",
            "blk.x.attn_q.weight",
            "blk..attn_q.weight",
            "blk.0.attn_q.1.weight",
            "blk.0.ffn_up.01.weight",
            "blk.0.ffn_up_exps.1.weight",
            "blk.0.ffn_up.1.2.weight",
            "blk.18446744073709551616.attn_q.weight",
            "attn_q.weight",
        ] {
            assert_eq!(TensorName::parse(name), None, "{name}");
        }
    }
}
