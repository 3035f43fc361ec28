//! Models of random weights at the shapes of published ones: for measuring speed, where weights do
//! not matter.

use crate::choose::recipe::{Target, fit};
use crate::choose::role::{ModelFacts, Role};
use crate::error::QuantizeError;
use bise_format::atomic::{claim, write_atomic};
use bise_format::gguf::{GgufWriter, Layout, Metadata, TensorInfo, TensorSpec};
use bise_format::llama::Architecture;
use bise_format::{TensorName, outline};
use bise_kernels::block::DType;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

/// Random values that all tensors of a type are made of, over and over.
const VALUES: usize = 1 << 16;

/// A published shape, as its `config.json` has it.
fn shape(name: &str) -> Option<Value> {
    let own = match name {
        "mistral-7b" => json!({}),
        "mixtral-8x7b" => json!({
            "architectures": ["MixtralForCausalLM"], "num_local_experts": 8, "num_experts_per_tok": 2,
        }),
        "mixtral-8x22b" => json!({
            "architectures": ["MixtralForCausalLM"], "num_local_experts": 8, "num_experts_per_tok": 2,
            "hidden_size": 6144, "intermediate_size": 16384, "num_hidden_layers": 56, "num_attention_heads": 48,
            "vocab_size": 32768, "max_position_embeddings": 65536,
        }),
        "ministral-8b" => json!({
            "intermediate_size": 12288, "num_hidden_layers": 36, "vocab_size": 131072, "max_position_embeddings": 131072,
            "rope_theta": 1e8, "sliding_window": 32768,
            "layer_types": MINISTRAL_LAYERS.repeat(9),
        }),
        "mistral-small-24b" => json!({
            "hidden_size": 5120, "intermediate_size": 32768, "num_hidden_layers": 40, "vocab_size": 131072,
            "max_position_embeddings": 131072, "rope_theta": 1e9,
        }),
        "ministral-3-3b" => json!({
            "architectures": ["Ministral3ForCausalLM"], "hidden_size": 3072, "intermediate_size": 9216, "num_hidden_layers": 26,
            "vocab_size": 131072, "max_position_embeddings": 262144, "rope_parameters": ministral_3(1e6), "tie_word_embeddings": true,
        }),
        "ministral-3-8b" => json!({
            "architectures": ["Ministral3ForCausalLM"], "num_hidden_layers": 34, "vocab_size": 131072,
            "max_position_embeddings": 262144, "rope_parameters": ministral_3(1e6),
        }),
        "ministral-3-14b" => json!({
            "architectures": ["Ministral3ForCausalLM"], "hidden_size": 5120, "intermediate_size": 16384, "num_hidden_layers": 40,
            "vocab_size": 131072, "max_position_embeddings": 262144, "rope_parameters": ministral_3(1e9),
        }),
        _ => return None,
    };
    let mut config = json!({
        "architectures": ["MistralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 32000,
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_theta": 1e6,
    });
    for (key, value) in own.as_object()? {
        config[key] = value.clone();
    }
    Some(config)
}

/// Which layers of a Ministral 8B have its window.
const MINISTRAL_LAYERS: [&str; 4] = [
    "full_attention",
    "sliding_attention",
    "sliding_attention",
    "sliding_attention",
];

/// How a Ministral 3 tells positions apart.
fn ministral_3(theta: f32) -> Value {
    json!({
        "rope_type": "yarn", "rope_theta": theta, "factor": 16, "original_max_position_embeddings": 16384,
        "beta_fast": 32, "beta_slow": 1, "mscale": 1, "mscale_all_dim": 1, "llama_4_scaling_beta": 0.1,
    })
}

/// A model of random weights that is yet to be written.
#[derive(Debug)]
pub struct Synthetic {
    metadata: Metadata,
    layout: Layout,
}

impl Synthetic {
    /// Lays out the model that `spec` names: a shape and a type or recipe, such as
    /// `mistral-7b:Q4_0` or `mixtral-8x7b:Q4_K_M`; `layers` may be fewer than the shape has. Its
    /// tokens are made up.
    ///
    /// # Errors
    /// When the shape or the type is unknown.
    pub fn new(spec: &str, layers: Option<u64>) -> Result<Self, QuantizeError> {
        let unknown = || QuantizeError::Synthetic(spec.to_owned());
        let (name, target) = spec.split_once(':').ok_or_else(unknown)?;
        let read_only = || DType::from_name(target).map(Target::Plain);
        let target = Target::from_name(target).or_else(read_only).ok_or_else(unknown)?;
        let mut config = shape(name).ok_or_else(unknown)?;
        if let Some(layers) = layers {
            config["num_hidden_layers"] = json!(layers);
            if let Some(types) = config["layer_types"].as_array_mut() {
                types.truncate(layers as usize);
            }
        }
        let outline = outline(config, name).map_err(|_| unknown())?;
        let mut metadata = outline.metadata;
        let architecture = Architecture::of(&metadata).map_err(|_| unknown())?;
        let vocabulary = metadata.u64(&architecture.key("vocab_size"))?.unwrap_or(0);
        let output = TensorName::Output.to_string();
        let tied = outline.tensors.iter().all(|(name, _)| *name != output);
        insert_vocabulary(&mut metadata, vocabulary);
        metadata.insert("general.file_type", target.file_type());
        let facts = ModelFacts::new(&metadata, tied, false).map_err(|_| unknown())?;
        let specs = outline.tensors.into_iter().map(|(name, dims)| {
            let dtype = fit(target.dtype(Role::of(&name, &dims), &facts), dims[0]);
            TensorSpec { name, dims, dtype }
        });
        let layout = Layout::new(&metadata, specs)?;
        Ok(Self { metadata, layout })
    }

    /// What the file says besides its tensors.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.layout.tensors().values()
    }

    /// Bytes of the file.
    pub fn file_len(&self) -> u64 {
        self.layout.file_len()
    }

    /// Writes the file to `out`, piece by piece: in little memory, whatever its size.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write<W: Write>(&self, out: W) -> Result<W, QuantizeError> {
        let mut writer = GgufWriter::with_layout(out, self.layout.clone())?;
        let mut blocks: HashMap<DType, Vec<u8>> = HashMap::new();
        for info in self.tensors() {
            let some = blocks
                .entry(info.dtype)
                .or_insert_with(|| random_blocks(info.dtype));
            let mut left = info.len as usize;
            while left > 0 {
                let part = left.min(some.len());
                writer.write_part(&info.name, &some[..part])?;
                left -= part;
            }
        }
        Ok(writer.finish()?)
    }

    /// Writes the file at `path`, where it appears when it is complete; the disk must have room for
    /// it.
    ///
    /// # Errors
    /// When there is no room, or writing fails.
    pub fn write_file(&self, path: &Path) -> Result<(), QuantizeError> {
        claim(path, &[])?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let free = fs4::available_space(folder.unwrap_or(Path::new(".")));
        let (needed, free) = (self.file_len(), free.map_err(|e| QuantizeError::io(path, e))?);
        if needed > free {
            let path = path.to_owned();
            return Err(QuantizeError::DiskFull { path, needed, free });
        }
        write_atomic(path, |out| self.write(out).map(|_| ())).map_err(|e| e.at(path))
    }
}

