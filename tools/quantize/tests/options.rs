//! Types that the user sets, weights of an importance matrix, and files within a size.

mod directory;

use bise_format::gguf::Gguf;
use bise_kernels::block::DType;
use bise_quantize::{
    Budget, ImatrixEntry, ImportanceMatrix, Options, QuantizeError, Report, Silent, Target,
    quantize,
};
use directory::{Model, with_tensors};
use safetensors::Dtype;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A Mixtral of 2 layers and 2 experts, 256 wide, and room for files beside it.
struct Folder {
    directory: TempDir,
}

impl Folder {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        model().write(directory.path(), Dtype::BF16);
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, options: &Options) -> Result<(Report, Vec<u8>), QuantizeError> {
        let dst = self.path("out.gguf");
        let report = quantize(self.directory.path(), &dst, options, &Silent)?;
        Ok((report, fs::read(dst).unwrap()))
    }

    fn dtype(&self, options: &Options, name: &str) -> DType {
        let (_, bytes) = self.run(options).unwrap();
        Gguf::parse(&bytes).unwrap().tensor(name).unwrap().dtype
    }
}

fn model() -> Model {
    let mut model = with_tensors(json!({
        "architectures": ["MixtralForCausalLM"], "hidden_size": 256, "intermediate_size": 256,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1, "vocab_size": 40,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "num_local_experts": 2, "num_experts_per_tok": 1,
    }));
    // Values of every size, unlike those of the plain fixtures, which a few bits hold exactly.
    for (n, (_, values)) in model.tensors.values_mut().enumerate() {
        for (i, v) in values.iter_mut().enumerate() {
            *v += libm::sinf(i as f32 * 0.37 + n as f32);
        }
    }
    model
}

fn target(name: &str) -> Options {
    Options::new(Target::from_name(name).unwrap())
}

#[test]
fn the_users_types_come_first() {
    let folder = Folder::new();
    let options = Options {
        tensor_types: ["attn_v=q5_k", "ATTN_.*=Q6_K", r"blk\.1\.ffn_(up|gate)=q8_0"]
            .map(|text| text.parse().unwrap())
            .to_vec(),
        output_type: Some(DType::F16),
        embedding_type: Some(DType::Q3_K),
        ..target("Q4_K_S")
    };
    for (name, expected) in [
        ("blk.0.attn_v.weight", DType::Q5_K),
        ("blk.0.attn_output.weight", DType::Q6_K),
        ("blk.1.ffn_up_exps.weight", DType::Q8_0),
        ("blk.0.ffn_up_exps.weight", DType::Q4_K),
        ("blk.1.ffn_gate_inp.weight", DType::F32),
        ("blk.0.attn_norm.weight", DType::F32),
        ("output.weight", DType::F16),
        ("token_embd.weight", DType::Q3_K),
    ] {
        assert_eq!(folder.dtype(&options, name), expected, "{name}");
        let pure = Options {
            pure: true,
            ..options.clone()
        };
        assert_eq!(folder.dtype(&pure, name), expected, "{name}, pure");
    }
    let pure = Options {
        pure: true,
        ..target("Q2_K")
    };
    for name in [
        "token_embd.weight",
        "output.weight",
        "blk.0.attn_v.weight",
        "blk.1.ffn_down_exps.weight",
    ] {
        assert_eq!(folder.dtype(&pure, name), DType::Q2_K, "{name}");
    }
}

#[test]
fn a_pattern_without_a_tensor_is_an_error() {
    let folder = Folder::new();
    for pattern in ["atn_v", "attn_norm", "ffn_gate_inp"] {
        for budget in [None, Some(Budget::BitsPerWeight(5.0))] {
            let options = Options {
                tensor_types: vec![format!("{pattern}=q5_k").parse().unwrap()],
                budget,
                ..target("Q4_0")
            };
            let error = folder.run(&options).unwrap_err().to_string();
            assert!(
                error.contains(pattern) && error.contains("blk.0.attn_"),
                "{error}"
            );
        }
    }
    assert!(!folder.path("out.gguf").exists());
}

