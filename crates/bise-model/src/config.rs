//! A model's dimensions, read from GGUF metadata and checked.

use crate::error::LoadError;
use crate::rope::Rope;
use bise_format::TensorName;
use bise_format::checkpoint::Checkpoint;
use bise_format::gguf::{Array, Metadata, Value};
use bise_format::llama::{self, Architecture, RopeScaling};
use bise_kernels::ops::MAX_HEAD_DIM;
use std::sync::Arc;

/// The dimensions of a Mistral or Mixtral model.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Values of a token's representation.
    pub dim: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; each serves `n_heads / n_kv_heads` query heads.
    pub n_kv_heads: usize,
    /// Values of a head; need not be `dim / n_heads`.
    pub head_dim: usize,
    /// Values inside a feed-forward network.
    pub hidden_dim: usize,
    /// Added to the mean square in RMSNorm.
    pub norm_eps: f32,
    /// Positions that the model was trained for.
    pub context_length: usize,
    /// What differs from block to block; one for each.
    pub layers: Vec<LayerConfig>,
    /// Whether the windows are those of Mistral v0.1 or Ministral 8B, which the file does not
    /// mention.
    pub window_restored: bool,
    /// Mixture of experts; `None` has one feed-forward network a block.
    pub experts: Option<Experts>,
}

/// A block's own dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerConfig {
    /// Keys that a query sees, its own included; `None` sees all before it.
    pub window: Option<usize>,
    /// How positions are told apart.
    pub rope: Rope,
}

/// A sparse mixture of experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    /// Experts of a block.
    pub count: usize,
    /// Experts that each token is sent to.
    pub top_k: usize,
}

