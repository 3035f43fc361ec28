//! How much memory a model takes, before any of it is taken.

use crate::cache::{CHUNK, KvShape};
use crate::config::Config;
use crate::context::ContextOptions;
use crate::decoder::LinearWorkspace;
use crate::engine::LOGIT_ROWS;
use bise_format::TensorName;
use bise_format::adapter::{Adapter, ScaledAdapter};
use bise_format::checkpoint::Checkpoint;
use bise_format::gguf::TensorInfo;
use bise_kernels::block::DType;
use bise_kernels::isa::LANES;
use bise_kernels::matmul::Activations;
use bise_kernels::ops::{KvType, partials_len};
use bise_kernels::tensor::Tensor;

/// Bytes that a model and a context of it take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryNeeds {
    /// Matrices that are laid out anew in memory.
    pub laid_out: u64,
    /// Matrices that are read where they are in their files, all of them for each token.
    pub in_files: u64,
    /// Keys and values.
    pub kv: u64,
    /// What the layers work in.
    pub scratch: u64,
}

/// A tensor, as far as it matters here.
#[derive(Clone, Debug)]
pub struct TensorNeeds {
    /// `None` for a tensor that the model does not use.
    name: Option<TensorName>,
    /// The slowest first.
    shape: Vec<usize>,
    dtype: DType,
    bytes: u64,
    /// Bytes of the copy that kernels read, if they cannot read it where it is; quantized tensors
    /// are laid out anew besides.
    copy: Option<u64>,
    /// Bytes of what its values are multiples of.
    scales: u64,
}

impl TensorNeeds {
    /// A tensor of a file that need not be there yet.
    pub fn of_info(info: &TensorInfo) -> Self {
        Self {
            name: TensorName::parse(&info.name),
            shape: info.dims.iter().rev().map(|&d| d as usize).collect(),
            dtype: info.dtype,
            bytes: info.len,
            copy: None,
            scales: 0,
        }
    }

    fn of_tensor((name, tensor): (&String, &Tensor)) -> Self {
        let scales = tensor.scales().map_or(0, |scales| size_of_val(scales.values()));
        Self {
            name: TensorName::parse(name),
            shape: tensor.shape().to_vec(),
            dtype: tensor.dtype(),
            bytes: tensor.len() as u64,
            copy: (!tensor.is_native()).then_some(tensor.native_len() as u64),
            scales: scales as u64,
        }
    }
}

impl MemoryNeeds {
    /// What a model from `checkpoint`, which `config` describes, takes with a context of these
    /// `options`.
    pub fn of(checkpoint: &Checkpoint, config: &Config, options: &ContextOptions) -> Self {
        let tensors = checkpoint.tensors.iter().map(TensorNeeds::of_tensor);
        Self::of_tensors(tensors, config, options)
    }

    /// What a model of these `tensors`, which `config` describes, takes with a context of these
    /// `options`.
    pub fn of_tensors(
        tensors: impl Iterator<Item = TensorNeeds>,
        config: &Config,
        options: &ContextOptions,
    ) -> Self {
        let tensors: Vec<_> = tensors.collect();
        let (mut laid_out, mut in_files, mut unquantized) = (0u64, 0u64, false);
        let tied = tensors
            .iter()
            .all(|tensor| tensor.name != Some(TensorName::Output));
        let mut vocabulary = 0;
        for tensor in &tensors {
            let [matrices @ .., rows, _] = &tensor.shape[..] else {
                continue;
            };
            // Of the embeddings, one row is looked at for each token, unless they are the output
            // matrix too.
            if tensor.name == Some(TensorName::Embedding) {
                vocabulary = *rows as u64;
                if !tied {
                    continue;
                }
            }
            unquantized |= !tensor.dtype.is_quantized();
            laid_out += tensor.scales;
            if tensor.dtype.is_quantized() {
                let matrices: usize = matrices.iter().product();
                let row = tensor.bytes / (matrices * rows) as u64;
                let rows = rows.next_multiple_of(LANES);
                laid_out += (matrices as u64).saturating_mul(rows as u64).saturating_mul(row);
            } else if let Some(copy) = tensor.copy {
                laid_out = laid_out.saturating_add(copy);
            } else {
                in_files += tensor.bytes;
            }
        }
        Self {
            laid_out,
            in_files,
            kv: KvShape::new(config, options.kv).bytes(options.max_tokens, options.chunk()),
            scratch: scratch(config, vocabulary, unquantized, options),
        }
    }

