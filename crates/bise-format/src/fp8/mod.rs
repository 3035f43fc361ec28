//! FP8: weights of eight bits, and beside them the scales that they are multiples of.
//!
//! ```text
//! w = scale * x           x of E4M3, whatever "inv" in a name says
//!
//! Hugging Face          X.weight_scale_inv   [], or [rows / 128, columns / 128] for blocks
//! compressed-tensors    X.weight_scale       [1], or [rows, 1], or those of blocks
//! Mistral's own         X.qscale_weight      []
//! ```
//!
//! Which tensors are FP8 their types say, and not the configurations' lists of modules, which are
//! in the names that these have in some program's memory. A configuration says how large blocks
//! are. The last ones are cut where blocks do not divide a matrix.

mod config;
mod scales;

pub(crate) use config::{blocks, check, native};
pub(crate) use scales::{Fp8, is_of_activations, weight_of};
