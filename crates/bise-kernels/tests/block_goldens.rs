//! Formats against independent software: PyPI `gguf` (quants.py) and llama.cpp's own quantizer.
//!
//! `tools/fixtures/block_vectors.py` made the vectors and says what each holds.

use bise_kernels::block::DType;
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::LazyLock;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/blocks")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| fixture("vectors.safetensors"));
static VECTORS: LazyLock<SafeTensors<'static>> =
    LazyLock::new(|| SafeTensors::deserialize(&FILE).expect("a safetensors file"));
static REFERENCE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_slice(&fixture("reference.json")).expect("JSON"));

/// The bytes of a tensor, or `None` when the reference has nothing to say.
fn bytes(name: &str) -> Option<&'static [u8]> {
    VECTORS.tensor(name).ok().map(|t| t.data())
}

/// An F32 or F16 tensor's values.
fn values(name: &str) -> Vec<f32> {
    let tensor = VECTORS.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let stored = match tensor.dtype() {
        safetensors::Dtype::F32 => DType::F32,
        safetensors::Dtype::F16 => DType::F16,
        other => panic!("{name} is {other:?}"),
    };
    dequantize(stored, tensor.data())
}

fn dequantize(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; bytes.len() / dtype.block_bytes() * dtype.block_len()];
    dtype.dequantize(bytes, &mut out);
    out
}

fn quantize(dtype: DType, x: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
    let mut out = vec![0; x.len() / dtype.block_len() * dtype.block_bytes()];
    dtype.quantize(x, importance, &mut out);
    out
}

#[track_caller]
fn assert_same_bits(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(
            a.to_bits(),
            b.to_bits(),
            "{what}: value {i} is {a:e}, quants.py has {b:e}"
        );
    }
}

/// The types that GGML has.
fn of_ggml() -> impl Iterator<Item = DType> {
    DType::ALL.iter().copied().filter(|dtype| dtype.id().is_some())
}

#[test]
fn registry_agrees_with_gguf_constants() {
    let types = REFERENCE["types"].as_array().expect("a list");
    assert_eq!(types.len(), of_ggml().count(), "the script knows every type");
    for (theirs, dtype) in types.iter().zip(of_ggml()) {
        assert_eq!(theirs["name"], dtype.name());
        let id = dtype.id().expect("a type of GGML");
        assert_eq!(theirs["id"], id, "{dtype}");
        assert_eq!(theirs["block_len"], dtype.block_len(), "{dtype}");
        assert_eq!(theirs["block_bytes"], dtype.block_bytes(), "{dtype}");
        assert_eq!(DType::from_id(id), Some(dtype));
        assert_eq!(DType::from_name(&dtype.name().to_lowercase()), Some(dtype));
    }
}

#[test]
fn dequantizes_random_blocks_to_the_same_bits() {
    for dtype in of_ggml() {
        let blocks = bytes(&format!("{dtype}.random")).expect("random blocks of every type");
        let theirs = values(&format!("{dtype}.random.values"));
        assert_same_bits(dtype.name(), &dequantize(dtype, blocks), &theirs);
    }
}

#[test]
fn dequantizes_what_llama_cpp_quantized() {
    for &dtype in DType::ALL.iter().filter(|t| t.is_quantized()) {
        let blocks = bytes(&format!("{dtype}.llama")).expect("blocks of every quantized type");
        let theirs = values(&format!("{dtype}.llama.values"));
        assert_same_bits(dtype.name(), &dequantize(dtype, blocks), &theirs);
    }
}

#[test]
fn quantizes_to_the_same_bytes_as_gguf() {
    let x = values("hostile");
    let mut seen = 0;
    for &dtype in DType::ALL {
        let Some(theirs) = bytes(&format!("{dtype}.gguf")) else {
            continue;
        };
        seen += 1;
        let ours = quantize(dtype, &x, None);
        let (len, size) = (dtype.block_len(), dtype.block_bytes());
        for (i, (a, b)) in ours.chunks(size).zip(theirs.chunks(size)).enumerate() {
            let x = &x[i * len..(i + 1) * len];
            assert_eq!(a, b, "{dtype} block {i} (row {}): {x:?}", i * len / 256);
        }
        assert_eq!(ours.len(), theirs.len());
    }
    assert_eq!(seen, 7, "F16, BF16 and five quantized types");
}

#[test]
fn swaps_the_fields_that_gguf_convert_endian_swaps() {
    let mut seen = 0;
    for &dtype in DType::ALL {
        let Some(big) = bytes(&format!("{dtype}.swapped")) else {
            continue;
        };
        seen += 1;
        let mut ours = big.to_vec();
        dtype.swap_endian(&mut ours);
        assert_eq!(Some(&ours[..]), bytes(&format!("{dtype}.random")), "{dtype}");
    }
    let expected = "three plain types, Q4_0, Q8_0, Q4_K, Q6_K, MXFP4 and NVFP4";
    assert_eq!(seen, 9, "{expected}");
}

/// Root of the weighted mean squared error.
fn rmse(x: &[f32], y: &[f32], weights: Option<&[f32]>) -> f64 {
    let weight = |i: usize| weights.map_or(1.0, |w| f64::from(w[i]));
    let error = |i: usize| (f64::from(x[i]) - f64::from(y[i])).powi(2);
    let (sum, total) = (0..x.len()).fold((0.0, 0.0), |(sum, total), i| {
        (sum + weight(i) * error(i), total + weight(i))
    });
    (sum / total).sqrt()
}

#[test]
fn searched_formats_err_no_more_than_llama_cpp() {
    let importance = values("importance");
    let cases = [
        ("gaussian", "gaussian", false),
        ("heavy", "heavy", false),
        ("weighted", "gaussian", true),
    ];
    let references = REFERENCE["rmse"].as_object().expect("types");
    assert_eq!(references.len(), 7);
    for (name, theirs) in references {
        let dtype = DType::from_name(name).expect("a known type");
        for (case, input, weighted) in cases {
            let x = values(input);
            let weights: Vec<f32> = importance.iter().copied().cycle().take(x.len()).collect();
            let weights = weighted.then_some(&weights[..]);
            let ours = rmse(&x, &dequantize(dtype, &quantize(dtype, &x, weights)), weights);
            let theirs = theirs[case].as_f64().expect("a number");
            assert!(ours <= theirs, "{dtype} {case}: {ours:e}, llama.cpp {theirs:e}");
        }
    }
}
