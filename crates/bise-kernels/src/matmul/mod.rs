//! Matrix products `out[n, r] = sum over k of w[r, k] * x[n, k]`, one contract for every format.
//!
//! Each output is accumulated in a fixed order (see [`int`] and [`plain`]); how many rows or
//! columns are worked on at a time, on how many threads and with which instructions does not change
//! a bit.
//!
//! A matrix times few rows of activations is a *gemv*, times many a *gemm*: `microkernel` has the
//! loops of both, and `tuning` the sizes of their parts.

mod activations;
mod at_width;
mod codebook;
pub mod int;
mod interleaved;
mod lanes;
mod matrix;
mod microkernel;
mod packed;
pub mod plain;
mod planes;
mod product;
mod quantized;
mod tiling;
mod tuning;
mod weight_panel;
mod weights;

pub use activations::Activations;
pub use matrix::Matrix;
pub use product::matmul;
pub use quantized::GROUP;
pub use weights::Weights;
