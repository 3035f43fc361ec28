//! A weight that is no number, and values that no format holds: an error that says where, never
//! text.

mod common;

use bise_format::gguf::Gguf;
use bise_kernels::mmap::FileBytes;
use bise_model::{Context, ContextOptions, ForwardError, KvType, LoadError, Model};
use common::{file, fixture, type_file};

/// Tokens of the fixtures' vocabularies; the third is the one whose embedding is damaged.
const TOKENS: [u32; 12] = [1, 40, 41, 42, 43, 44, 50, 51, 52, 60, 61, 62];

/// Writes the two bytes `half` into row `row` of a tensor, `at` bytes behind its beginning.
fn damage(file: &mut [u8], tensor: &str, row: usize, at: usize, half: u16) {
    let gguf = Gguf::parse(file).unwrap();
    let info = gguf.tensor(tensor).unwrap_or_else(|| panic!("{tensor} is there"));
    let rows = info.dims[1..].iter().product::<u64>();
    let place = (gguf.data_offset + info.offset + row as u64 * (info.len / rows)) as usize + at;
    file[place..place + 2].copy_from_slice(&half.to_le_bytes());
}

fn open(file: Vec<u8>) -> Result<Model, LoadError> {
    Model::from_bytes(FileBytes::from_vec(file))
}

/// What is said of the model when it is loaded, or else when it has read [`TOKENS`] in batches of
/// `batch`.
fn complaint(model: Result<Model, LoadError>, batch: usize, kv: KvType) -> Option<String> {
    let model = match model {
        Ok(model) => model,
        Err(error) => return Some(error.to_string()),
    };
    let options = ContextOptions {
        prefill_chunk: batch,
        kv,
        ..ContextOptions::new(64)
    };
    let mut context = Context::new(&model, options).unwrap();
    let all = context.forward_all(&TOKENS, |logits| assert!(logits.iter().all(|l| l.is_finite())));
    context.clear();
    let last = context
        .forward(&TOKENS)
        .map(|logits| assert!(logits[0].is_finite()));
    assert_eq!(all, last);
    all.err().map(|error| error.to_string())
}

#[test]
fn a_bad_weight_is_named_with_tensor_row_and_block() {
    // A type, where in a block its scale is, and what is bad as a scale or weight.
    let halves = [
        ("Q8_0", 0),
        ("Q4_0", 0),
        ("Q4_1", 2),
        ("Q4_K", 2),
        ("Q6_K", 208),
        ("F16", 0),
        ("BF16", 0),
    ];
    for (target, at) in halves {
        let good = file("tiny-mistral", target);
        assert_eq!(complaint(open(good.clone()), 512, KvType::F16), None, "{target}");
        for (tensor, row) in [
            ("token_embd.weight", TOKENS[2] as usize),
            ("output.weight", 5),
            ("blk.0.attn_k.weight", 1),
            ("blk.1.ffn_down.weight", 3),
        ] {
            let mut bad = good.clone();
            // The output's type may be another.
            let dtype = Gguf::parse(&bad).unwrap().tensor(tensor).unwrap().dtype;
            let at = match dtype.name() {
                "Q6_K" => 208,
                name if name == target => at,
                _ => 0,
            };
            damage(&mut bad, tensor, row, at, 0xffc0);
            for batch in [3, 512] {
                let said = complaint(open(bad.clone()), batch, KvType::F16).unwrap_or_default();
                let (place, row) = (
                    format!("tensor '{tensor}' has NaN"),
                    format!("row {row}, column 0 (block 0"),
                );
                assert!(
                    said.contains(&place) && said.contains(&row),
                    "{target}, {tensor}: {said:?}"
                );
            }
        }
    }
}