impl Config {
    /// Reads the keys of the architecture, and restores the windows of a Mistral v0.1 or a Ministral
    /// 8B whose file lacks them.
    ///
    /// # Errors
    /// When a needed key is absent, of another type, or out of range.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self, LoadError> {
        let keys = Keys::new(&checkpoint.metadata)?;
        let layers = checkpoint.metadata.u64(&keys.name(LAYERS)).ok().flatten();
        if layers.is_some_and(|layers| layers > checkpoint.tensors.len() as u64) {
            llama::check_tensors(checkpoint)?;
        }
        let mut config = Self::from_metadata(&checkpoint.metadata)?;
        config.set_rope_factors(checkpoint)?;
        let vocabulary = checkpoint
            .tensor(TensorName::Embedding)
            .map_or(0, |t| t.shape()[0]);
        if checkpoint.metadata.get(&keys.name(WINDOW)).is_none() {
            config.restore_windows(vocabulary);
        }
        Ok(config)
    }

    /// Divides the frequencies of all layers by what a tensor says, if there is one.
    fn set_rope_factors(&mut self, checkpoint: &Checkpoint) -> Result<(), LoadError> {
        let Some(factors) = llama::rope_factors(checkpoint)? else {
            return Ok(());
        };
        let factors: Arc<[f32]> = factors.into();
        for layer in &mut self.layers {
            if factors.len() != layer.rope.dims / 2 {
                return Err(LoadError::Shape {
                    tensor: TensorName::RopeFreqs.to_string(),
                    found: vec![factors.len()],
                    expected: vec![layer.rope.dims / 2],
                });
            }
            layer.rope.factors = Some(factors.clone());
        }
        Ok(())
    }

    /// Sets the windows of published models that their files do not mention.
    fn restore_windows(&mut self, vocabulary: usize) {
        if self.is_mistral_v0_1(vocabulary) {
            self.set_sliding_window(Some(4096));
            self.window_restored = true;
        } else if self.is_ministral_8b(vocabulary) {
            for (n, layer) in self.layers.iter_mut().enumerate() {
                layer.window = (n % 4 != 0).then_some(32768);
            }
            self.window_restored = true;
        }
    }

    /// The windows of layers that have one; empty when none has.
    pub fn windows(&self) -> impl Iterator<Item = usize> {
        self.layers.iter().filter_map(|layer| layer.window)
    }

    /// Keys that a query sees at most, its own included; `None` when it sees all before it, in any
    /// layer.
    pub fn sliding_window(&self) -> Option<usize> {
        let windows: Option<Vec<usize>> = self.layers.iter().map(|layer| layer.window).collect();
        windows?.into_iter().max()
    }

    /// Lets a query see `window` keys in all layers; all of them for `None` or 0.
    pub fn set_sliding_window(&mut self, window: Option<usize>) {
        let window = window.filter(|&keys| keys > 0);
        self.layers.iter_mut().for_each(|layer| layer.window = window);
        self.window_restored = false;
    }

    /// Whether this is Mistral 7B v0.1 or made from it: the one dense model with grouped queries,
    /// Llama's vocabulary of 32000 tokens (and some, before the 32768 of v0.3), and 32768 positions
    /// at the base frequency of 10000.
    ///
    /// Later Mistrals have a base of 1000000; Llamas with so many positions scale them, or have no
    /// grouped queries.
    fn is_mistral_v0_1(&self, vocabulary: usize) -> bool {
        self.layers.iter().all(|layer| layer.rope.theta == 1e4)
            && self.context_length == 32768
            && (32000..32768).contains(&vocabulary)
            && self.n_kv_heads < self.n_heads
            && self.experts.is_none()
    }

    /// Whether this is Ministral 8B or made from it, whose layers have a window but for the first of
    /// each four. llama.cpp's converter writes none, and its runtime has none.
    fn is_ministral_8b(&self, vocabulary: usize) -> bool {
        (self.layers.len(), self.dim, self.hidden_dim) == (36, 4096, 12288)
            && vocabulary == 131072
            && self.layers.iter().all(|layer| layer.rope.theta == 1e8)
            && self.experts.is_none()
    }

    /// Reads the keys of the architecture.
    ///
    /// # Errors
    /// When a needed key is absent, of another type, or out of range.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, LoadError> {
        llama::check_metadata(metadata)?;
        let keys = Keys::new(metadata)?;
        let dim = keys.size("embedding_length", None)?;
        let n_heads = keys.size("attention.head_count", None)?;
        let n_kv_heads = keys.size("attention.head_count_kv", Some(n_heads))?;
        keys.check(
            "attention.head_count_kv",
            n_kv_heads,
            n_heads.is_multiple_of(n_kv_heads),
            || format!("a divisor of the {n_heads} query heads"),
        )?;
        let head_dim = keys.size("attention.key_length", Some((dim / n_heads).max(1)))?;
        keys.check("attention.key_length", head_dim, head_dim <= MAX_HEAD_DIM, || {
            format!("at most {MAX_HEAD_DIM}")
        })?;
        let value_dim = keys.size("attention.value_length", Some(head_dim))?;
        keys.check("attention.value_length", value_dim, value_dim == head_dim, || {
            format!("{head_dim}, as keys")
        })?;
        let rope_dims = keys.size("rope.dimension_count", Some(head_dim))?;
        keys.check(
            "rope.dimension_count",
            rope_dims,
            rope_dims <= head_dim && rope_dims.is_multiple_of(2),
            || format!("an even number, at most {head_dim}"),
        )?;
        let n_layers = keys.size(LAYERS, None)?;
        keys.check(LAYERS, n_layers, n_layers <= MOST_LAYERS, || {
            format!("1 to {MOST_LAYERS}")
        })?;
        let rope = Rope {
            dims: rope_dims,
            theta: keys.positive("rope.freq_base", Some(1e4))?,
            factors: None,
            scaling: RopeScaling::read(metadata)?,
            temperature: llama::temperature(metadata)?,
        };
        let layer = |window| LayerConfig {
            window,
            rope: rope.clone(),
        };
        Ok(Self {
            dim,
            n_heads,
            n_kv_heads,
            head_dim,
            hidden_dim: keys.size("feed_forward_length", None)?,
            norm_eps: keys.positive("attention.layer_norm_rms_epsilon", None)?,
            context_length: keys.size("context_length", None)?,
            layers: keys.windows(n_layers)?.into_iter().map(layer).collect(),
            window_restored: false,
            experts: keys.experts()?,
        })
    }
}

/// Layers of the deepest model that is read.
const MOST_LAYERS: usize = 1 << 12;

const LAYERS: &str = "block_count";
const WINDOW: &str = "attention.sliding_window";
const PATTERN: &str = "attention.sliding_window_pattern";

/// The keys of the architecture, with bounds.
struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: Architecture,
}

impl<'a> Keys<'a> {
    /// No dimension of a model is larger; with it, products of four fit in 128 bits and of two in
    /// 64.
    const MOST: u64 = 1 << 30;

