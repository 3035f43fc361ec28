//! What a GGUF file says that it holds.

use super::value::Metadata;
use bise_kernels::block::DType;
use bise_kernels::mmap::FileBytes;
use bise_kernels::tensor::{Endian, Tensor};
use indexmap::IndexMap;

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