/// An importance matrix in which some columns are a thousand times larger than the others.
fn imatrix(path: &Path, columns: usize) {
    let mut matrix = ImportanceMatrix::default();
    matrix.datasets.push("stories.txt".to_owned());
    matrix.chunk_count = 4;
    let row =
        |e: usize| (0..columns).map(move |j| if (j + e).is_multiple_of(16) { 1e5 } else { 1e2 });
    for layer in 0..2 {
        for part in ["attn_q", "attn_k", "attn_v", "attn_output"] {
            let sums = ImatrixEntry {
                sums: row(0).collect(),
                counts: vec![100.0],
            };
            matrix.insert(format!("blk.{layer}.{part}.weight"), sums);
        }
        for part in ["ffn_gate_exps", "ffn_up_exps"] {
            let sums = ImatrixEntry {
                sums: row(0).chain(row(1)).collect(),
                counts: vec![100.0, 7.0],
            };
            matrix.insert(format!("blk.{layer}.{part}.weight"), sums);
        }
    }
    matrix.write(path).unwrap();
}

/// A run that was killed is continued by another program of the same version and method, so these
/// bytes change only with `METHOD` in `writing.rs`.
#[test]
fn a_source_becomes_the_bytes_that_the_method_says() {
    let folder = Folder::new();
    let path = folder.path("some.imatrix");
    imatrix(&path, 256);
    let mut hash = Sha256::new();
    for dtype in DType::ALL.iter().filter(|dtype| dtype.can_quantize()) {
        for imatrix in [None, Some(path.clone())] {
            let options = Options {
                imatrix,
                pure: true,
                ..target(dtype.name())
            };
            let (_, bytes) = folder.run(&options).unwrap();
            let gguf = Gguf::parse(&bytes).unwrap();
            for info in gguf.tensors.values() {
                hash.update(gguf.bytes(&bytes, info));
            }
        }
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let known = "209430bcf97f2d34d7a4788fa67870ae723a9269194bd14e8876b0054ca137a4";
    assert_eq!(hash, known, "other bytes: raise METHOD in writing.rs");
}

#[test]
fn errors_weigh_as_the_importance_matrix_says() {
    let folder = Folder::new();
    let path = folder.path("some.imatrix");
    imatrix(&path, 256);
    for name in ["Q2_K", "Q3_K_S", "Q4_K_S", "Q5_K_S"] {
        let weighted = Options {
            imatrix: Some(path.clone()),
            measure: true,
            ..target(name)
        };
        let (report, bytes) = folder.run(&weighted).unwrap();
        let error = |report: &Report, name: &str| {
            let tensor = report.tensors.iter().find(|tensor| tensor.name == name).unwrap();
            tensor.error.unwrap()
        };
        // The important columns gain, at the cost of the others.
        let (plain, _) = folder
            .run(&Options {
                measure: true,
                ..target(name)
            })
            .unwrap();
        for tensor in ["blk.0.attn_q.weight", "blk.1.ffn_up_exps.weight"] {
            let (weighted, plain) = (error(&report, tensor), error(&plain, tensor));
            assert!(
                weighted.relative < plain.relative,
                "{name} {tensor}: {weighted:?} {plain:?}"
            );
            assert!(
                weighted.rmse > plain.rmse,
                "{name} {tensor}: {weighted:?} {plain:?}"
            );
        }
        let metadata = Gguf::parse(&bytes).unwrap().metadata;
        assert_eq!(
            metadata.str("quantize.imatrix.file").unwrap(),
            Some("some.imatrix")
        );
        assert_eq!(
            metadata.str("quantize.imatrix.dataset").unwrap(),
            Some("stories.txt")
        );
        assert_eq!(metadata.u32("quantize.imatrix.entries_count").unwrap(), Some(12));
        assert_eq!(metadata.u32("quantize.imatrix.chunks_count").unwrap(), Some(4));
        let note = |text: &str| report.notes.iter().any(|note| note.contains(text));
        assert!(note(
            "blk.0.ffn_up_exps.weight: few tokens reached some experts (expert 1: 7)"
        ));
        assert!(
            note("nothing of blk.0.ffn_down_exps.weight and 1 more"),
            "{:?}",
            report.notes
        );
        for threads in [1, 3] {
            let options = Options {
                threads: Some(threads),
                ..weighted.clone()
            };
            assert!(
                folder.run(&options).unwrap().1 == bytes,
                "{name}: {threads} threads"
            );
        }
    }
}

#[test]
fn an_importance_matrix_of_another_model_is_an_error() {
    let folder = Folder::new();
    let path = folder.path("some.imatrix");
    let with = || Options {
        imatrix: Some(path.clone()),
        ..target("Q4_K_M")
    };
    imatrix(&path, 512);
    let error = folder.run(&with()).unwrap_err().to_string();
    assert!(
        error.contains("some.imatrix: `blk.0.attn_q.weight`: the importance matrix has 512 values"),
        "{error}"
    );
    let mut other = ImportanceMatrix::default();
    other.insert(
        "blk.0.ssm.weight".to_owned(),
        ImatrixEntry {
            sums: vec![1.0],
            counts: vec![1.0],
        },
    );
    other.write(&path).unwrap();
    let error = folder.run(&with()).unwrap_err().to_string();
    assert!(error.contains("names no tensor of this model"), "{error}");
    fs::write(&path, b"GGUF").unwrap();
    assert!(folder.run(&with()).is_err());
    assert!(!folder.path("out.gguf").exists());
}

#[test]
fn files_within_a_size() {
    let folder = Folder::new();
    let path = folder.path("some.imatrix");
    imatrix(&path, 256);
    let within = |budget: Budget| Options {
        budget: Some(budget),
        imatrix: Some(path.clone()),
        measure: true,
        ..target("Q8_0")
    };
    let (everything, _) = folder.run(&within(Budget::BitsPerWeight(100.0))).unwrap();
    assert!(
        everything
            .tensors
            .iter()
            .all(|tensor| tensor.error.unwrap().relative == 0.0)
    );
    // Nothing is that large, which the user should know; what is said to be the largest is made
    // without a word.
    let said = |report: &Report| {
        report
            .notes
            .iter()
            .any(|note| note.contains("the largest that can be made"))
    };
    assert!(said(&everything), "{:?}", everything.notes);
    let (larger, _) = folder.run(&within(Budget::Bytes(1 << 40))).unwrap();
    assert_eq!(larger.file_len, everything.file_len);
    let largest = format!(
        "the largest that can be made is a file of {} bytes",
        larger.file_len
    );
    assert!(
        larger.notes.iter().any(|note| note.contains(&largest)),
        "{:?}",
        larger.notes
    );
    let (same, _) = folder.run(&within(Budget::Bytes(larger.file_len))).unwrap();
    assert!(
        same.file_len == larger.file_len && !said(&same),
        "{:?}",
        same.notes
    );
    let mut last = f64::INFINITY;
    for bits in [3.0, 4.0, 5.5, 8.0] {
        let (report, bytes) = folder.run(&within(Budget::BitsPerWeight(bits))).unwrap();
        assert!(
            report.bits_per_weight() <= bits && report.bits_per_weight() > 0.85 * bits,
            "{bits}"
        );
        let noise: f64 = report
            .tensors
            .iter()
            .map(|tensor| tensor.error.unwrap().relative.powi(2))
            .sum();
        assert!(noise < last, "{bits}: {noise}, after {last}");
        last = noise;
        let size = bytes.len() as u64;
        let (same, again) = folder.run(&within(Budget::Bytes(size))).unwrap();
        assert!(same.file_len <= size && again.len() as u64 == same.file_len);
        let options = Options {
            threads: Some(3),
            ..within(Budget::BitsPerWeight(bits))
        };
        assert!(folder.run(&options).unwrap().1 == bytes, "{bits}: 3 threads");
    }
    let user = Options {
        output_type: Some(DType::Q8_0),
        tensor_types: vec!["attn_k=f16".parse().unwrap()],
        ..within(Budget::BitsPerWeight(4.0))
    };
    assert_eq!(folder.dtype(&user, "output.weight"), DType::Q8_0);
    assert_eq!(folder.dtype(&user, "blk.1.attn_k.weight"), DType::F16);
    for (budget, says) in [
        (Budget::Bytes(1000), "a file of 1000 bytes"),
        (Budget::BitsPerWeight(1.0), "1.0000 bits"),
    ] {
        let error = folder.run(&within(budget)).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("takes from"), "{error}");
    }
    // The smallest that the error names is possible.
    let QuantizeError::Size { least, .. } = folder.run(&within(Budget::Bytes(1000))).unwrap_err()
    else {
        panic!("another error");
    };
    let bytes: u64 = least.split(' ').find_map(|word| word.parse().ok()).unwrap();
    assert_eq!(
        folder.run(&within(Budget::Bytes(bytes))).unwrap().0.file_len,
        bytes
    );
    assert!(folder.run(&within(Budget::Bytes(bytes - 1))).is_err());
}
