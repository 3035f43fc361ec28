//! Files that models are stored in: GGUF, safetensors with a configuration and a tokenizer.
//!
//! This crate knows what files say, of models too; it runs none. What one meets, in this order:
//!
//! 1. [`open`] makes a [`Checkpoint`](checkpoint::Checkpoint) of a path, whatever is there: a GGUF
//!    file, one part of several, or a directory of safetensors. Why there is none says an
//!    [`OpenError`]; [`full_text`] has it with all its causes.
//! 2. The checkpoint's metadata, [`gguf::Metadata`], are by GGUF's keys wherever they come from,
//!    and its tensors by GGUF's names, which [`TensorName`] reads and writes. A
//!    [`Tensor`](bise_kernels::tensor::Tensor) is a view of a file's bytes.
//! 3. [`llama`] tells what of that is applied, of no weight for the result, or refused.
//! 4. [`adapter::Adapter`] reads LoRA adapters, and holds them against a checkpoint.
//! 5. [`gguf::Gguf`] reads a GGUF file by itself, and [`gguf::GgufWriter`] writes one; [`atomic`]
//!    lets files appear whole or not at all.
//!
//! ```
//! let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/tiny-mistral");
//! let (checkpoint, _notes) = bise_format::open(path.as_ref())?;
//! assert_eq!(checkpoint.metadata.u32("llama.block_count")?, Some(4));
//! let down = &checkpoint.tensors["blk.0.ffn_down.weight"];
//! // Outermost extent first: outputs, inputs.
//! assert_eq!(down.shape(), [256, 512]);
//! assert_eq!(down.to_vec().len(), 256 * 512);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! No bytes of a file make a function of this crate panic, and what it takes in memory is bounded
//! by the file's size.
#![forbid(unsafe_code)]

pub mod adapter;
pub mod atomic;
pub mod checkpoint;
mod error;
mod expected;
pub mod foreign;
mod fp8;
pub mod gguf;
mod hf;
pub mod llama;
mod locate;
mod names;
mod native;
mod open;
mod small_file;
mod tensor_name;
mod tokenizer;

pub use error::{OpenError, full_text};
pub use hf::{Outline, outline};
pub use locate::locate;
pub use open::open;
pub use tensor_name::{FfnMatrix, LayerTensor, TensorName};
pub use tokenizer::{tekken_metadata, tokenizer_metadata};
