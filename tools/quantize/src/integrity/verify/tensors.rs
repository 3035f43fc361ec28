//! Tensor data: hashes, and where there are none, values.

use super::verdict::{FaultKind, Verdict};
use crate::integrity::digest::{hex, sha256};
use crate::integrity::manifest;
use bise_format::TensorName;
use bise_format::gguf::{Gguf, TensorInfo};
use bise_kernels::mmap::FileBytes;
use bise_kernels::tensor::Endian;
use rayon::prelude::*;
use std::collections::HashMap;

/// Which matrix: a tensor's name, and, of a stacked one, which expert.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Matrix<'a> {
    tensor: &'a str,
    expert: Option<usize>,
}

impl std::fmt::Display for Matrix<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.expert {
            Some(expert) => write!(f, "expert {expert} of {}", self.tensor),
            None => f.write_str(self.tensor),
        }
    }
}

impl Matrix<'_> {
    /// Without the expert's number, be it in an index or in the name.
    fn stack(&self) -> String {
        match TensorName::parse(self.tensor).and_then(TensorName::of_expert) {
            Some((stack, _)) => stack.to_string(),
            None => self.tensor.to_owned(),
        }
    }
}

/// Compares names, types, shapes and hashes with those recorded.
pub(super) fn check_hashes(file: &FileBytes, gguf: &Gguf, verdict: &mut Verdict) {
    let before = verdict.faults.len();
    let recorded = gguf
        .metadata
        .strings(manifest::TENSORS)
        .ok()
        .flatten()
        .unwrap_or_default();
    let mut expected: HashMap<&str, &str> = recorded
        .iter()
        .filter_map(|entry| entry.split_once(' '))
        .collect();
    let mut pairs: Vec<(Matrix<'_>, &[u8], &str)> = Vec::new();
    for info in gguf.tensors.values() {
        let Some(entry) = expected.remove(info.name.as_str()) else {
            verdict.fault(
                FaultKind::Header,
                format!("tensor {} is not one that was written", info.name),
            );
            continue;
        };
        let facts = manifest::tensor_facts(info);
        let facts = facts
            .strip_prefix(info.name.as_str())
            .unwrap_or_default()
            .trim_start();
        let hashes: Vec<&str> = entry
            .strip_prefix(facts)
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        if hashes.len() as u64 != manifest::matrices(&info.dims) {
            verdict.fault(
                FaultKind::Header,
                format!("tensor {} is {facts}, it was {}", info.name, brief(entry)),
            );
            continue;
        }
        let bytes = gguf.bytes(file, info);
        let len = bytes.len() / hashes.len();
        for (i, (bytes, hash)) in bytes.chunks_exact(len).zip(&hashes).enumerate() {
            let matrix = Matrix {
                tensor: &info.name,
                expert: (info.dims.len() > 2).then_some(i),
            };
            pairs.push((matrix, bytes, hash));
        }
    }
    let mut missing: Vec<_> = expected.into_keys().collect();
    missing.sort_unstable();
    for name in missing {
        verdict.fault(FaultKind::Header, format!("tensor {name} is not there any more"));
    }
    let hash = |(_, bytes, _): &(Matrix<'_>, &[u8], &str)| {
        let digest = hex(&sha256(bytes));
        let start = bytes.as_ptr() as usize - file.as_ptr() as usize;
        file.release(start..start + bytes.len());
        digest
    };
    let found: Vec<String> = pairs.par_iter().map(hash).collect();
    for ((matrix, _, expected), found) in pairs.iter().zip(&found) {
        if found != expected {
            name_fault(matrix, found, &pairs, verdict);
        }
    }
    verdict.good_since(
        before,
        format!(
            "SHA-256 of {} matrices in {} tensors",
            pairs.len(),
            gguf.tensors.len()
        ),
    );
}

/// Type and shape of an entry.
fn brief(entry: &str) -> String {
    entry.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Says of a matrix whose hash is wrong what it holds, if that is known.
fn name_fault(
    matrix: &Matrix<'_>,
    found: &str,
    all: &[(Matrix<'_>, &[u8], &str)],
    verdict: &mut Verdict,
) {
    match all.iter().find(|(_, _, expected)| *expected == found) {
        Some((other, _, _)) => {
            let experts = matrix.expert.is_some() || matrix.stack() != matrix.tensor;
            let kind = if experts && other.stack() == matrix.stack() {
                FaultKind::SwappedExperts
            } else {
                FaultKind::SwappedTensors
            };
            verdict.fault(kind, format!("{matrix} holds what {other} should"));
        }
        None => verdict.fault(
            FaultKind::Bits,
            format!("{matrix} is not what was written: its SHA-256 is {found}"),
        ),
    }
}

/// The largest magnitude that a weight has; those of published models are below 1000.
const LARGEST: f32 = 1e6;

/// Finds tensors with values that are no numbers, or huge.
pub(super) fn check_values(file: &FileBytes, gguf: &Gguf, verdict: &mut Verdict) {
    let before = verdict.faults.len();
    let bad: Vec<_> = gguf
        .tensors
        .values()
        .filter_map(|info| first_bad(file, gguf, info))
        .collect();
    for (info, index, value) in bad {
        verdict.fault(
            FaultKind::Values,
            format!("value {index} of tensor {} is {value}", info.name),
        );
    }
    verdict.good_since(before, "all weights are finite numbers of usual size".to_owned());
}

fn first_bad<'a>(
    file: &FileBytes,
    gguf: &'a Gguf,
    info: &'a TensorInfo,
) -> Option<(&'a TensorInfo, u64, f32)> {
    /// Values looked at at a time: a multiple of every block's length.
    const STEP: usize = 1 << 15;
    let bytes = gguf.bytes(file, info);
    let step = info.dtype.bytes_for(STEP as u64)? as usize;
    let look = |(i, bytes): (usize, &[u8])| {
        let mut bytes = bytes.to_vec();
        if gguf.endian == Endian::Big {
            info.dtype.swap_endian(&mut bytes);
        }
        let mut x = vec![0f32; bytes.len() / info.dtype.block_bytes() * info.dtype.block_len()];
        info.dtype.dequantize(&bytes, &mut x);
        let at = x.iter().position(|v| v.is_nan() || v.abs() > LARGEST)?;
        Some((info, (i * STEP + at) as u64, x[at]))
    };
    let found = bytes.par_chunks(step).enumerate().find_map_first(look);
    let start = bytes.as_ptr() as usize - file.as_ptr() as usize;
    file.release(start..start + bytes.len());
    found
}