/// Norms are looked at when they are loaded, weights that stay in the file's rows when something is
/// wrong.
#[test]
fn norms_routers_and_experts_are_named() {
    let good = file("tiny-mixtral", "F16");
    for (tensor, row, at, place) in [
        ("blk.0.attn_norm.weight", 0, 2, "row 0"),
        ("output_norm.weight", 0, 2, "row 0"),
        ("blk.1.ffn_gate_inp.weight", 1, 2, "layer 1, ffn_gate_inp"),
        ("blk.0.ffn_up_exps.weight", 0, 0, "layer 0, ffn_up, expert 0"),
        ("blk.0.attn_v.weight", 0, 0, "layer 0, attn_v"),
    ] {
        let mut bad = good.clone();
        damage(&mut bad, tensor, row, at, 0x7fc0);
        let said = complaint(open(bad), 512, KvType::F16).unwrap_or_default();
        assert!(
            said.contains(place) && said.contains(&format!("tensor '{tensor}' has NaN")),
            "{said}"
        );
    }
}

/// Types that are only read: any block of them that is no number.
#[test]
fn coded_types_are_looked_at_when_something_is_wrong() {
    for dtype in [
        bise_kernels::block::DType::IQ2_XS,
        bise_kernels::block::DType::IQ3_S,
    ] {
        let good = type_file(dtype);
        let gguf = Gguf::parse(&good).unwrap();
        let info = gguf
            .tensors
            .values()
            .find(|info| info.dtype == dtype && info.name.contains("ffn_down"));
        let info = info.unwrap_or_else(|| panic!("{dtype} is there"));
        let mut bad = good.to_vec();
        damage(&mut bad, &info.name, 0, 0, 0x7e00);
        let said = complaint(open(bad), 512, KvType::F16).unwrap_or_default();
        assert!(
            said.contains(&format!("tensor '{}' has NaN", info.name)),
            "{dtype}: {said}"
        );
    }
}

/// Values that F16 cannot hold are told with the way out, which is right.
#[test]
fn what_the_cache_cannot_hold_is_told() {
    for target in ["F32", "Q8_0"] {
        let mut bytes = file("tiny-mistral", target);
        let gguf = Gguf::parse(&bytes).unwrap();
        let info = gguf.tensor("blk.0.attn_v.weight").unwrap();
        let (len, block) = (info.len as usize, info.dtype.block_bytes());
        let start = (gguf.data_offset + info.offset) as usize;
        for block in bytes[start..start + len].chunks_exact_mut(block) {
            match target {
                "F32" => {
                    let value = f32::from_le_bytes(block.try_into().unwrap()) * 2f32.powi(20);
                    block.copy_from_slice(&value.to_le_bytes());
                }
                // The largest scale, so that values beyond 65504 come out.
                _ => block[..2].copy_from_slice(&0x7bffu16.to_le_bytes()),
            }
        }
        let said = complaint(open(bytes.clone()), 512, KvType::F16).unwrap_or_default();
        assert!(
            said.contains("layer 0, attention") && said.contains("--kv-type f32"),
            "{target}: {said}"
        );
        assert_eq!(complaint(open(bytes), 512, KvType::F32), None, "{target}");
    }
}

/// A context goes on after the error as if the tokens had not been there, also when a window has
/// moved on.
#[test]
fn a_context_goes_on_afterwards() {
    let mut bytes = file("random/mistral-window-16", "F16");
    let bad = 40;
    damage(&mut bytes, "token_embd.weight", bad, 0, 0x7e00);
    let model = open(bytes).unwrap();
    let text: Vec<u32> = (0..300).map(|i| i * i % 37 + 1).collect();
    for len in [5, 100, 290] {
        let mut context = Context::new(&model, ContextOptions::new(400)).unwrap();
        context.forward(&text[..len]).unwrap();
        let error = context.forward(&[3, bad as u32, 4]).unwrap_err();
        let ForwardError::NotANumber(error) = error else {
            panic!("{error}");
        };
        assert_eq!(error.place, "token_embd");
        assert_eq!(context.len(), len);
        let logits = context.forward(&text[len..len + 5]).unwrap().to_vec();
        let mut fresh = Context::new(&model, ContextOptions::new(400)).unwrap();
        assert_eq!(fresh.forward(&text[..len + 5]).unwrap(), logits, "{len}");
    }
}

#[test]
fn the_model_that_is_built_in_is_good() {
    let model = Model::open(&fixture("demo.gguf"));
    assert_eq!(complaint(model, 5, KvType::Q8_0), None);
}
