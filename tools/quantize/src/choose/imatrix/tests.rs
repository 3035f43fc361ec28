use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn sums(sums: &[f32], counts: &[f32]) -> ImatrixEntry {
    ImatrixEntry {
        sums: sums.to_vec(),
        counts: counts.to_vec(),
    }
}

fn matrix(entries: &[(&str, ImatrixEntry)]) -> ImportanceMatrix {
    let entries = entries
        .iter()
        .map(|(name, sums)| ((*name).to_owned(), sums.clone()));
    ImportanceMatrix {
        entries: entries.collect(),
        datasets: vec!["text.txt".to_owned()],
        chunk_count: 3,
        chunk_size: 512,
    }
}

/// The bytes of an older file.
fn legacy(entries: &[(&str, i32, &[f32])], tail: &[u8]) -> Vec<u8> {
    let int = |n: usize| (n as i32).to_le_bytes();
    let mut file = int(entries.len()).to_vec();
    for (name, calls, values) in entries {
        file.extend(int(name.len()));
        file.extend(name.as_bytes());
        file.extend(calls.to_le_bytes());
        file.extend(int(values.len()));
        file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }
    file.extend(tail);
    file
}

fn read(bytes: &[u8]) -> Result<ImportanceMatrix, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    ImportanceMatrix::read(file.path()).map_err(|e| e.to_string())
}

/// The bytes of a file, also of sums that are none, which other programs write.
fn written(matrix: &ImportanceMatrix) -> Vec<u8> {
    let mut file = Vec::new();
    super::gguf::write(matrix, &mut file).unwrap();
    file
}

fn weights(matrix: &ImportanceMatrix, name: &str, columns: usize, experts: usize) -> Vec<f32> {
    matrix
        .importance(name, columns, experts)
        .unwrap()
        .unwrap()
        .weights
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        entries in proptest::collection::hash_map("[a-z.]{1,20}", (1usize..4, 1usize..9, vec(0f32..1e30, 32), vec(0u32..99, 4)), 1..5),
        datasets in vec(".{0,10}", 0..3), chunk_count: u32, chunk_size: u32,
    ) {
        let entries = entries.into_iter().map(|(name, (matrices, columns, values, counts))| {
            let counts: Vec<f32> = counts[..matrices].iter().map(|&n| n as f32).collect();
            (name, sums(&values[..matrices * columns], &counts))
        });
        let matrix = ImportanceMatrix { entries: entries.collect(), datasets, chunk_count, chunk_size };
        prop_assert_eq!(read(&written(&matrix)), Ok(matrix));
    }

    /// Whatever the file, an answer; and what is accepted gives weights that are numbers.
    #[test]
    fn damaged_files_are_errors_or_sound(
        cut in 0usize..600, at in 0usize..600, byte: u8, old: bool,
    ) {
        let mut file = if old {
            legacy(&[("a.weight", 7, &[1.0; 8]), ("b.weight", 7, &[2.0; 16])], &[1, 0, 0, 0, 1, 0, 0, 0, b't'])
        } else {
            written(&matrix(&[("a.weight", sums(&[1.0; 8], &[4.0])), ("b.weight", sums(&[2.0; 16], &[3.0, 5.0]))]))
        };
        let at = at % file.len();
        file[at] = byte;
        file.truncate(file.len() - cut % file.len() * usize::from(cut % 2 == 0));
        if let Ok(matrix) = read(&file) {
            for (columns, experts) in [(8, 1), (8, 2), (4, 4)] {
                for name in ["a.weight", "b.weight"] {
                    if let Ok(Some(found)) = matrix.importance(name, columns, experts) {
                        prop_assert!(found.weights.iter().all(|w| w.is_finite() && *w >= 0.0));
                    }
                }
            }
        }
    }
}

