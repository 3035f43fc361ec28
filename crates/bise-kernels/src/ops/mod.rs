//! The arithmetic of a transformer that is not a matrix product.
//!
//! Elementwise code is plain Rust, compiled once for each instruction set by [`Kernel`]: the
//! compiler turns it into vectors without changing an operation, so all levels agree.
//!
//! [`Kernel`]: crate::isa::Kernel

mod attention;
mod exp;
mod norm;
mod rope;
mod swiglu;

pub use attention::{
    Attention, CHUNK, KeyValues, KvType, MAX_HEAD_DIM, Workspace as AttentionWorkspace, attend,
    partials_len, store,
};
pub use exp::exp;
pub use norm::rms_norm;
pub use rope::{RopeTable, Temperature};
pub use swiglu::{add_scaled, swiglu};
