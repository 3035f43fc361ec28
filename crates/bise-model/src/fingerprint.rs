//! What tells one model from another, for files that are worthless with any other.

use bise_tensor::gguf::{Gguf, Layout, TensorSpec};
use bise_tensor::mmap::FileBytes;
use bise_tensor::tensor::Tensor;
use std::fmt;

/// The version of the numeric contract: raised whenever the same model and tokens give other bits than before.
pub const CONTRACT: u32 = 1;

/// Tensors of up to this many bytes count whole, larger ones by as many bytes in [`PIECES`] pieces.
const WHOLE: usize = 1 << 16;
const PIECES: usize = 16;

/// A hash over a model's metadata, the tokenizer's among them, over the names, types and shapes of its tensors, and over their
/// data: of large tensors 16 pieces of 4 KiB, evenly spread from the first bytes to the last, so that a model larger than memory
/// need not be read anew. Another quantization, tokenizer or training shows; a change of single weights between the pieces
/// does not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(gguf: &Gguf, file: &FileBytes) -> Self {
        let mut hash = blake3::Hasher::new();
        let specs = gguf.tensors.values().map(|info| TensorSpec {
            name: info.name.clone(),
            dims: info.dims.clone(),
            dtype: info.dtype,
        });
        let header = Layout::new(&gguf.metadata, specs).expect("what was parsed can be laid out");
        hash.update(header.header());
        for info in gguf.tensors.values() {
            let tensor = Tensor::from_gguf(gguf, file, info);
            let bytes = tensor.bytes();
            if bytes.len() <= WHOLE {
                hash.update(bytes);
                continue;
            }
            let piece = WHOLE / PIECES;
            for i in 0..PIECES {
                let at = (bytes.len() - piece) * i / (PIECES - 1);
                hash.update(&bytes[at..at + piece]);
            }
        }
        Self(*hash.finalize().as_bytes())
    }

    pub(crate) fn bytes(self) -> [u8; 32] {
        self.0
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}
