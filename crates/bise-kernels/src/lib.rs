//! Quantized blocks, and CPU kernels that give the same bits on every machine.
//!
//! This crate knows bytes, blocks and arithmetic; it knows no file format and no model. The numeric
//! contract that the kernels keep is stated in `ARCHITECTURE.md` and executed by the scalar level in [`isa`].
#![deny(unsafe_code)]
// Kernels count indices: an iterator around operations of an instruction set is compiled without its features.
#![allow(clippy::needless_range_loop)]

pub mod block;
#[allow(unsafe_code)] // intrinsics, behind tokens that prove the features
pub mod isa;
pub mod matmul;
pub mod measure;
pub mod memory;
#[allow(unsafe_code)] // mapping a file
pub mod mmap;
pub mod ops;
pub mod tensor;
#[allow(unsafe_code)] // disjoint strips of one matrix, written by several threads
pub mod threads;
