//! Files that models are stored in: GGUF, and checkpoints of one or more files.
//!
//! This crate knows what files say, of models too ([`llama`]); it runs none. Tensors are views of
//! a file's bytes, as [`bise_kernels::tensor`] has them.
#![forbid(unsafe_code)]

pub mod atomic;
pub mod checkpoint;
pub mod foreign;
pub mod gguf;
pub mod llama;
