//! Mistral's own directories: `params.json`, `consolidated*.safetensors`, and a tokenizer.
//!
//! ```text
//! layers.N.attention.wq.weight              rows already in the order of GGUF
//! layers.N.feed_forward.w1.weight           of a Mistral
//! layers.N.feed_forward.experts.E.w1.weight of a Mixtral
//! layers.N.block_sparse_moe.w1              of an older one: [experts * hidden_dim, dim], w2 too, which is thus transposed
//! ```

use crate::error::OpenError;
use crate::expected::{Expected, Layout, Stacking, has_output};
use crate::fp8;
use crate::hf::{Config, Family, Files, Shards, Wrapping};
use crate::llama::LATENT;
use crate::small_file::read_bounded_json;
use crate::{FfnMatrix, LayerTensor, TensorName};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;

const PARAMS: &str = "params.json";
const STEM: &str = "consolidated";
/// Positions, when the file does not tell.
const CONTEXT: u64 = 32768;

/// `params.json`, as far as it matters. What it leaves out has the meaning that Mistral's own code
/// gives it.
#[derive(Deserialize)]
struct Params {
    dim: u64,
    n_layers: u64,
    hidden_dim: u64,
    n_heads: u64,
    n_kv_heads: Option<u64>,
    head_dim: Option<u64>,
    norm_eps: Option<f32>,
    vocab_size: Option<i64>,
    rope_theta: Option<f32>,
    sliding_window: Option<Windows>,
    #[serde(rename = "_sliding_window")]
    window_pattern: Option<Windows>,
    yarn: Option<Yarn>,
    llama_4_scaling: Option<Llama4Scaling>,
    vision_encoder: Option<Value>,
    multimodal: Option<Value>,
    moe: Option<Moe>,
    max_seq_len: Option<u64>,
    model_max_length: Option<u64>,
    max_position_embeddings: Option<u64>,
    tied_embeddings: Option<bool>,
    tie_word_embeddings: Option<bool>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct Moe {
    num_experts: u64,
    num_experts_per_tok: u64,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// How frequencies are scaled. All but `apply_scale` must be there: what is absent has no meaning
/// that all programs share.
#[derive(Deserialize)]
struct Yarn {
    factor: f32,
    original_max_position_embeddings: u64,
    /// Turns from which on a frequency stays.
    beta: f32,
    /// Turns up to which one is divided.
    alpha: f32,
    /// Whether rotated values are multiplied as YaRN's authors do.
    apply_scale: Option<bool>,
}

/// How queries grow with their position.
#[derive(Deserialize)]
struct Llama4Scaling {
    original_max_position_embeddings: u64,
    beta: f32,
}

/// One window, or those of layers, which repeat.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number of keys, null, or a list of them, in sliding_window"
)]
enum Windows {
    All(Window),
    Layers(Vec<Option<Window>>),
}

/// Keys that a query sees, its own included.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Window {
    Number(u64),
    Text(String),
}

impl Windows {
    fn of_layers(self) -> Result<Vec<Option<u64>>, String> {
        let windows = match self {
            Self::All(window) => vec![Some(window)],
            Self::Layers(windows) => windows,
        };
        let keys = |window: Option<Window>| {
            let Some(window) = window else { return Ok(None) };
            let keys = match window {
                Window::Number(keys) => keys,
                Window::Text(text) => text.trim().parse().map_err(|_| {
                    format!("sliding_window is {text:?}, expected a number of keys, or null")
                })?,
            };
            match keys {
                1..=LARGEST_WINDOW => Ok(Some(keys)),
                _ => Err(format!(
                    "sliding_window is {keys}, expected 1 to {LARGEST_WINDOW}"
                )),
            }
        };
        windows.into_iter().map(keys).collect()
    }
}

const LARGEST_WINDOW: u64 = 1 << 31;

/// What other kinds of models say of themselves.
const UNSUPPORTED: [&str; 7] = [
    "lora",
    "rope_scaling",
    "q_lora_rank",
    "kv_lora_rank",
    "use_biases",
    "num_shared_experts",
    "first_k_dense_replace",
];

/// Whether `directory` has this layout, and not Hugging Face's too.
pub(crate) fn is_native(directory: &Path) -> bool {
    let has = |name: &str| directory.join(name).exists();
    has(PARAMS) && !(has("config.json") && Files::are_there(directory, "model"))
}

/// The model in `directory`.
pub(crate) fn layout(directory: &Path, notes: &mut Vec<String>) -> Result<Layout, OpenError> {
    let path = directory.join(PARAMS);
    let unsupported = |what: String| OpenError::unsupported(&path, what);
    let json: Value =
        read_bounded_json(&path)?.ok_or_else(|| unsupported("the file has gone".to_owned()))?;
    let params: Params = serde_json::from_value(json).map_err(|e| OpenError::json(&path, e))?;
    let shards = Shards::open(directory, STEM, notes)?;
    let config = config(params, &shards).map_err(unsupported)?;
    Ok(Layout {
        name: "Mistral",
        config,
        shards,
        expected,
    })
}