    fn new(metadata: &'a Metadata) -> Result<Self, LoadError> {
        Ok(Self {
            metadata,
            architecture: Architecture::of(metadata)?,
        })
    }

    fn name(&self, key: &str) -> String {
        self.architecture.key(key)
    }

    fn check(
        &self,
        key: &str,
        found: impl ToString,
        good: bool,
        expected: impl Fn() -> String,
    ) -> Result<(), LoadError> {
        let bad = || LoadError::BadKey {
            key: self.name(key),
            found: found.to_string(),
            expected: expected(),
        };
        if good { Ok(()) } else { Err(bad()) }
    }

    /// A number from 1 on; 0 stands for absent, as in files in the wild.
    fn optional_size(&self, key: &str) -> Result<Option<usize>, LoadError> {
        let name = self.name(key);
        let found = match llama::OF_LAYERS.contains(&key) {
            true => self.metadata.of_all_layers(&name)?,
            false => self.metadata.u64(&name)?,
        };
        let Some(found) = found else {
            return Ok(None);
        };
        self.check(key, found, found <= Self::MOST, || {
            format!("at most {}", Self::MOST)
        })?;
        Ok((found > 0).then_some(found as usize))
    }

    fn size(&self, key: &str, default: Option<usize>) -> Result<usize, LoadError> {
        let found = self.optional_size(key)?.or(default);
        let zero = self.metadata.get(&self.name(key)).is_some();
        self.check(key, 0, found.is_some() || !zero, || {
            format!("1 to {}", Self::MOST)
        })?;
        found.ok_or_else(|| LoadError::MissingKey {
            key: self.name(key),
        })
    }

    fn positive(&self, key: &str, default: Option<f32>) -> Result<f32, LoadError> {
        let found = self.metadata.f32(&self.name(key))?.or(default);
        let found = found.ok_or_else(|| LoadError::MissingKey {
            key: self.name(key),
        })?;
        self.check(key, found, found.is_finite() && found > 0.0, || {
            "a positive number".into()
        })?;
        Ok(found)
    }

    fn experts(&self) -> Result<Option<Experts>, LoadError> {
        let Some(count) = self.optional_size("expert_count")? else {
            return Ok(None);
        };
        let top_k = self.size("expert_used_count", None)?;
        self.check("expert_used_count", top_k, top_k <= count, || {
            format!("at most the {count} experts")
        })?;
        Ok(Some(Experts { count, top_k }))
    }

    /// The window of each layer: one for each, where 0 is none, or one for those that a pattern
    /// names: truth values by layer, or a number `n`, of which every `n`-th layer has none; 0 is a
    /// window in all.
    fn windows(&self, n_layers: usize) -> Result<Vec<Option<usize>>, LoadError> {
        let (window, pattern) = (self.name(WINDOW), self.name(PATTERN));
        if let Some(Value::Array(_)) = self.metadata.get(&window)
            && self.metadata.of_all_layers(&window).is_err()
        {
            return self.different_windows(n_layers, &window);
        }
        let window = self.optional_size(WINDOW)?;
        let has: Vec<bool> = match self.metadata.get(&pattern) {
            None => vec![true; n_layers],
            Some(Value::Array(Array::Bool(layers))) => {
                self.check(PATTERN, layers.len(), layers.len() == n_layers, || {
                    format!("as many as the {n_layers} layers")
                })?;
                layers.clone()
            }
            Some(Value::Bool(has)) => vec![*has; n_layers],
            Some(_) => {
                let n = self.metadata.of_all_layers(&pattern)?.unwrap_or(0) as usize;
                (0..n_layers).map(|layer| n == 0 || layer % n < n - 1).collect()
            }
        };
        Ok(has.into_iter().map(|has| window.filter(|_| has)).collect())
    }

    fn different_windows(
        &self,
        n_layers: usize,
        key: &str,
    ) -> Result<Vec<Option<usize>>, LoadError> {
        let windows = self.metadata.u32s(key)?.unwrap_or_default();
        self.check(WINDOW, windows.len(), windows.len() == n_layers, || {
            format!("as many as the {n_layers} layers")
        })?;
        if let Some(found) = windows.iter().find(|&&window| u64::from(window) > Self::MOST) {
            self.check(WINDOW, found, false, || format!("at most {}", Self::MOST))?;
        }
        let window = |&window: &u32| (window > 0).then_some(window as usize);
        Ok(windows.iter().map(window).collect())
    }
}
