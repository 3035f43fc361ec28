//! Adapters' files: what they say, what is refused by name, and damage, which never brings a
//! program down.

use bise_format::adapter::{Adapter, Origin, ScaledAdapter};
use bise_format::gguf::{GgufWriter, Metadata, TensorSpec, Value};
use bise_format::{LayerTensor, OpenError, TensorName, full_text};
use bise_kernels::block::DType;
use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value as Json, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name)
}

const QUERY: &str = "base_model.model.model.layers.0.self_attn.q_proj";

/// A folder with these tensors in F32, by names, shapes and values.
fn folder(config: Json, tensors: &[(String, Vec<usize>, Vec<f32>)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(.., values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (
            name.clone(),
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    let file = serialize(views.collect::<Vec<_>>(), None).unwrap();
    fs::write(folder.path().join("adapter_model.safetensors"), file).unwrap();
    folder
}

fn config() -> Json {
    json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]})
}

fn half(name: &str, shape: &[usize]) -> (String, Vec<usize>, Vec<f32>) {
    let count = shape.iter().product();
    (format!("{QUERY}.{name}"), shape.to_vec(), vec![0.5; count])
}

fn pair() -> Vec<(String, Vec<usize>, Vec<f32>)> {
    vec![half("lora_A.weight", &[2, 8]), half("lora_B.weight", &[4, 2])]
}

fn refused(folder: &TempDir, words: &[&str]) {
    let error = Adapter::open(folder.path()).err().expect("refused");
    let error = full_text(&error);
    for word in words {
        assert!(error.contains(word), "no `{word}` in {error}");
    }
}

#[test]
fn a_pair_and_what_it_says() {
    let tensors = pair();
    let folder = folder(config(), &tensors);
    for path in ["", "adapter_config.json", "adapter_model.safetensors"] {
        let path = folder.path().join(path);
        assert!(Adapter::is_at(&path));
        let (adapter, notes) = Adapter::open(&path).unwrap();
        assert!(notes.is_empty() && adapter.origin() == Origin::Peft);
        assert_eq!((adapter.base(), adapter.bytes()), (None, 4 * 24));
        let (target, pair) = adapter.pairs().first().unwrap();
        assert_eq!(*target, TensorName::Layer(0, LayerTensor::Query));
        assert_eq!((pair.rank(), pair.scale()), (2, 2.0));
        assert_eq!(pair.names()[0], format!("{QUERY}.lora_A.weight"));
    }
    assert!(!Adapter::is_at(&fixture("random/mistral-no-window")));
    assert!(!Adapter::is_at(&fixture("demo.gguf")));
}

#[test]
fn pairs_that_are_none() {
    let [a, b] = <[_; 2]>::try_from(pair()).unwrap();
    refused(&folder(config(), &[]), &["no tensors that change a model"]);
    refused(
        &folder(config(), std::slice::from_ref(&a)),
        &["lora_A.weight is half of a pair"],
    );
    refused(
        &folder(config(), std::slice::from_ref(&b)),
        &["lora_B.weight is half of a pair"],
    );
    let narrow = half("lora_B.weight", &[4, 3]);
    refused(
        &folder(config(), &[a.clone(), narrow]),
        &["of rank 3", "of rank 2"],
    );
    let three = [half("lora_A.weight", &[3, 8]), half("lora_B.weight", &[4, 3])];
    refused(
        &folder(config(), &three),
        &["of rank 3, expected 2", "adapter_config.json"],
    );
    let twice = half("lora_A.other.weight", &[2, 8]);
    refused(
        &folder(config(), &[a.clone(), b.clone(), twice]),
        &["for the same matrix"],
    );
    for bad in [f32::NAN, f32::INFINITY] {
        let mut wrong = b.clone();
        wrong.2[3] = bad;
        let words = ["lora_B.weight has", "row 1, column 1", "get it again"];
        refused(&folder(config(), &[a.clone(), wrong]), &words);
    }
    let vector = half("lora_A.weight", &[8]);
    refused(
        &folder(config(), &[vector, b.clone()]),
        &["expected a matrix in F32"],
    );
    let untargeted = json!({"peft_type": "LORA", "r": 2, "target_modules": ["v_proj"]});
    refused(&folder(untargeted, &[a, b]), &["no tensors that change a model"]);
}

