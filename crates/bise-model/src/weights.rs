//! GGUF's tensor names and shapes: the only place that knows them.

use crate::attention::Attention;
use crate::block::Block;
use crate::config::{Config, EMBEDDINGS, Experts};
use crate::diagnosis::BadWeight;
use crate::error::LoadError;
use crate::feed_forward::{FeedForward, SwiGlu};
use crate::inputs::Place;
use crate::linear::Linear;
use crate::model::LoadOptions;
use crate::moe::SparseMoe;
use bise_format::checkpoint::Checkpoint;
use bise_kernels::matmul;
use bise_kernels::tensor::Tensor;
use std::io;

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
    pub fn load(
        checkpoint: &Checkpoint,
        config: &Config,
        options: &LoadOptions<'_>,
    ) -> Result<Self, LoadError> {
        let loader = Loader {
            checkpoint,
            config,
            options,
        };
        let vocabulary = loader.find(EMBEDDINGS)?.rows();
        let tok_embeddings = loader.shaped(EMBEDDINGS, &[vocabulary, config.dim])?;
        let tok_embeddings = loader.fetch(EMBEDDINGS, &tok_embeddings)?;
        let output = match loader.has("output.weight") {
            true => loader.linear("output.weight", vocabulary, config.dim)?,
            false => loader.lay_out(EMBEDDINGS, &tok_embeddings)?,
        };
        let norm = loader.vector("output_norm.weight")?;
        let mut blocks = Vec::new();
        for layer in 0..config.n_layers {
            blocks.push(loader.block(layer, true)?);
        }
        Ok(Self {
            tok_embeddings,
            blocks,
            norm,
            output,
        })
    }

    /// One block; its experts, if it is a mixture, are not loaded.
    pub fn block(checkpoint: &Checkpoint, config: &Config, layer: usize) -> Result<Block, LoadError> {
        Loader::plain(checkpoint, config).block(layer, false)
    }

    /// Expert `e` of a block.
    pub fn expert(
        checkpoint: &Checkpoint,
        config: &Config,
        layer: usize,
        e: usize,
    ) -> Result<SwiGlu, LoadError> {
        Loader::plain(checkpoint, config).expert(layer, e)
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
    checkpoint: &'a Checkpoint,
    config: &'a Config,
    options: &'a LoadOptions<'a>,
}

impl<'a> Loader<'a> {
    /// With the usual options.
    fn plain(checkpoint: &'a Checkpoint, config: &'a Config) -> Self {
        Self {
            checkpoint,
            config,
            options: const {
                &LoadOptions {
                    read: false,
                    lock: false,
                    progress: &|_| {},
                }
            },
        }
    }

    fn has(&self, name: &str) -> bool {
        self.checkpoint.tensors.contains_key(name)
    }

    /// The tensor called `name`, as it is stored.
    fn find(&self, name: &str) -> Result<Tensor, LoadError> {
        let missing = || LoadError::MissingTensor {
            tensor: name.to_owned(),
        };
        self.checkpoint.tensors.get(name).cloned().ok_or_else(missing)
    }

    /// The tensor called `name`, whose shape is to be `expected`; GGUF's trailing extents of 1, the outermost here, are none.
    fn shaped(&self, name: &str, expected: &[usize]) -> Result<Tensor, LoadError> {
        let tensor = self.find(name)?;
        let found = tensor.shape().to_vec();
        tensor
            .with_outer_ones(expected.len())
            .filter(|tensor| tensor.shape() == expected)
            .ok_or_else(|| LoadError::Shape {
                tensor: name.to_owned(),
                found,
                expected: expected.to_vec(),
            })
    }

    fn linear(&self, name: &str, outputs: usize, inputs: usize) -> Result<Linear, LoadError> {
        self.lay_out(name, &self.shaped(name, &[outputs, inputs])?)
    }

    /// The tensor as kernels read it, in its file's pages or, when these are not wanted, in memory of its own.
    fn fetch(&self, name: &str, tensor: &Tensor) -> Result<Tensor, LoadError> {
        let own = self.options.read || self.options.lock;
        let tensor = match own {
            true => tensor.read_in().map_err(|e| no_room(name, tensor, e))?,
            false => tensor.clone(),
        };
        if self.options.lock {
            tensor.lock().map_err(|e| not_locked(name, e))?;
        }
        Ok(tensor.native())
    }

    fn lay_out(&self, name: &str, tensor: &Tensor) -> Result<Linear, LoadError> {
        let weights =
            matmul::Weights::new(&self.fetch(name, tensor)?).map_err(|e| no_room(name, tensor, e))?;
        if !weights.is_finite()
            && let Some(weight) = BadWeight::find(name, tensor, 0..tensor.rows())
        {
            return Err(LoadError::BadWeight(weight));
        }
        if self.options.lock {
            weights.lock().map_err(|e| not_locked(name, e))?;
        }
        (self.options.progress)(tensor.len() as u64);
        Ok(Linear(weights))
    }

    fn vector(&self, name: &str) -> Result<Vec<f32>, LoadError> {
        let tensor = self.shaped(name, &[self.config.dim])?;
        match BadWeight::find(name, &tensor, 0..tensor.rows()) {
            Some(weight) => Err(LoadError::BadWeight(weight)),
            None => Ok(tensor.to_vec()),
        }
    }

    fn block(&self, layer: usize, with_experts: bool) -> Result<Block, LoadError> {
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
            Some(experts) => FeedForward::SparseMoe(self.mixture(layer, experts, with_experts)?),
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

    fn mixture(&self, layer: usize, experts: Experts, load: bool) -> Result<SparseMoe, LoadError> {
        let Experts { count, top_k } = experts;
        let gate = self.linear(
            &format!("blk.{layer}.ffn_gate_inp.weight"),
            count,
            self.config.dim,
        )?;
        let loaded = (0..if load { count } else { 0 }).map(|e| self.expert(layer, e));
        Ok(SparseMoe {
            gate,
            experts: loaded.collect::<Result<_, _>>()?,
            top_k,
        })
    }

    /// One of the experts stacked in one tensor a layer, or, in older files, each in tensors of its own.
    fn expert(&self, layer: usize, e: usize) -> Result<SwiGlu, LoadError> {
        if self.has(&format!("blk.{layer}.ffn_gate.0.weight")) {
            return self.swiglu(|part| format!("blk.{layer}.ffn_{part}.{e}.weight"));
        }
        let &Config { dim, hidden_dim, .. } = self.config;
        let count = self.config.experts.map_or(1, |experts| experts.count);
        let slab = |part: &str, outputs, inputs| {
            let name = format!("blk.{layer}.ffn_{part}_exps.weight");
            let tensor = self.shaped(&name, &[count, outputs, inputs])?;
            self.lay_out(&name, &tensor.slab(e))
        };
        Ok(SwiGlu {
            w1: slab("gate", hidden_dim, dim)?,
            w2: slab("down", dim, hidden_dim)?,
            w3: slab("up", hidden_dim, dim)?,
        })
    }
}

fn no_room(name: &str, tensor: &Tensor, error: io::Error) -> LoadError {
    LoadError::Memory {
        tensor: name.to_owned(),
        bytes: tensor.len(),
        error,
    }
}

fn not_locked(name: &str, error: io::Error) -> LoadError {
    LoadError::Lock {
        tensor: name.to_owned(),
        error,
    }
}