    /// These needs, and those of `adapters` of a model of `vocabulary` tokens that `config` describes.
    pub fn with_adapters(
        self,
        adapters: &[ScaledAdapter],
        config: &Config,
        vocabulary: usize,
        options: &ContextOptions,
    ) -> Self {
        let adapters = adapters.iter().map(|scaled| &scaled.adapter);
        let ranks = adapters.clone().flat_map(|adapter| adapter.pairs().values());
        let rank = ranks.map(|pair| pair.rank()).max().unwrap_or(0);
        Self {
            in_files: adapters
                .map(Adapter::bytes)
                .fold(self.in_files, u64::saturating_add),
            scratch: self
                .scratch
                .saturating_add(of_updates(config, vocabulary, rank, options)),
            ..self
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        let parts = [self.laid_out, self.in_files, self.kv, self.scratch];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

/// What would let a model fit that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// A context of so many tokens.
    Context(usize),
    /// Keys and values of this type.
    KvType(KvType),
    /// Weights of this type.
    Weights(DType),
}

/// The least that has to change for a model to fit in `bytes`; `None` when nothing here helps.
pub fn advise(
    checkpoint: &Checkpoint,
    config: &Config,
    options: &ContextOptions,
    bytes: u64,
) -> Option<Advice> {
    const STEP: usize = 256;
    let total = |options: ContextOptions| MemoryNeeds::of(checkpoint, config, &options).total();
    let fits = |steps: usize| {
        total(ContextOptions {
            max_tokens: steps * STEP,
            ..*options
        }) <= bytes
    };
    if config.sliding_window().is_none() && options.max_tokens > STEP && fits(1) {
        let (mut good, mut bad) = (1, options.max_tokens.div_ceil(STEP));
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            if fits(middle) { good = middle } else { bad = middle }
        }
        // No more than the model was trained for is of use.
        let trained = config.context_length.max(STEP);
        return Some(Advice::Context((good * STEP).min(trained)));
    }
    let kv = KvType::smallest(config.head_dim);
    if total(ContextOptions { kv, ..*options }) <= bytes {
        return Some(Advice::KvType(kv));
    }
    let needs = MemoryNeeds::of(checkpoint, config, options);
    let room = bytes.checked_sub(needs.kv.saturating_add(needs.scratch))?;
    let matrices = checkpoint
        .tensors
        .values()
        .filter(|tensor| tensor.shape().len() > 1);
    let values: u64 = matrices.map(|tensor| tensor.elements() as u64).sum();
    let size =
        |dtype: &DType| values as f64 / dtype.block_len() as f64 * dtype.block_bytes() as f64;
    let smaller = DType::ALL
        .iter()
        .filter(|dtype| dtype.is_quantized() && size(dtype) <= room as f64);
    let best = smaller.max_by(|a, b| size(a).total_cmp(&size(b)))?;
    Some(Advice::Weights(*best))
}

/// What updates of up to `rank` work in, 0 if there are none: in attention, in the feed-forward
/// network and its router, and outside of layers; and activations that meet unquantized matrices.
fn of_updates(config: &Config, vocabulary: usize, rank: usize, options: &ContextOptions) -> u64 {
    if rank == 0 {
        return 0;
    }
    let (c, rows) = (config, options.chunk());
    let (q, experts) = (c.n_heads * c.head_dim, c.experts.map_or(0, |e| e.count));
    let widest = [
        q.max(c.dim),
        c.hidden_dim.max(c.dim),
        experts,
        vocabulary.max(c.dim),
    ];
    let workspaces = widest.map(|outputs| LinearWorkspace::bytes(rows, outputs, rank));
    let packed =
        |width: usize| Activations::row_bytes(width, true) - Activations::row_bytes(width, false);
    let row = packed(c.dim) + packed(q) + packed(c.hidden_dim);
    let gathered = c.experts.map_or(0, |_| packed(c.dim));
    workspaces.iter().sum::<u64>() + rows as u64 * (row + gathered)
}

/// As an engine's workspace has it, and the tiles in which prompts meet quantized weights, or
/// `unquantized` ones too. The rooms in which threads unpack weights, some hundred KiB for each,
/// are not the context's.
fn scratch(config: &Config, vocabulary: u64, unquantized: bool, options: &ContextOptions) -> u64 {
    let c = config;
    let batch = options.chunk() as u64;
    let (q, kv) = (c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim);
    let rope = c.layers.first().map_or(0, |layer| layer.rope.dims);
    let activations = |width: usize| Activations::row_bytes(width, unquantized);
    let mixture = c.experts.map_or(0, |experts| {
        activations(c.dim) + 4 * (c.dim + 2 * experts.count + 1) as u64
    });
    let floats = 2 * c.dim + 2 * q + 2 * kv + 2 * c.hidden_dim + rope;
    let row = 4 * floats as u64
        + activations(c.dim)
        + activations(q)
        + activations(c.hidden_dim)
        + mixture;
    let shape = KvShape::new(config, options.kv);
    let chunks = shape.visible_tokens(options.max_tokens).div_ceil(CHUNK);
    let partials = 4 * partials_len(c.n_heads, c.head_dim, chunks) as u64;
    let logits = 4 * vocabulary * batch.min(LOGIT_ROWS as u64);
    row.saturating_mul(batch)
        .saturating_add(partials)
        .saturating_add(logits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Model};

    fn model(name: &str) -> Model {
        let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
        Model::from_checkpoint(bise_format::open(&fixtures.join(name)).unwrap().0).unwrap()
    }

    #[test]
    fn keys_and_values_as_the_cache_holds_them() {
        for name in ["tiny-mixtral", "tiny-mistral", "random/mistral-window-7"] {
            let model = model(name);
            for (context, kv) in [(1, KvType::F16), (64, KvType::F32), (1000, KvType::Q8_0)] {
                let options = ContextOptions {
                    kv,
                    ..ContextOptions::new(context)
                };
                let needs = MemoryNeeds::of(model.checkpoint(), model.config(), &options);
                let mut context = Context::new(&model, options).unwrap();
                context.forward(&vec![1; options.max_tokens]).unwrap();
                let bytes = context.kv_bytes() as u64;
                match context.capacity() {
                    Some(_) => assert_eq!(needs.kv, bytes, "{name}"),
                    None => assert!(needs.kv >= bytes, "{name}: {bytes} of {}", needs.kv),
                }
            }
        }
    }

    #[test]
    fn advice_fits_and_is_the_best_that_does() {
        let model = model("tiny-mixtral");
        let (checkpoint, config) = (model.checkpoint(), model.config());
        let options = ContextOptions::new(2000);
        let total = |options| MemoryNeeds::of(checkpoint, config, &options).total();
        let with = |context| {
            total(ContextOptions {
                max_tokens: context,
                ..options
            })
        };
        let bytes = with(1000);
        let Some(Advice::Context(context)) = advise(checkpoint, config, &options, bytes) else {
            panic!("a context");
        };
        assert!(with(context) <= bytes && with(context + 256) > bytes, "{context}");
        let long = ContextOptions::new(100_000);
        let advice = advise(checkpoint, config, &long, with(5000));
        assert_eq!(
            advice,
            Some(Advice::Context(2048)),
            "what the model was trained for"
        );

        let short = ContextOptions::new(256);
        let kv = KvType::Q8_0;
        let advice = advise(checkpoint, config, &short, total(ContextOptions { kv, ..short }));
        assert_eq!(advice, Some(Advice::KvType(kv)));

        let needs = MemoryNeeds::of(checkpoint, config, &short);
        // BF16 weights; of half the bytes, the 8-bit type takes a little more.
        let half = needs.total() - needs.in_files / 2;
        let Some(Advice::Weights(dtype)) = advise(checkpoint, config, &short, half) else {
            panic!("a type");
        };
        assert!(dtype.is_quantized() && dtype != DType::Q8_0, "{dtype}");
        assert_eq!(advise(checkpoint, config, &short, 1000), None);
    }
}