#[test]
fn hostile_files_are_told_apart() {
    let old = |values: &[f32]| legacy(&[("blk.0.attn_q.weight", 2, values)], &[]);
    let new = |name: &str, s: ImatrixEntry| written(&matrix(&[(name, s)]));
    let truncated = |mut file: Vec<u8>| {
        file.truncate(file.len() - 40.min(file.len() / 2));
        file
    };
    let huge = {
        let mut file = old(&[1.0]);
        let at = file.len() - 8;
        file[at..at + 4].copy_from_slice(&(1i32 << 28).to_le_bytes());
        file
    };
    let negative_length = {
        let mut file = old(&[1.0]);
        file[4..8].copy_from_slice(&(-1i32).to_le_bytes());
        file
    };
    for (file, says) in [
        (old(&[1.0, f32::NAN]), "sum 1 is NaN"),
        (old(&[-1.0]), "sum 0 is -1"),
        (old(&[f32::INFINITY]), "sum 0 is inf"),
        (old(&[]), "no values"),
        (truncated(old(&[1.0])), "truncated"),
        (huge, "truncated"),
        (negative_length, "is -1: neither GGUF"),
        (vec![], "truncated"),
        (vec![0; 4], "no entries"),
        (b"\x89PNG\r\n\x1a\n".to_vec(), "neither GGUF"),
        (legacy(&[("a", 1, &[1.0]), ("a", 1, &[1.0])], &[]), "twice"),
        (new("a", sums(&[1.0, f32::NAN], &[1.0])), "sum 1 is NaN"),
        (new("a", sums(&[1.0, -2.0], &[1.0])), "sum 1 is -2"),
        (new("a", sums(&[1.0, 2.0], &[-1.0])), "count 0 is -1"),
        (new("a", sums(&[1.0, 2.0], &[f32::NAN])), "count 0 is NaN"),
        (truncated(new("a", sums(&[1.0; 80], &[1.0]))), "ends too soon"),
        (written(&matrix(&[])), "no sums"),
    ] {
        let error = read(&file).unwrap_err();
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[test]
fn sums_and_counts_must_belong_together() {
    use bise_format::gguf::{GgufWriter, Metadata, TensorSpec};
    let file = |kind: &str, tensors: &[(&str, &[u64], DType)]| {
        let mut metadata = Metadata::new();
        metadata.insert("general.type", kind);
        let specs = tensors.iter().map(|(name, dims, dtype)| TensorSpec {
            name: (*name).to_owned(),
            dims: dims.to_vec(),
            dtype: *dtype,
        });
        let mut writer = GgufWriter::new(Vec::new(), &metadata, specs).unwrap();
        for (name, dims, dtype) in tensors {
            let len = dtype.bytes_for(dims.iter().product()).unwrap() as usize;
            writer.write_tensor(name, &vec![0; len]).unwrap();
        }
        writer.finish().unwrap()
    };
    use bise_kernels::block::DType::{self, F16, F32};
    for (kind, tensors, says) in [
        (
            "model",
            &[("a.in_sum2", &[4u64][..], F32), ("a.counts", &[1], F32)][..],
            "general.type is model",
        ),
        ("imatrix", &[("a.in_sum2", &[4], F32)], "no counts"),
        ("imatrix", &[("a.counts", &[1], F32)], "no sums"),
        (
            "imatrix",
            &[("a.in_sum2", &[4, 2], F32), ("a.counts", &[1, 3], F32)],
            "2 matrices but 3 counts",
        ),
        (
            "imatrix",
            &[("a.in_sum2", &[4], F16), ("a.counts", &[1], F32)],
            "is F16, expected F32",
        ),
    ] {
        let error = read(&file(kind, tensors)).unwrap_err();
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[test]
fn rare_experts_lean_on_the_others() {
    let m = matrix(&[(
        "blk.0.ffn_up_exps.weight",
        sums(&[1000.0, 3000.0, 0.0, 0.0, 8.0, 0.0], &[1000.0, 0.0, 8.0]),
    )]);
    let found = m.importance("blk.0.ffn_up_exps.weight", 2, 3).unwrap().unwrap();
    assert_eq!(found.rare, [(1, 0.0), (2, 8.0)]);
    // The mean over all tokens is 1 and 3000 / 1008; the second expert has nothing else.
    let mean = [1.0, 3000.0 / 1008.0];
    let expected = [
        (1000.0 + 32.0 * mean[0]) / 1032.0,
        (3000.0 + 32.0 * mean[1]) / 1032.0,
        mean[0],
        mean[1],
        (8.0 + 32.0 * mean[0]) / 40.0,
        32.0 * mean[1] / 40.0,
    ];
    for (found, expected) in found.weights.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() <= expected * f64::from(f32::EPSILON));
    }
    // The same expert from a model that has each alone.
    assert_eq!(weights(&m, "blk.0.ffn_up.2.weight", 2, 1), found.weights[4..]);
    assert_eq!(
        m.importance("blk.0.ffn_up.3.weight", 2, 1),
        Err("expert 3 is not there".to_owned())
    );
    assert_eq!(m.importance("blk.1.ffn_up_exps.weight", 2, 3), Ok(None));
    assert!(m.importance("blk.0.ffn_up_exps.weight", 2, 4).is_err());
    assert!(m.importance("blk.0.ffn_up_exps.weight", 3, 2).is_err());
}

#[test]
fn nothing_seen_is_no_importance() {
    let m = matrix(&[
        ("a.weight", sums(&[0.0; 4], &[9.0])),
        ("b.weight", sums(&[0.0; 4], &[0.0, 0.0])),
    ]);
    assert_eq!(m.importance("a.weight", 4, 1), Ok(None));
    assert_eq!(m.importance("b.weight", 2, 2), Ok(None));
}

#[test]
fn older_files() {
    let names = [
        "blk.0.attn_q.weight",
        "blk.0.ffn_down.0.weight",
        "blk.0.ffn_down.2.weight",
        "blk.0.ffn_gate_exps.weight",
    ];
    let file = legacy(
        &[
            (names[0], 4, &[4.0, 8.0]),
            (names[1], 100, &[100.0, 0.0]),
            (names[2], 100, &[0.0, 300.0]),
            (names[3], 2, &[2.0, 4.0, 0.0, 0.0]),
        ],
        &[5, 0, 0, 0, 3, 0, 0, 0, b't', b'x', b't'],
    );
    let m = read(&file).unwrap();
    assert_eq!((m.chunk_count, &m.datasets[..]), (5, &["txt".to_owned()][..]));
    assert_eq!(weights(&m, names[0], 2, 1), [1.0, 2.0]);
    // Experts of their own, joined: the second, which is not there, takes the mean of the others.
    let joined = weights(&m, "blk.0.ffn_down_exps.weight", 2, 3);
    assert_eq!(joined[2..4], [0.5, 1.5]);
    assert!(joined[0] > 0.85 && joined[1] > 0.0 && joined[1] < 0.4);
    // A stacked entry says nothing of counts; only the expert without sums takes the mean.
    assert_eq!(weights(&m, names[3], 2, 2), [1.0, 2.0, 0.5, 1.0]);
}
