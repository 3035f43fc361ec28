//! Tensors by their names and shapes, laid out for kernels.

use super::bad_weight::find_bad_weight;
use super::updates::Updates;
use crate::config::{Config, Experts as Mixture};
use crate::decoder::{
    Attention, Block, Embedding, EmbeddingUpdate, Experts, FeedForward, Linear, RmsNorm, SparseMoe,
    SwiGlu, Update,
};
use crate::error::LoadError;
use bise_format::adapter::{LowRank, ScaledAdapter};
use bise_format::checkpoint::Checkpoint;
use bise_format::{FfnMatrix, LayerTensor, TensorName};
use bise_kernels::matmul;
use bise_kernels::tensor::{Scales, Tensor};
use std::io;

/// How a model comes into memory.
pub struct LoadOptions<'a> {
    /// Reads the file instead of mapping it: it may then change, be deleted, or lie on a slow disk.
    pub read: bool,
    /// Keeps the weights from being paged out; reads the file too.
    pub lock: bool,
    /// Hears how many more bytes of weights are ready.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// What is added to matrices as the model runs, in this order; the weights stay as they are.
    ///
    /// ```
    /// use bise_format::adapter::{Adapter, ScaledAdapter};
    /// use bise_model::{LoadOptions, Model};
    ///
    /// let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    /// let (base, _) = bise_format::open(&fixtures.join("random/mistral-no-window"))?;
    /// let (adapter, _) = Adapter::open(&fixtures.join("adapters/plain"))?;
    /// let adapters = [ScaledAdapter { adapter, scale: 0.5 }];
    /// let options = LoadOptions { adapters: &adapters, ..LoadOptions::default() };
    /// let adapted = Model::load(base.clone(), &options)?;
    /// assert_ne!(adapted.fingerprint(), Model::from_checkpoint(base)?.fingerprint());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub adapters: &'a [ScaledAdapter],
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        Self {
            read: false,
            lock: false,
            progress: &|_| {},
            adapters: &[],
        }
    }
}

/// Finds tensors, checks their shapes, and lays them out.
pub(super) struct Loader<'a> {
    pub checkpoint: &'a Checkpoint,
    pub config: &'a Config,
    pub options: &'a LoadOptions<'a>,
    pub updates: &'a Updates,
}

impl<'a> Loader<'a> {
    pub fn has(&self, name: TensorName) -> bool {
        self.checkpoint.tensor(name).is_some()
    }

    /// The tensor called `name`, as it is stored.
    pub fn find(&self, name: TensorName) -> Result<Tensor, LoadError> {
        let missing = || LoadError::MissingTensor {
            tensor: name.to_string(),
        };
        self.checkpoint.tensor(name).cloned().ok_or_else(missing)
    }

    /// The tensor called `name`, whose shape is to be `expected`; GGUF's trailing extents of 1, the
    /// outermost here, are none.
    pub fn shaped(&self, name: TensorName, expected: &[usize]) -> Result<Tensor, LoadError> {
        let tensor = self.find(name)?;
        let found = tensor.shape().to_vec();
        tensor
            .with_outer_ones(expected.len())
            .filter(|tensor| tensor.shape() == expected)
            .ok_or_else(|| LoadError::Shape {
                tensor: name.to_string(),
                found,
                expected: expected.to_vec(),
            })
    }

    pub fn linear(
        &self,
        name: TensorName,
        outputs: usize,
        inputs: usize,
    ) -> Result<Linear, LoadError> {
        self.lay_out(name, name, &self.shaped(name, &[outputs, inputs])?)
    }

