//! Where weights come from: a model as GGUF names and orders it, its data still in the source's files.

use crate::error::QuantizeError;
use crate::hf;
use crate::permute::RowOrder;
use bise_tensor::block::DType;
use bise_tensor::gguf::{Endian, Gguf, Metadata};
use bise_tensor::mmap::FileBytes;
use std::ops::Range;
use std::path::Path;

/// A model to be quantized.
pub(crate) struct Model {
    /// All that the output will say, but for the file type.
    pub metadata: Metadata,
    /// In the order of the output.
    pub tensors: Vec<Tensor>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// A tensor of the output: parts of the source, one after the other along the slowest dimension.
pub(crate) struct Tensor {
    /// GGUF's name.
    pub name: String,
    /// The fastest first.
    pub dims: Vec<u64>,
    /// At least one, all of the same shape.
    pub parts: Vec<Part>,
}

/// A tensor of the source.
pub(crate) struct Part {
    /// The source's name.
    pub name: String,
    pub file: FileBytes,
    /// Where in the file.
    pub range: Range<usize>,
    pub dtype: DType,
    pub endian: Endian,
    pub order: RowOrder,
}

impl Tensor {
    /// Values in a row.
    pub(crate) fn columns(&self) -> u64 {
        self.dims[0]
    }

    /// Rows in all parts.
    pub(crate) fn rows(&self) -> u64 {
        self.dims[1..].iter().product()
    }

    /// Matrices stacked on each other: experts, or 1.
    pub(crate) fn experts(&self) -> u64 {
        self.dims[1..].iter().skip(1).product()
    }

    /// Rows of each of them.
    pub(crate) fn rows_of_expert(&self) -> u64 {
        self.rows() / self.experts()
    }

    /// Bytes in the source.
    pub(crate) fn source_len(&self) -> u64 {
        self.parts.iter().map(|part| part.range.len() as u64).sum()
    }

    /// Whether the source's bytes may be copied: a GGUF's blocks of type `dtype`.
    pub(crate) fn is_verbatim(&self, dtype: DType) -> bool {
        dtype.is_quantized() && self.parts.iter().all(|part| part.dtype == dtype)
    }

    /// The bytes of `row`, in little-endian order, at the end of `out`.
    pub(crate) fn copy_row(&self, row: u64, out: &mut Vec<u8>) {
        let (part, row) = self.locate(row);
        let start = out.len();
        out.extend_from_slice(part.row(row, self.columns()));
        if part.endian == Endian::Big {
            part.dtype.swap_endian(&mut out[start..]);
        }
    }

    /// The values of `row`, `out` being as long as a row.
    ///
    /// # Errors
    /// When a value is infinite or no number.
    pub(crate) fn read_row(&self, row: u64, out: &mut [f32]) -> Result<(), QuantizeError> {
        let (part, row) = self.locate(row);
        let bytes = part.row(row, self.columns());
        match part.endian {
            Endian::Little => part.dtype.dequantize(bytes, out),
            Endian::Big => {
                let mut bytes = bytes.to_vec();
                part.dtype.swap_endian(&mut bytes);
                part.dtype.dequantize(&bytes, out);
            }
        }
        match out.iter().position(|v| !v.is_finite()) {
            None => Ok(()),
            Some(i) => Err(QuantizeError::NotFinite {
                tensor: part.name.clone(),
                row,
                column: i as u64,
                value: out[i],
            }),
        }
    }

    /// The part that `row` comes from, and which of its rows.
    pub(crate) fn locate(&self, row: u64) -> (&Part, u64) {
        let rows = self.rows() / self.parts.len() as u64;
        let part = &self.parts[(row / rows) as usize];
        (part, part.order.source_row(row % rows))
    }
}

impl Part {
    fn row(&self, row: u64, columns: u64) -> &[u8] {
        let len = self.dtype.bytes_for(columns).expect("whole blocks") as usize;
        &self.file[self.range.clone()][row as usize * len..][..len]
    }
}

/// Reads the model at `src`: a directory is Hugging Face's, a file is GGUF.
pub(crate) fn open(src: &Path) -> Result<Model, QuantizeError> {
    let found = std::fs::metadata(src).map_err(|e| QuantizeError::io(src, e))?;
    if found.is_dir() {
        hf::open(src)
    } else {
        open_gguf(src)
    }
}

fn open_gguf(src: &Path) -> Result<Model, QuantizeError> {
    let file = FileBytes::map(src).map_err(|e| QuantizeError::io(src, e))?;
    let gguf = Gguf::parse(&file).map_err(|e| QuantizeError::gguf(src, e))?;
    let text = |e| QuantizeError::gguf(src, e);
    if gguf
        .metadata
        .u32("split.count")
        .map_err(text)?
        .is_some_and(|count| count > 1)
    {
        return Err(QuantizeError::unsupported(
            src,
            "one part of a split GGUF; join the parts first",
        ));
    }
    match gguf.metadata.str("general.architecture").map_err(text)? {
        Some("llama") => {}
        other => {
            let what = format!("architecture {}, expected llama", other.unwrap_or("not named"));
            return Err(QuantizeError::unsupported(src, what));
        }
    }
    let part = |info: &bise_tensor::gguf::TensorInfo| {
        let start = (gguf.data_offset + info.offset) as usize;
        Part {
            name: info.name.clone(),
            file: file.clone(),
            range: start..start + info.len as usize,
            dtype: info.dtype,
            endian: gguf.endian,
            order: RowOrder::Same,
        }
    };
    let tensors = gguf.tensors.values().map(|info| Tensor {
        name: info.name.clone(),
        dims: info.dims.clone(),
        parts: vec![part(info)],
    });
    // What describes the old file's making does not describe the new one's.
    let stale = |key: &str| key.starts_with("split.") || key.starts_with("quantize.imatrix.");
    let kept = gguf.metadata.iter().filter(|(key, _)| !stale(key));
    Ok(Model {
        tensors: tensors.collect(),
        metadata: kept.map(|(key, value)| (key, value.clone())).collect(),
        notes: Vec::new(),
    })
}

/// Refuses a destination that is a file of the source, under whatever name.
pub(crate) fn refuse_overwrite(src: &Path, dst: &Path) -> Result<(), QuantizeError> {
    let same = |path: &Path| same_file::is_same_file(path, dst).unwrap_or(false);
    let is_output = |path: &Path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
    let in_directory = || {
        let entries = std::fs::read_dir(src).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| !is_output(path))
            .any(|path| same(&path))
    };
    if same(src) || src.is_dir() && in_directory() {
        return Err(QuantizeError::SameFile { dst: dst.to_owned() });
    }
    Ok(())
}