#[test]
fn tensors_that_are_more_than_lora() {
    for (name, word) in [
        ("lora_magnitude_vector", "DoRA"),
        ("lora_B.bias", "bias"),
        ("modules_to_save.weight", "trained whole"),
        ("weight", "replaces a tensor"),
        ("base_layer.weight", "replaces a tensor"),
    ] {
        let mut tensors = pair();
        tensors.push(half(name, &[2, 2]));
        refused(&folder(config(), &tensors), &[name, word, "merge_and_unload"]);
    }
    let mut tensors = pair();
    tensors[0].0 = "base_model.model.model.layers.0.mlp.experts.lora_A.weight".to_owned();
    refused(
        &folder(config(), &tensors),
        &["fused experts", "target_parameters"],
    );
}

#[test]
fn folders_that_are_not_whole() {
    let folder = TempDir::new().unwrap();
    let refuse = |words: &[&str]| refused(&folder, words);
    refuse(&["there is no adapter_config.json"]);
    fs::write(folder.path().join("adapter_config.json"), config().to_string()).unwrap();
    refuse(&["adapter_model.safetensors"]);
    fs::write(folder.path().join("adapter_model.bin"), "PK").unwrap();
    refuse(&["PyTorch pickle (adapter_model.bin)", "save_pretrained"]);
    let weights = folder.path().join("adapter_model.safetensors");
    fs::write(&weights, "version https://git-lfs.github.com/spec/v1\n").unwrap();
    refuse(&["Git-LFS"]);
    fs::write(&weights, "").unwrap();
    refuse(&["empty"]);
    fs::write(folder.path().join("adapter_config.json"), "{").unwrap();
    refuse(&["not valid JSON"]);
    let error = Adapter::open(Path::new("/nowhere/at/all")).err().unwrap();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

/// PEFT saves embeddings along when they are adapted or have been resized: copies are of no weight,
/// others would make another model.
#[test]
fn embeddings_that_are_saved_along() {
    let (base, _) = bise_format::open(&fixture("random/mistral-no-window")).unwrap();
    let own = base.tensors["token_embd.weight"].to_vec();
    let updates = |name: &str, shape: &[usize], values: Vec<f32>| {
        let [a, b] = [("lora_A", [2, 64]), ("lora_B", [64, 2])].map(|(half, shape)| {
            (format!("{QUERY}.{half}.weight"), shape.to_vec(), vec![0.5; 128])
        });
        let along = (format!("base_model.model.{name}"), shape.to_vec(), values);
        let folder = folder(config(), &[a, b, along]);
        let (adapter, _) = Adapter::open(folder.path()).unwrap();
        let updates = ScaledAdapter {
            adapter,
            scale: 1.0,
        }
        .updates(&base, 16);
        updates.map(|updates| updates.len()).map_err(|e| e.to_string())
    };
    for name in [
        "model.embed_tokens.weight",
        "model.embed_tokens.base_layer.weight",
    ] {
        assert_eq!(updates(name, &[64, 64], own.clone()), Ok(1), "{name}");
        let mut other = own.clone();
        other[70] += 1.0;
        let resized = updates(name, &[65, 64], [&own[..], &[0.0; 64]].concat());
        for refused in [updates(name, &[64, 64], other), resized] {
            let error = refused.unwrap_err();
            assert!(
                error.contains(name) && error.contains("merge_and_unload"),
                "{error}"
            );
        }
    }
    assert!(updates("lm_head.weight", &[64, 64], own).is_err());
}

/// A GGUF file with these tensors, all values .5.
fn gguf(edit: impl FnOnce(&mut Metadata), tensors: &[(&str, &[u64], DType)]) -> (TempDir, PathBuf) {
    let mut metadata = Metadata::new();
    metadata.insert("general.type", "adapter");
    metadata.insert("general.architecture", "llama");
    metadata.insert("adapter.type", "lora");
    metadata.insert("adapter.lora.alpha", 4f32);
    edit(&mut metadata);
    let specs = tensors.iter().map(|(name, dims, dtype)| TensorSpec {
        name: (*name).to_owned(),
        dims: dims.to_vec(),
        dtype: *dtype,
    });
    let mut writer = GgufWriter::new(Vec::new(), &metadata, specs).unwrap();
    for (name, dims, dtype) in tensors {
        let values = vec![0.5f32; dims.iter().product::<u64>() as usize];
        let mut bytes = vec![0; dtype.bytes_for(values.len() as u64).unwrap() as usize];
        dtype.quantize(&values, None, &mut bytes);
        writer.write_tensor(name, &bytes).unwrap();
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("adapter.gguf");
    fs::write(&path, writer.finish().unwrap()).unwrap();
    (folder, path)
}

const A: (&str, &[u64], DType) = ("blk.0.attn_q.weight.lora_a", &[64, 32], DType::F32);
const B: (&str, &[u64], DType) = ("blk.0.attn_q.weight.lora_b", &[32, 64], DType::F32);

#[test]
fn gguf_says_the_same() {
    let (_folder, path) = gguf(|_| {}, &[A, B]);
    assert!(Adapter::is_at(&path));
    let (adapter, _) = Adapter::open(&path).unwrap();
    let pair = &adapter.pairs()[0];
    assert_eq!(
        (adapter.origin(), pair.rank(), pair.scale()),
        (Origin::Gguf, 32, 0.125)
    );
    // Without an alpha, the scale is that of the user.
    for edit in [
        |metadata: &mut Metadata| drop(metadata.remove("adapter.lora.alpha")),
        |metadata: &mut Metadata| drop(metadata.insert("adapter.lora.alpha", 0f32)),
    ] {
        let (_folder, path) = gguf(edit, &[A, B]);
        assert_eq!(Adapter::open(&path).unwrap().0.pairs()[0].scale(), 1.0);
    }
    // Of 8 bits, values are the same within their rounding; of fewer it is refused.
    let of = |dtype| gguf(|_| {}, &[(A.0, A.1, dtype), (B.0, B.1, dtype)]);
    let (_folder, path) = of(DType::from_name("Q8_0").unwrap());
    let (adapter, _) = Adapter::open(&path).unwrap();
    assert!(
        adapter.pairs()[0]
            .a()
            .to_vec()
            .iter()
            .all(|value| (value - 0.5).abs() < 0.01)
    );
    let (_folder, path) = of(DType::from_name("Q4_0").unwrap());
    let error = full_text(&Adapter::open(&path).err().unwrap());
    assert!(error.contains("Q4_0, expected one of 8 bits or more"), "{error}");
}

#[test]
fn gguf_that_is_no_lora() {
    type Edit = fn(&mut Metadata);
    let cases: [(Edit, &[_], &str); 9] = [
        (
            |m| drop(m.remove("general.type")),
            &[A, B],
            "general.type is 'model'",
        ),
        (
            |m| drop(m.insert("adapter.type", "other")),
            &[A, B],
            "adapter.type is 'other'",
        ),
        (
            |m| drop(m.insert("adapter.alora.invocation_tokens", vec![1u32])),
            &[A, B],
            "adapter.alora.invocation_tokens",
        ),
        (
            |m| drop(m.insert("adapter.lora.alpha", f32::NAN)),
            &[A, B],
            "adapter.lora.alpha is NaN",
        ),
        (|_| {}, &[], "no tensors that change a model"),
        (|_| {}, &[A], "half of a pair"),
        (
            |_| {},
            &[A, B, ("blk.0.attn_norm.weight", &[64], DType::F32)],
            "replaces a tensor",
        ),
        (
            |_| {},
            &[("blk.0.attn_qkv.weight.lora_a", &[64, 32], DType::F32)],
            "no matrix of a Mistral",
        ),
        (
            |_| {},
            &[("blk.0.ffn_up_exps.weight.lora_a", &[64, 32], DType::F32)],
            "one for each expert",
        ),
    ];
    for (edit, tensors, word) in cases {
        let (_folder, path) = gguf(edit, tensors);
        let error = full_text(&Adapter::open(&path).err().expect(word));
        assert!(error.contains(word) && error.contains("adapter.gguf"), "{error}");
    }
    let (_folder, path) = gguf(
        |metadata| drop(metadata.insert("general.architecture", Value::from("qwen3"))),
        &[A, B],
    );
    let (adapter, _) = Adapter::open(&path).unwrap();
    let (base, _) = bise_format::open(&fixture("random/mistral-no-window")).unwrap();
    let error = ScaledAdapter {
        adapter,
        scale: 1.0,
    }
    .updates(&base, 16)
    .unwrap_err();
    assert!(error.to_string().contains("'qwen3'"), "{error}");
}

/// Opens what is there, and holds it against a model.
fn try_all(path: &Path) {
    let (base, _) = bise_format::open(&fixture("random/mistral-no-window")).unwrap();
    let _ = Adapter::is_at(path);
    if let Ok((adapter, _)) = Adapter::open(path) {
        for head_dim in [0, 1, 16] {
            let _ = ScaledAdapter {
                adapter: adapter.clone(),
                scale: 1.0,
            }
            .updates(&base, head_dim);
        }
    }
}

/// Bytes that are changed, and where the file ends.
fn damage() -> impl Strategy<Value = (Vec<(usize, u8)>, Option<usize>)> {
    let changes = proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6);
    (changes, proptest::option::of(any::<usize>()))
}

fn damaged(mut bytes: Vec<u8>, (changes, end): (Vec<(usize, u8)>, Option<usize>)) -> Vec<u8> {
    let header = bytes.len().min(4096);
    for (at, byte) in changes {
        bytes[at % header] = byte;
    }
    if let Some(end) = end {
        bytes.truncate(end % bytes.len());
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_files_are_refused_or_read(
        which in prop_oneof![Just("plain"), Just("ranks"), Just("outside")],
        weights in any::<bool>(), damage in damage(),
    ) {
        let folder = TempDir::new().unwrap();
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            let bytes = fs::read(fixture("adapters").join(which).join(name)).unwrap();
            let bytes = if weights == name.ends_with("safetensors") { damaged(bytes, damage.clone()) } else { bytes };
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        try_all(folder.path());
    }

    #[test]
    fn damaged_gguf_is_refused_or_read(
        which in prop_oneof![Just("plain"), Just("outside"), Just("experts")], damage in damage(),
    ) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("adapter.gguf");
        let bytes = fs::read(fixture("adapters/gguf").join(format!("{which}.gguf"))).unwrap();
        fs::write(&path, damaged(bytes, damage)).unwrap();
        try_all(&path);
    }

    /// Any values of any entries: an error, or an adapter.
    #[test]
    fn any_configuration_is_refused_or_read(
        entries in proptest::collection::vec((0usize..12, 0usize..14), 1..5),
    ) {
        const KEYS: [&str; 12] = [
            "peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "target_modules", "exclude_modules",
            "layers_to_transform", "layers_pattern", "use_rslora", "bias", "init_lora_weights",
        ];
        let values = [
            json!(null), json!(true), json!(0), json!(-1), json!(1e308), json!(1u64 << 63), json!(""), json!("a("),
            json!([]), json!(["q_proj", 1]), json!({}), json!({"q_proj": 0}), json!({"(": 1}), json!({".*": -1e308}),
        ];
        let mut config = config();
        for (key, value) in entries {
            config[KEYS[key]] = values[value].clone();
        }
        try_all(folder(config, &pair()).path());
    }
}
