//! Quantized blocks, and CPU kernels that give the same bits on every machine.
//!
//! This crate knows bytes, blocks and arithmetic; it knows no file format and no model. What one
//! meets, in this order:
//!
//! 1. [`FileBytes`](mmap::FileBytes): the bytes of a file, mapped or in memory.
//! 2. [`DType`](block::DType): how values are stored, as floats or in quantized blocks.
//! 3. [`Tensor`](tensor::Tensor): a part of those bytes, of a type and a shape, outermost extent
//!    first.
//! 4. [`Level`](isa::Level): the instruction set that a kernel is run with. [`Isa`](isa::Isa) says
//!    what kernels ask of it.
//! 5. [`Weights`](matmul::Weights) and [`Activations`](matmul::Activations), which
//!    [`matmul`](matmul::matmul()) multiplies.
//! 6. [`ops`]: what else a transformer consists of. RMSNorm, rotary embeddings, attention, SwiGLU.
//! 7. [`Threads`](threads::Threads): the pool that all of it runs on.
//!
//! ```
//! use bise_kernels::block::DType;
//! use bise_kernels::isa::Level;
//! use bise_kernels::matmul::{Activations, Weights, matmul};
//! use bise_kernels::mmap::FileBytes;
//! use bise_kernels::tensor::Tensor;
//!
//! // A matrix of 2 rows and 32 columns, quantized: a block for each row.
//! let values: Vec<f32> = (0..64).map(|i| i as f32 / 64.0).collect();
//! let mut blocks = vec![0; 2 * DType::Q8_0.block_bytes()];
//! DType::Q8_0.quantize(&values, None, &mut blocks);
//! let tensor = Tensor::from_bytes(DType::Q8_0, &[2, 32], FileBytes::from_vec(blocks)).unwrap();
//! let weights = Weights::new(&tensor)?;
//!
//! // Times three rows of activations: `[3, 32]` becomes `[3, 2]`.
//! let mut x = Activations::with_capacity(Level::detect(), 3, 32);
//! x.set(&[0.5; 3 * 32], 32);
//! let mut out = [0.0; 3 * 2];
//! matmul(&weights, &mut x, &mut out);
//!
//! let exact: f32 = values[..32].iter().map(|value| value * 0.5).sum();
//! assert!((out[0] - exact).abs() < 0.05);
//! // The same rows give the same bits, as they do at any other level.
//! assert_eq!(out[..2], out[4..]);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The numeric contract that the kernels keep is stated in `ARCHITECTURE.md` and executed by the
//! scalar level in [`isa`]. Kernels panic when shapes do not fit, and say which; bytes of a file
//! cannot make them panic.
#![deny(unsafe_code)]
// Kernels count indices: an iterator around operations of an instruction set is compiled without
// its features.
#![allow(clippy::needless_range_loop)]

pub mod block;
mod e4m3;
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
