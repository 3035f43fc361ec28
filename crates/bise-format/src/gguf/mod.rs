//! Reading and writing GGUF files: bytes in, views out.
//!
//! ```text
//! | "GGUF" | version: u32 | tensors: n | entries: n |     n: u32 in version 1, u64 since
//! | entries x ( key: string | type: u32 | value )     |     string: length n, then UTF-8
//! | tensors x ( name: string | dims: u32 | dims x n   |     array: type u32, length n, then elements
//! |             | type: u32 | offset: u64 )           |     fastest dimension first
//! | zeros up to a multiple of the alignment           |     general.alignment, else 32
//! | tensor data, each at its offset from here         |
//! ```
//!
//! Every number of a file is checked before it is used: [`Gguf::parse`] returns an error, never panics,
//! and allocates no more than four times the file's size, and 64 KiB.

mod error;
mod reader;
mod split;
mod value;
mod writer;

pub use error::{GgufError, Place};
pub use split::{PartName, Split};
pub use value::{Array, Metadata, Value, ValueType};
pub use writer::{GgufWriter, Layout, TensorSpec};

use bise_kernels::block::DType;
use bise_kernels::mmap::FileBytes;
use bise_kernels::tensor::{Endian, Tensor};
use indexmap::IndexMap;

const MAGIC: &[u8; 4] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;
const MAX_ALIGNMENT: u64 = 1 << 20;
const MAX_DIMS: usize = 4;
const MAX_KEY: u64 = u16::MAX as u64;
const MAX_TENSOR_NAME: u64 = 255;
const MAX_DEPTH: u32 = 4;
/// Bytes of memory that the header may take for each byte of the file, beside [`SPARE`]. Headers of models take less: only
/// crowds of tiny items, such as empty strings, take more.
const MEMORY: u64 = 4;
/// Bytes of memory that the header of any file may take.
const SPARE: u64 = 48 << 10;
/// The metadata key that sets the alignment of tensor data.
pub const ALIGNMENT_KEY: &str = "general.alignment";

/// What a GGUF file holds, and where.
///
/// ```
/// use bise_format::gguf::Gguf;
///
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
/// let bytes = std::fs::read(path)?;
/// let gguf = Gguf::parse(&bytes)?;
/// assert_eq!(gguf.metadata.str("general.architecture")?, Some("llama"));
/// // Dimensions are those of the file, the fastest first.
/// assert_eq!(gguf.tensors["token_embd.weight"].dims, [256, 1024]);
/// assert!(Gguf::parse(&bytes[..1000]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Gguf {
    /// 1, 2 or 3.
    pub version: u32,
    /// The order of bytes, of tensor data too.
    pub endian: Endian,
    /// Tensor offsets are multiples of this.
    pub alignment: u64,
    /// Metadata in the order of the file.
    pub metadata: Metadata,
    /// Tensors by name, in the order of the file.
    pub tensors: IndexMap<String, TensorInfo>,
    /// Where tensor data starts, in bytes from the start of the file.
    pub data_offset: u64,
}

/// A tensor's type, shape and place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The tensor's name.
    pub name: String,
    /// 1 to 4 dimensions, the fastest first as in the file: a row is `dims[0]` values.
    pub dims: Vec<u64>,
    /// The type of the elements.
    pub dtype: DType,
    /// Bytes from [`Gguf::data_offset`].
    pub offset: u64,
    /// Size in bytes.
    pub len: u64,
}

impl TensorInfo {
    /// Values in the tensor.
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }
}

impl Gguf {
    /// Reads the header of `file`, a whole GGUF file of version 1 to 3 in either byte order.
    ///
    /// The tensors' ranges are proven to lie inside the file, at aligned offsets, without overlap.
    ///
    /// # Errors
    /// When anything in the header is malformed, or tensor data is missing.
    pub fn parse(file: &[u8]) -> Result<Gguf, GgufError> {
        reader::parse(file)
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// The data of a tensor of this file, in the byte order of the file
    /// ([`DType::swap_endian`] turns that of a [`Endian::Big`] file around).
    ///
    /// # Panics
    /// When `file` is not the parsed file or `info` not one of its tensors.
    pub fn bytes<'a>(&self, file: &'a [u8], info: &TensorInfo) -> &'a [u8] {
        let start = (self.data_offset + info.offset) as usize;
        &file[start..start + info.len as usize]
    }

    /// A tensor of this file, looked at in place: its shape is that of the file, outermost extent
    /// first.
    ///
    /// # Panics
    /// When `file` is not the parsed file or `info` not one of its tensors.
    pub fn view(&self, file: &FileBytes, info: &TensorInfo) -> Tensor {
        let start = (self.data_offset + info.offset) as usize;
        let shape: Vec<usize> = info.dims.iter().rev().map(|&d| d as usize).collect();
        Tensor::in_file(info.dtype, &shape, file, start..start + info.len as usize)
            .expect("a tensor that parsing has proven")
            .with_endian(self.endian)
    }
}

/// The alignment that `metadata` sets, a power of two from 8 to [`MAX_ALIGNMENT`].
fn alignment(metadata: &Metadata) -> Result<u64, GgufError> {
    let alignment = metadata.u64(ALIGNMENT_KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
    if alignment.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(&alignment) {
        Ok(alignment)
    } else {
        Err(GgufError::OutOfRange {
            key: ALIGNMENT_KEY.to_owned(),
            expected: "a power of two from 8 to 1048576",
            found: alignment.to_string(),
        })
    }
}

/// Bytes of a tensor of these dimensions, which are proven sound: 1 to 4, none zero, whole blocks, no overflow.
fn tensor_len(name: &str, dims: &[u64], dtype: DType, offset: u64) -> Result<u64, GgufError> {
    let place = || Place::Tensor(name.to_owned());
    let invalid = |what, found: String, expected: &str| GgufError::Invalid {
        place: place(),
        what,
        offset,
        found: found.into(),
        expected: expected.into(),
    };
    if !(1..=MAX_DIMS).contains(&dims.len()) {
        return Err(invalid(
            "the number of dimensions",
            dims.len().to_string(),
            "1 to 4",
        ));
    }
    if dims.contains(&0) {
        return Err(invalid("the shape", format!("{dims:?}"), "dimensions above 0"));
    }
    let elements = dims
        .iter()
        .try_fold(1u64, |n, &d| n.checked_mul(d))
        .filter(|&n| i64::try_from(n).is_ok());
    let Some(elements) = elements else {
        return Err(invalid(
            "the shape",
            format!("{dims:?}"),
            "fewer than 2^63 values",
        ));
    };
    if !dims[0].is_multiple_of(dtype.block_len() as u64) {
        return Err(GgufError::PartialBlock {
            place: place(),
            columns: dims[0],
            dtype,
        });
    }
    dtype
        .bytes_for(elements)
        .filter(|&n| i64::try_from(n).is_ok())
        .ok_or_else(|| invalid("the shape", format!("{dims:?}"), "fewer than 2^63 bytes"))
}
