//! GGUF's tensor names and shapes: the only place that knows them.

use crate::attention::Attention;
use crate::block::Block;
use crate::config::{Config, Experts};
use crate::error::LoadError;
use crate::feed_forward::{FeedForward, SwiGlu};
use crate::inputs::Place;
use crate::linear::Linear;
use crate::moe::SparseMoe;
use bise_tensor::gguf::Gguf;
use bise_tensor::matmul;
use bise_tensor::mmap::FileBytes;
use bise_tensor::tensor::Tensor;

/// The weights outside the blocks, and the blocks.
pub(crate) struct Weights {
    /// `[vocabulary, dim]`, looked up by row.
    pub tok_embeddings: Tensor,
    pub blocks: Vec<Block>,
    /// `[dim]`
    pub norm: Vec<f32>,
    /// `[vocabulary, dim]`; the embeddings themselves when the file has none.
    pub output: Linear,
}

impl Weights {
    /// Finds all tensors that `config` asks for and checks their shapes.
    pub fn load(gguf: &Gguf, file: &FileBytes, config: &Config) -> Result<Self, LoadError> {
        let loader = Loader { gguf, file, config };
        let tok_embeddings = loader.find("token_embd.weight")?;
        let vocabulary = tok_embeddings.shape()[0];
        loader.check("token_embd.weight", &tok_embeddings, &[vocabulary, config.dim])?;
        let output = match loader.gguf.tensor("output.weight") {
            Some(_) => loader.linear("output.weight", vocabulary, config.dim)?,
            None => loader.lay_out("token_embd.weight", &tok_embeddings)?,
        };
        let norm = loader.vector("output_norm.weight")?;
        let mut blocks = Vec::new();
        for layer in 0..config.n_layers {
            blocks.push(loader.block(layer)?);
        }
        Ok(Self {
            tok_embeddings,
            blocks,
            norm,
            output,
        })
    }
}

/// GGUF's names of the matrices that work on the inputs at `place` of `layer`; experts are stacked.
pub(crate) fn names(place: Place, layer: usize, mixture: bool) -> Vec<String> {
    let parts: &[&str] = match (place, mixture) {
        (Place::Output, _) => return vec!["output.weight".to_owned()],
        (Place::Attention, _) => &["attn_q", "attn_k", "attn_v"],
        (Place::Heads, _) => &["attn_output"],
        (Place::FeedForward(_), false) => &["ffn_gate", "ffn_up"],
        (Place::Hidden(_), false) => &["ffn_down"],
        (Place::FeedForward(_), true) => &["ffn_gate_exps", "ffn_up_exps"],
        (Place::Hidden(_), true) => &["ffn_down_exps"],
    };
    parts
        .iter()
        .map(|part| format!("blk.{layer}.{part}.weight"))
        .collect()
}

struct Loader<'a> {
    gguf: &'a Gguf,
    file: &'a FileBytes,
    config: &'a Config,
}

impl Loader<'_> {
    fn find(&self, name: &str) -> Result<Tensor, LoadError> {
        let missing = || LoadError::MissingTensor {
            tensor: name.to_owned(),
        };
        let info = self.gguf.tensor(name).ok_or_else(missing)?;
        Ok(Tensor::from_gguf(self.gguf, self.file, info))
    }

    fn check(&self, name: &str, tensor: &Tensor, expected: &[usize]) -> Result<(), LoadError> {
        if tensor.shape() == expected {
            return Ok(());
        }
        let (found, expected) = (tensor.shape().to_vec(), expected.to_vec());
        Err(LoadError::Shape {
            tensor: name.to_owned(),
            found,
            expected,
        })
    }

    fn shaped(&self, name: &str, expected: &[usize]) -> Result<Tensor, LoadError> {
        let tensor = self.find(name)?;
        self.check(name, &tensor, expected)?;
        Ok(tensor)
    }

    fn linear(&self, name: &str, outputs: usize, inputs: usize) -> Result<Linear, LoadError> {
        self.lay_out(name, &self.shaped(name, &[outputs, inputs])?)
    }

    fn lay_out(&self, name: &str, tensor: &Tensor) -> Result<Linear, LoadError> {
        let no_room = |error| LoadError::Memory {
            tensor: name.to_owned(),
            bytes: tensor.bytes().len(),
            error,
        };
        matmul::Weights::new(tensor).map(Linear).map_err(no_room)
    }

    fn vector(&self, name: &str) -> Result<Vec<f32>, LoadError> {
        Ok(self.shaped(name, &[self.config.dim])?.to_vec())
    }

    fn block(&self, layer: usize) -> Result<Block, LoadError> {
        let &Config {
            dim,
            n_heads,
            n_kv_heads,
            head_dim,
            ..
        } = self.config;
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let attention = Attention {
            wq: self.linear(&name("attn_q"), n_heads * head_dim, dim)?,
            wk: self.linear(&name("attn_k"), n_kv_heads * head_dim, dim)?,
            wv: self.linear(&name("attn_v"), n_kv_heads * head_dim, dim)?,
            wo: self.linear(&name("attn_output"), dim, n_heads * head_dim)?,
        };
        let feed_forward = match self.config.experts {
            None => FeedForward::Dense(self.swiglu(|part| name(&format!("ffn_{part}")))?),
            Some(experts) => FeedForward::SparseMoe(self.mixture(layer, experts)?),
        };
        Ok(Block {
            attention_norm: self.vector(&name("attn_norm"))?,
            attention,
            ffn_norm: self.vector(&name("ffn_norm"))?,
            feed_forward,
        })
    }

    fn swiglu(&self, name: impl Fn(&str) -> String) -> Result<SwiGlu, LoadError> {
        let &Config { dim, hidden_dim, .. } = self.config;
        Ok(SwiGlu {
            w1: self.linear(&name("gate"), hidden_dim, dim)?,
            w2: self.linear(&name("down"), dim, hidden_dim)?,
            w3: self.linear(&name("up"), hidden_dim, dim)?,
        })
    }

    /// Experts stacked in one tensor a layer, or, in older files, each in tensors of its own.
    fn mixture(&self, layer: usize, Experts { count, top_k }: Experts) -> Result<SparseMoe, LoadError> {
        let &Config { dim, hidden_dim, .. } = self.config;
        let gate = self.linear(&format!("blk.{layer}.ffn_gate_inp.weight"), count, dim)?;
        let mut experts = Vec::new();
        if self
            .gguf
            .tensor(&format!("blk.{layer}.ffn_gate.0.weight"))
            .is_some()
        {
            for e in 0..count {
                experts.push(self.swiglu(|part| format!("blk.{layer}.ffn_{part}.{e}.weight"))?);
            }
        } else {
            let stacked = |part: &str, outputs, inputs| {
                let name = format!("blk.{layer}.ffn_{part}_exps.weight");
                let tensor = self.shaped(&name, &[count, outputs, inputs])?;
                let slabs = (0..count).map(|e| self.lay_out(&name, &tensor.slab(e)));
                slabs.collect::<Result<Vec<_>, _>>()
            };
            let w1 = stacked("gate", hidden_dim, dim)?;
            let w2 = stacked("down", dim, hidden_dim)?;
            let w3 = stacked("up", hidden_dim, dim)?;
            let parts = w1.into_iter().zip(w2).zip(w3);
            experts.extend(parts.map(|((w1, w2), w3)| SwiGlu { w1, w2, w3 }));
        }
        Ok(SparseMoe { gate, experts, top_k })
    }
}
