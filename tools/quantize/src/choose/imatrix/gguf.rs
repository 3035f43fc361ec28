//! The format of today: a GGUF file of two tensors for each matrix.
//!
//! ```text
//! general.type = "imatrix"     imatrix.datasets: strings     imatrix.chunk_count, imatrix.chunk_size: u32
//! NAME.in_sum2: F32 [columns, matrices]                      NAME.counts: F32 [1, matrices]
//! ```

use super::matrix::{ImatrixEntry, ImportanceMatrix};
use crate::error::QuantizeError;
use bise_format::gguf::{Gguf, GgufWriter, Metadata, TensorInfo, TensorSpec};
use bise_kernels::block::DType;
use bise_kernels::tensor::Endian;
use indexmap::IndexMap;
use std::io::Write;

const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";

/// Bytes that any header may take.
const SPARE: u64 = 64 << 10;

pub(super) fn parse(file: &[u8]) -> Result<ImportanceMatrix, String> {
    let gguf = Gguf::parse(file).map_err(|e| e.to_string())?;
    // What a header says takes more memory than its bytes.
    let (header, len) = (gguf.data_offset, file.len() as u64);
    if header > len / 4 + SPARE {
        return Err(format!(
            "the header takes {header} of {len} bytes, expected most of them to be sums"
        ));
    }
    let text = |e: bise_format::gguf::GgufError| e.to_string();
    match gguf.metadata.str("general.type").map_err(text)? {
        Some("imatrix") => {}
        other => {
            return Err(format!(
                "general.type is {}, expected imatrix",
                other.unwrap_or("absent")
            ));
        }
    }
    let number = |key| {
        gguf.metadata
            .u32(key)
            .map_err(text)
            .map(Option::unwrap_or_default)
    };
    let datasets = gguf.metadata.strings("imatrix.datasets").map_err(text)?;
    let mut matrix = ImportanceMatrix {
        entries: IndexMap::new(),
        datasets: datasets.unwrap_or_default().to_vec(),
        chunk_count: number("imatrix.chunk_count")?,
        chunk_size: number("imatrix.chunk_size")?,
    };
    for (tensor, info) in &gguf.tensors {
        if let Some(name) = tensor.strip_suffix(COUNTS)
            && gguf.tensor(&format!("{name}{SUMS}")).is_none()
        {
            return Err(format!("`{name}` has counts but no sums"));
        }
        let Some(name) = tensor.strip_suffix(SUMS) else {
            continue;
        };
        let counts = gguf.tensor(&format!("{name}{COUNTS}"));
        let counts = counts.ok_or_else(|| format!("`{name}` has sums but no counts"))?;
        let rows: u64 = info.dims[1..].iter().product();
        if counts.elements() != rows {
            return Err(format!(
                "`{name}` has sums of {rows} matrices but {} counts",
                counts.elements()
            ));
        }
        let (sums, counts) = (values(&gguf, file, info)?, values(&gguf, file, counts)?);
        matrix.insert(name.to_owned(), ImatrixEntry { sums, counts });
    }
    if matrix.is_empty() {
        return Err("no sums of squared inputs".to_owned());
    }
    Ok(matrix)
}

fn values(gguf: &Gguf, file: &[u8], info: &TensorInfo) -> Result<Vec<f32>, String> {
    if info.dtype != DType::F32 {
        return Err(format!("tensor `{}` is {}, expected F32", info.name, info.dtype));
    }
    let number = match gguf.endian {
        Endian::Little => f32::from_le_bytes,
        Endian::Big => f32::from_be_bytes,
    };
    let words = gguf.bytes(file, info).as_chunks::<4>().0;
    Ok(words.iter().map(|&word| number(word)).collect())
}

pub(super) fn write<W: Write>(matrix: &ImportanceMatrix, out: W) -> Result<(), QuantizeError> {
    let mut metadata = Metadata::new();
    metadata.insert("general.type", "imatrix");
    metadata.insert("imatrix.datasets", matrix.datasets.clone());
    metadata.insert("imatrix.chunk_count", matrix.chunk_count);
    metadata.insert("imatrix.chunk_size", matrix.chunk_size);
    let spec = |name: &str, suffix: &str, columns: usize, matrices: usize| TensorSpec {
        name: format!("{name}{suffix}"),
        dims: vec![columns as u64, matrices as u64],
        dtype: DType::F32,
    };
    let specs = matrix.entries.iter().flat_map(|(name, entry)| {
        let matrices = entry.counts.len();
        let sums = spec(name, SUMS, entry.sums.len() / matrices, matrices);
        [sums, spec(name, COUNTS, 1, matrices)]
    });
    let mut writer = GgufWriter::new(out, &metadata, specs)?;
    for (name, entry) in &matrix.entries {
        for (suffix, values) in [(SUMS, &entry.sums), (COUNTS, &entry.counts)] {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            writer.write_tensor(&format!("{name}{suffix}"), &bytes)?;
        }
    }
    writer.finish()?;
    Ok(())
}
