//! Files of every type, by llama.cpp's quantizer and PyPI gguf's writer.
//!
//! `tools/fixtures/type_models.py` made them: one layer, all matrices of one type.

mod common;

use bise_format::gguf::{Gguf, GgufWriter, TensorSpec};
use bise_kernels::block::DType;
use bise_kernels::isa::Level;
use bise_kernels::mmap::FileBytes;
use bise_model::{Config, ContextOptions, KvType, Model};
use common::{bits, logits, type_file};

const TOKENS: [u32; 24] = [
    1, 5, 63, 9, 9, 0, 17, 40, 2, 33, 8, 21, 60, 4, 51, 12, 7, 3, 29, 44, 38, 16, 55, 26,
];

/// The types that files have.
fn of_files() -> impl Iterator<Item = DType> {
    DType::ALL.iter().copied().filter(|dtype| dtype.id().is_some())
}

fn options() -> ContextOptions {
    ContextOptions {
        kv: KvType::F32,
        ..ContextOptions::new(TOKENS.len())
    }
}

/// How far logits of quantized weights may lie from those of the same weights in F32: the root mean
/// square of the difference, relative to that of the logits.
///
/// Quantized weights meet activations in steps of `d = amax / 127` for 32 of them, which errs by `d
/// / sqrt(12)`, and `amax` is at most `sqrt(32)` times their root mean square. A product passes
/// that error on. In a layer attention's matrices, its output, gate and up, and down round
/// activations each once, and the output matrix once more; their errors are independent, so squares
/// add. Softmax and SwiGLU at most double what comes in.
fn bound(config: &Config) -> f64 {
    let product = 32f64.sqrt() / 127.0 / 12f64.sqrt();
    2.0 * product * (4.0 * config.layers.len() as f64 + 1.0).sqrt()
}

/// The same model with every tensor dequantized.
fn dequantized(file: &FileBytes) -> Model {
    let gguf = Gguf::parse(file).unwrap();
    let specs: Vec<TensorSpec> = gguf
        .tensors
        .values()
        .map(|info| TensorSpec {
            name: info.name.clone(),
            dims: info.dims.clone(),
            dtype: DType::F32,
        })
        .collect();
    let mut writer = GgufWriter::new(Vec::new(), &gguf.metadata, specs).unwrap();
    for info in gguf.tensors.values() {
        let values = gguf.view(file, info).to_vec();
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        writer.write_part(&info.name, &bytes).unwrap();
    }
    Model::from_bytes(FileBytes::from_vec(writer.finish().unwrap())).unwrap()
}

#[test]
fn logits_are_those_of_the_dequantized_weights() {
    for dtype in of_files() {
        let file = type_file(dtype);
        let model = Model::from_bytes(file.clone()).unwrap();
        let matrices = model
            .checkpoint()
            .tensors
            .values()
            .filter(|t| t.shape().len() == 2);
        assert_eq!(matrices.filter(|t| t.dtype() == dtype).count(), 9, "{dtype}");
        let got = logits(&model, &TOKENS, options());
        let expected = logits(&dequantized(&file), &TOKENS, options());
        if !dtype.is_quantized() {
            assert!(bits(&got) == bits(&expected), "{dtype}");
            continue;
        }
        let square = |values: &mut dyn Iterator<Item = f32>| {
            values.map(|v| f64::from(v).powi(2)).sum::<f64>()
        };
        let difference = square(&mut got.iter().zip(&expected).map(|(a, b)| a - b));
        let relative = (difference / square(&mut expected.iter().copied())).sqrt();
        let bound = bound(model.config());
        assert!(relative <= bound, "{dtype}: {relative}, bound {bound}");
        assert!(relative > 0.0, "{dtype}: activations are rounded");
    }
}

#[test]
fn every_level_and_batch_gives_the_same_bits() {
    for dtype in of_files() {
        let model = Model::from_bytes(type_file(dtype)).unwrap();
        let at = |level, batch| {
            let options = ContextOptions {
                level,
                prefill_chunk: batch,
                ..options()
            };
            bits(&logits(&model, &TOKENS, options))
        };
        let expected = at(Level::SCALAR, 1);
        for level in Level::available() {
            for batch in [1, 5, 24] {
                assert!(
                    at(level, batch) == expected,
                    "{dtype}: {level}, batches of {batch}"
                );
            }
        }
    }
}