fn config(params: Params, shards: &Shards) -> Result<Config, String> {
    let moe = params.moe.as_ref();
    let rest = params.rest.iter().chain(moe.iter().flat_map(|moe| &moe.rest));
    for (key, value) in rest {
        let off = matches!(value, Value::Null | Value::Bool(false)) || value == 0;
        if !off && UNSUPPORTED.contains(&key.as_str()) {
            let latent = ["q_lora_rank", "kv_lora_rank"].contains(&key.as_str());
            let more = if latent { LATENT } else { "" };
            return Err(format!("{key} is {value}, which is not supported{more}"));
        }
    }
    let windows = params.window_pattern.or(params.sliding_window);
    let windows = windows.map_or(Ok(vec![None]), Windows::of_layers)?;
    let said = |key: &str| params.rest.get(key).unwrap_or(&Value::Null);
    let quantization = fp8::native(said("quantization"), said("quantization_config"))?;
    let context = params.max_seq_len.or(params.model_max_length);
    let context = context.or(params.max_position_embeddings).unwrap_or(CONTEXT);
    let tied = params.tied_embeddings.or(params.tie_word_embeddings);
    // Files of the first models leave the frequency to the code.
    let old = windows.iter().any(Option::is_some);
    let theta = params.rope_theta.unwrap_or(if old { 1e4 } else { 1e6 });
    let rope = rope(theta, params.yarn, params.llama_4_scaling)?;
    let rows = |name: &str| shards.get(name).and_then(|stored| stored.shape.first().copied());
    let vocabulary = params.vocab_size.and_then(|size| u64::try_from(size).ok());
    let vocabulary = vocabulary
        .or_else(|| rows(EMBEDDINGS))
        .ok_or_else(|| format!("no vocab_size, and no tensor {EMBEDDINGS}"))?;
    let config = json!({
        "hidden_size": params.dim, "intermediate_size": params.hidden_dim, "num_hidden_layers": params.n_layers,
        "num_attention_heads": params.n_heads, "num_key_value_heads": params.n_kv_heads, "head_dim": params.head_dim,
        "vocab_size": vocabulary, "max_position_embeddings": context,
        "rms_norm_eps": params.norm_eps.unwrap_or(1e-5), "rope_parameters": rope,
        "tie_word_embeddings": tied.unwrap_or(false), "num_local_experts": moe.map(|moe| moe.num_experts),
        "num_experts_per_tok": moe.map(|moe| moe.num_experts_per_tok),
        "quantization_config": quantization,
    });
    let family = if moe.is_some() {
        Family::Mixtral
    } else {
        Family::Mistral
    };
    let sees = [params.vision_encoder, params.multimodal].into_iter().flatten();
    let wrapping = match sees.into_iter().any(|part| part != Value::Bool(false)) {
        true => Wrapping::Vision,
        false => Wrapping::None,
    };
    Config::native(config, (family, wrapping), &windows)
}

/// The same in Hugging Face's words.
fn rope(
    theta: f32,
    yarn: Option<Yarn>,
    temperature: Option<Llama4Scaling>,
) -> Result<Value, String> {
    let mut rope = json!({ "rope_theta": theta });
    if let Some(yarn) = &yarn {
        let numbers = [
            ("factor", yarn.factor),
            ("beta", yarn.beta),
            ("alpha", yarn.alpha),
        ];
        if let Some((name, found)) = numbers.iter().find(|(_, x)| !(1e-6..=1e6).contains(x)) {
            return Err(format!(
                "yarn.{name} is {found}, expected a number from 1e-6 to 1e6"
            ));
        }
    }
    if let Some(Llama4Scaling {
        original_max_position_embeddings: length,
        beta,
    }) = temperature
    {
        let of_yarn = yarn.as_ref().map(|yarn| yarn.original_max_position_embeddings);
        if let Some(other) = of_yarn.filter(|&other| other != length) {
            return Err(format!(
                "llama_4_scaling.original_max_position_embeddings is {length}, but yarn's is {other}: GGUF has one key for both"
            ));
        }
        rope["original_max_position_embeddings"] = length.into();
        rope["llama_4_scaling_beta"] = beta.into();
    }
    if let Some(yarn) = yarn {
        rope["rope_type"] = "yarn".into();
        rope["factor"] = yarn.factor.into();
        rope["original_max_position_embeddings"] = yarn.original_max_position_embeddings.into();
        (rope["beta_fast"], rope["beta_slow"]) = (yarn.beta.into(), yarn.alpha.into());
        // Absent, it is so in the engine that Mistral publishes its models for.
        if !yarn.apply_scale.unwrap_or(true) {
            rope["attention_factor"] = 1.into();
        }
    }
    Ok(rope)
}

/// Mistral's name of the embeddings.
const EMBEDDINGS: &str = "tok_embeddings.weight";
/// Mistral's name of the output matrix.
pub(crate) const OUTPUT: &str = "output.weight";

