//! The layers of a block, as the papers draw them. Each owns what it works in, and is handed only
//! what it reads and writes.

mod attention;
mod block;
mod buffer;
mod embedding;
mod feed_forward;
mod held;
mod linear;
mod moe;
mod norm;
mod step;
mod swiglu;

pub(crate) use attention::Attention;
pub(crate) use block::{Block, Rows, Workspace};
pub(crate) use embedding::{Embedding, EmbeddingUpdate};
pub(crate) use feed_forward::FeedForward;
pub(crate) use held::Held;
pub(crate) use linear::{Linear, Update, Workspace as LinearWorkspace};
pub(crate) use moe::{Experts, SparseMoe};
pub(crate) use norm::RmsNorm;
pub(crate) use step::{Step, finite};
pub(crate) use swiglu::SwiGlu;
