//! What every GGUF file begins with, and how far the numbers of one may go.

pub(super) const MAGIC: &[u8; 4] = b"GGUF";
pub(super) const DEFAULT_ALIGNMENT: u64 = 32;
pub(super) const MAX_ALIGNMENT: u64 = 1 << 20;
pub(super) const MAX_DIMS: usize = 4;
pub(super) const MAX_KEY: u64 = u16::MAX as u64;
pub(super) const MAX_TENSOR_NAME: u64 = 255;
pub(super) const MAX_DEPTH: u32 = 4;
/// Bytes of memory that the header may take for each byte of the file, beside [`SPARE`]. Headers of
/// models take less: only crowds of tiny items, such as empty strings, take more.
pub(super) const MEMORY: u64 = 4;
/// Bytes of memory that the header of any file may take.
pub(super) const SPARE: u64 = 48 << 10;
/// The metadata key that sets the alignment of tensor data.
pub const ALIGNMENT_KEY: &str = "general.alignment";