/// A vocabulary of `size` tokens as Mistral's is laid out: three control tokens, the bytes, and
/// words, all made up.
fn insert_vocabulary(metadata: &mut Metadata, size: u64) {
    const CONTROL: [(&str, i32); 3] = [("<unk>", 2), ("<s>", 3), ("</s>", 3)];
    let control = CONTROL.map(|(piece, kind)| (piece.to_owned(), kind));
    let bytes = (0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), 6));
    let words = (0..).map(|i: u64| (format!("\u{2581}w{i}"), 1));
    let tokens = control.into_iter().chain(bytes).chain(words);
    let (pieces, kinds): (Vec<String>, Vec<i32>) = tokens.take(size as usize).unzip();
    let scores: Vec<f32> = (0..size).map(|i| -(i as f32)).collect();
    metadata.insert("tokenizer.ggml.model", "llama");
    metadata.insert("tokenizer.ggml.tokens", pieces);
    metadata.insert("tokenizer.ggml.scores", scores);
    metadata.insert("tokenizer.ggml.token_type", kinds);
    metadata.insert("tokenizer.ggml.bos_token_id", 1u32);
    metadata.insert("tokenizer.ggml.eos_token_id", 2u32);
    metadata.insert("tokenizer.ggml.unknown_token_id", 0u32);
}

/// A random number below 2^24 for each `i`.
fn uniform(i: u32) -> u32 {
    (i.wrapping_mul(2_654_435_761) ^ i >> 7).wrapping_mul(2_246_822_519) >> 8
}

/// Blocks of values that look like weights: around zero, of the size that keeps activations
/// bounded.
fn random_blocks(dtype: DType) -> Vec<u8> {
    if !dtype.can_quantize() {
        return blocks_of_random_bits(dtype);
    }
    let value = |i: u32| (uniform(2 * i) + uniform(2 * i + 1)) as f32 / (1 << 24) as f32 - 1.0;
    let x: Vec<f32> = (0..VALUES as u32).map(|i| 0.04 * value(i)).collect();
    let mut blocks = vec![0; dtype.bytes_for(VALUES as u64).expect("whole blocks") as usize];
    dtype.quantize(&x, None, &mut blocks);
    blocks
}

/// Blocks of random bits, of which those are left out whose values are too large or all too small
/// for weights.
fn blocks_of_random_bits(dtype: DType) -> Vec<u8> {
    let (len, bytes) = (dtype.block_len(), dtype.block_bytes());
    let mut values = vec![0.0; len];
    let mut blocks = Vec::with_capacity(VALUES / len * bytes);
    let mut bits = (0..).map(|i| (uniform(i) >> 8) as u8);
    while blocks.len() < VALUES / len * bytes {
        let block: Vec<u8> = bits.by_ref().take(bytes).collect();
        dtype.dequantize(&block, &mut values);
        let most = values.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
        if values.iter().all(|v| v.is_finite()) && (0.02..=0.08).contains(&most) {
            blocks.extend(block);
        }
    }
    blocks
}