    /// The tensor as kernels read it, in its file's pages or, when these are not wanted, in memory
    /// of its own.
    pub fn fetch(&self, name: TensorName, tensor: &Tensor) -> Result<Tensor, LoadError> {
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

    /// The matrix `target`, which is `tensor`, or a part of it, that the file calls `name`.
    pub fn lay_out(
        &self,
        name: TensorName,
        target: TensorName,
        tensor: &Tensor,
    ) -> Result<Linear, LoadError> {
        let weights = matmul::Weights::new(&self.fetch(name, tensor)?)
            .map_err(|e| no_room(name, tensor, e))?;
        let finite = weights.is_finite() && tensor.scales().is_none_or(Scales::keep_finite);
        if !finite && let Some(weight) = find_bad_weight(name, tensor, 0..tensor.rows()) {
            return Err(weight.into());
        }
        if self.options.lock {
            weights.lock().map_err(|e| not_locked(name, e))?;
        }
        (self.options.progress)(tensor.len() as u64);
        let updates = self.updates.of(target).iter();
        Ok(Linear {
            weights,
            updates: updates
                .map(|update| self.update(update))
                .collect::<Result<_, _>>()?,
        })
    }

    fn update(&self, update: &LowRank) -> Result<Update, LoadError> {
        Ok(Update {
            a: self.narrow(update.target, &update.a)?,
            b: self.narrow(update.target, &update.b)?,
            scale: update.scale,
        })
    }

    /// A matrix of an update, which is unquantized: no copy is made where it can be read as it is.
    fn narrow(&self, name: TensorName, tensor: &Tensor) -> Result<matmul::Weights, LoadError> {
        matmul::Weights::new(&self.fetch(name, tensor)?).map_err(|e| no_room(name, tensor, e))
    }

    /// The embeddings of `vocabulary` tokens.
    pub fn embedding(&self, vocabulary: usize) -> Result<Embedding, LoadError> {
        let name = TensorName::Embedding;
        let table = self.shaped(name, &[vocabulary, self.config.dim])?;
        let update = |update: &LowRank| {
            let up = update.a.clone().transposed().expect("an unquantized matrix");
            Ok(EmbeddingUpdate {
                rows: self.fetch(name, &update.b)?,
                up: self.narrow(name, &up)?,
                scale: update.scale,
            })
        };
        Ok(Embedding {
            table: self.fetch(name, &table)?,
            updates: self
                .updates
                .of(name)
                .iter()
                .map(update)
                .collect::<Result<_, LoadError>>()?,
        })
    }

    pub fn norm(&self, name: TensorName) -> Result<RmsNorm, LoadError> {
        let tensor = self.shaped(name, &[self.config.dim])?;
        match find_bad_weight(name, &tensor, 0..tensor.rows()) {
            Some(weight) => Err(weight.into()),
            None => Ok(RmsNorm {
                weight: tensor.to_vec(),
                eps: self.config.norm_eps,
            }),
        }
    }

    /// A block, of whose mixture `experts` gives the experts.
    pub fn block(
        &self,
        layer: usize,
        experts: impl FnOnce(Mixture) -> Result<Box<dyn Experts>, LoadError>,
    ) -> Result<Block, LoadError> {
        let &Config {
            dim,
            n_heads,
            n_kv_heads,
            head_dim,
            ..
        } = self.config;
        let name = |tensor| TensorName::Layer(layer as u64, tensor);
        let attention = Attention {
            wq: self.linear(name(LayerTensor::Query), n_heads * head_dim, dim)?,
            wk: self.linear(name(LayerTensor::Key), n_kv_heads * head_dim, dim)?,
            wv: self.linear(name(LayerTensor::Value), n_kv_heads * head_dim, dim)?,
            wo: self.linear(name(LayerTensor::AttentionOutput), dim, n_heads * head_dim)?,
            head_dim,
        };
        let feed_forward = match self.config.experts {
            None => {
                let network = self.swiglu(|matrix| name(LayerTensor::Ffn(matrix)))?;
                FeedForward::Dense(Box::new(network))
            }
            Some(mixture) => FeedForward::SparseMoe(Box::new(SparseMoe {
                router: self.linear(name(LayerTensor::Router), mixture.count, dim)?,
                experts: experts(mixture)?,
                top_k: mixture.top_k,
            })),
        };
        Ok(Block {
            attention_norm: self.norm(name(LayerTensor::AttentionNorm))?,
            attention,
            ffn_norm: self.norm(name(LayerTensor::FfnNorm))?,
            feed_forward,
        })
    }

    fn swiglu(&self, name: impl Fn(FfnMatrix) -> TensorName) -> Result<SwiGlu, LoadError> {
        let &Config {
            dim, hidden_dim, ..
        } = self.config;
        Ok(SwiGlu {
            w1: self.linear(name(FfnMatrix::Gate), hidden_dim, dim)?,
            w2: self.linear(name(FfnMatrix::Down), dim, hidden_dim)?,
            w3: self.linear(name(FfnMatrix::Up), hidden_dim, dim)?,
        })
    }

    /// One of the experts stacked in one tensor a layer, or, in older files, each in tensors of its
    /// own.
    pub fn expert(&self, layer: usize, e: usize) -> Result<SwiGlu, LoadError> {
        let name = |tensor| TensorName::Layer(layer as u64, tensor);
        if self.has(name(LayerTensor::Expert(FfnMatrix::Gate, 0))) {
            return self.swiglu(|matrix| name(LayerTensor::Expert(matrix, e as u64)));
        }
        let &Config {
            dim, hidden_dim, ..
        } = self.config;
        let count = self.config.experts.map_or(1, |experts| experts.count);
        let slab = |matrix, outputs, inputs| {
            let own = name(LayerTensor::Expert(matrix, e as u64));
            let name = name(LayerTensor::Experts(matrix));
            let tensor = self.shaped(name, &[count, outputs, inputs])?;
            self.lay_out(name, own, &tensor.slab(e))
        };
        Ok(SwiGlu {
            w1: slab(FfnMatrix::Gate, hidden_dim, dim)?,
            w2: slab(FfnMatrix::Down, dim, hidden_dim)?,
            w3: slab(FfnMatrix::Up, hidden_dim, dim)?,
        })
    }
}

fn no_room(name: TensorName, tensor: &Tensor, source: io::Error) -> LoadError {
    LoadError::Memory {
        tensor: name.to_string(),
        bytes: tensor.len(),
        source,
    }
}

fn not_locked(name: TensorName, source: io::Error) -> LoadError {
    LoadError::Lock {
        tensor: name.to_string(),
        source,
    }
}
