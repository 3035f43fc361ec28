//! Where weights come from: a model as GGUF names and orders it, its data still in the source's files.

use crate::error::QuantizeError;
use crate::hf;
use crate::permute::RowOrder;
use crate::split;
use bise_tensor::block::DType;
use bise_tensor::gguf::{Endian, Gguf, Metadata, TensorInfo};
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

    /// The values of `rows`, `out` being as long.
    pub(crate) fn read_rows(&self, rows: Range<u64>, out: &mut [f32]) {
        let columns = self.columns();
        let (part, first) = self.locate(rows.start);
        let (last_part, _) = self.locate(rows.end - 1);
        if part.order == RowOrder::Same && part.endian == Endian::Little && std::ptr::eq(part, last_part) {
            let bytes = part.rows(first..first + (rows.end - rows.start), columns);
            return part.dtype.dequantize(bytes, out);
        }
        for (row, out) in rows.zip(out.chunks_exact_mut(columns as usize)) {
            let (part, row) = self.locate(row);
            let bytes = part.row(row, columns);
            match part.endian {
                Endian::Little => part.dtype.dequantize(bytes, out),
                Endian::Big => {
                    let mut bytes = bytes.to_vec();
                    part.dtype.swap_endian(&mut bytes);
                    part.dtype.dequantize(&bytes, out);
                }
            }
        }
    }

    /// Bytes of `rows` in the source.
    pub(crate) fn source_len_of(&self, rows: &Range<u64>) -> u64 {
        self.source_len() / self.rows() * (rows.end - rows.start)
    }

    /// Says that the part with `row` will not be read again.
    pub(crate) fn release(&self, row: u64) {
        let (part, _) = self.locate(row);
        part.file.release(part.range.clone());
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
        self.rows(row..row + 1, columns)
    }

    fn rows(&self, rows: Range<u64>, columns: u64) -> &[u8] {
        let len = self.dtype.bytes_for(columns).expect("whole blocks") as usize;
        &self.file[self.range.clone()][rows.start as usize * len..rows.end as usize * len]
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
    let tensors = gguf.tensors.values().map(|info| tensor(&gguf, &file, info));
    // What describes the old file's making does not describe the new one's.
    let stale = |key: &str| key.starts_with("split.") || key.starts_with("quantize.imatrix.");
    let kept = gguf.metadata.iter().filter(|(key, _)| !stale(key));
    Ok(Model {
        tensors: tensors.collect(),
        metadata: kept.map(|(key, value)| (key, value.clone())).collect(),
        notes: Vec::new(),
    })
}

/// A tensor of a GGUF file.
pub(crate) fn tensor(gguf: &Gguf, file: &FileBytes, info: &TensorInfo) -> Tensor {
    let start = (gguf.data_offset + info.offset) as usize;
    let part = Part {
        name: info.name.clone(),
        file: file.clone(),
        range: start..start + info.len as usize,
        dtype: info.dtype,
        endian: gguf.endian,
        order: RowOrder::Same,
    };
    Tensor {
        name: info.name.clone(),
        dims: info.dims.clone(),
        parts: vec![part],
    }
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
    let other_part = || {
        let names = |path: &Path| Some(split::stem(path.file_name()?.to_str()?)?.0.to_owned());
        names(src).is_some() && names(src) == names(dst) && src.parent() == dst.parent() && dst.exists()
    };
    if same(src) || src.is_dir() && in_directory() || other_part() {
        return Err(QuantizeError::SameFile { dst: dst.to_owned() });
    }
    Ok(())
}
