//! Files that models are stored in: GGUF, safetensors with a configuration and a tokenizer.
//!
//! [`open`] makes a [`Checkpoint`](checkpoint::Checkpoint) of a path, whatever is there. This crate
//! knows what files say, of models too ([`llama`]); it runs none. Tensors are views of a file's
//! bytes, as [`bise_kernels::tensor`] has them.
#![forbid(unsafe_code)]

pub mod atomic;
pub mod checkpoint;
mod error;
mod expected;
pub mod foreign;
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