/// Every tensor of the model, in the order of the output, by the names that `shards` have.
fn expected(config: &Config, shards: &Shards) -> Vec<Expected> {
    let (d, vocab) = (config.hidden_size, config.vocab_size);
    let one = |gguf, source: &str, shape: &[u64]| Expected::new(gguf, source.into(), shape);
    let mut tensors = vec![one(TensorName::Embedding, EMBEDDINGS, &[vocab, d])];
    for n in 0..config.num_hidden_layers {
        attention(config, n, &mut tensors);
        tensors.push(one(
            TensorName::Layer(n, LayerTensor::FfnNorm),
            &format!("layers.{n}.ffn_norm.weight"),
            &[d],
        ));
        match config.experts() {
            None => dense(config, n, &mut tensors),
            Some(experts) => mixture(config, shards, (n, experts), &mut tensors),
        }
    }
    tensors.push(one(TensorName::OutputNorm, "norm.weight", &[d]));
    if has_output(config, shards, OUTPUT, EMBEDDINGS) {
        tensors.push(one(TensorName::Output, OUTPUT, &[vocab, d]));
    }
    tensors
}

fn attention(config: &Config, n: u64, tensors: &mut Vec<Expected>) {
    let (d, head_dim) = (config.hidden_size, config.head_dim());
    let q = config.num_attention_heads * head_dim;
    let kv = config.num_key_value_heads() * head_dim;
    #[rustfmt::skip]
    let table = [
        (LayerTensor::AttentionNorm,   "attention_norm", vec![d]),
        (LayerTensor::Query,           "attention.wq",   vec![q, d]),
        (LayerTensor::Key,             "attention.wk",   vec![kv, d]),
        (LayerTensor::Value,           "attention.wv",   vec![kv, d]),
        (LayerTensor::AttentionOutput, "attention.wo",   vec![d, q]),
    ];
    for (gguf, source, shape) in table {
        let source = format!("layers.{n}.{source}.weight");
        tensors.push(Expected::new(TensorName::Layer(n, gguf), source, &shape));
    }
}

/// The matrix, Mistral's name of it, and whether the outputs are the hidden values.
const FEED_FORWARD: [(FfnMatrix, &str, bool); 3] = [
    (FfnMatrix::Gate, "w1", true),
    (FfnMatrix::Up, "w3", true),
    (FfnMatrix::Down, "w2", false),
];

fn dense(config: &Config, n: u64, tensors: &mut Vec<Expected>) {
    let (d, f) = (config.hidden_size, config.intermediate_size);
    for (matrix, name, wide) in FEED_FORWARD {
        let gguf = TensorName::Layer(n, LayerTensor::Ffn(matrix));
        let source = format!("layers.{n}.feed_forward.{name}.weight");
        let shape = if wide { [f, d] } else { [d, f] };
        tensors.push(Expected::new(gguf, source, &shape));
    }
}

fn mixture(
    config: &Config,
    shards: &Shards,
    (n, experts): (u64, u64),
    tensors: &mut Vec<Expected>,
) {
    let (d, f) = (config.hidden_size, config.intermediate_size);
    let modules = ["feed_forward", "block_sparse_moe"].map(|module| format!("layers.{n}.{module}"));
    // The first of the names that is there, else the first.
    let there = |names: Vec<String>| {
        let found = names.iter().position(|name| shards.get(name).is_some());
        names.into_iter().nth(found.unwrap_or(0)).expect("several names")
    };
    let gate = there(modules.each_ref().map(|m| format!("{m}.gate.weight")).to_vec());
    tensors.push(Expected::new(
        TensorName::Layer(n, LayerTensor::Router),
        gate,
        &[experts, d],
    ));
    for (matrix, name, wide) in FEED_FORWARD {
        let gguf = TensorName::Layer(n, LayerTensor::Experts(matrix));
        let alone = |e| {
            there(
                modules
                    .each_ref()
                    .map(|m| format!("{m}.experts.{e}.{name}.weight"))
                    .to_vec(),
            )
        };
        let stacked = modules
            .iter()
            .flat_map(|m| [format!("{m}.{name}"), format!("{m}.{name}.weight")]);
        let stacked = there(stacked.collect());
        let shape = if wide { [f, d] } else { [d, f] };
        let expected = match shards.get(&stacked) {
            None => Expected {
                sources: (0..experts).map(alone).collect(),
                stacking: Stacking::Parts,
                ..Expected::new(gguf, String::new(), &shape)
            },
            // Hidden values are rows in all three, unless a newer program has turned w2 as its
            // product needs it.
            Some(stored) if wide || f != d && stored.shape == [experts * d, f] => Expected {
                stacking: Stacking::Rows,
                ..Expected::new(gguf, stacked, &[experts * shape[0], shape[1]])
            },
            Some(_) => Expected {
                stacking: Stacking::Columns,
                ..Expected::new(gguf, stacked, &[experts * f, d])
            },
        };
        tensors.push(expected);
    }
}
