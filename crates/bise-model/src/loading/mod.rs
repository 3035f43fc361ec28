//! From a checkpoint's tensors to the weights of layers.

mod bad_weight;
mod steps;
mod store;
mod streamed;
mod weights;

pub(crate) use bad_weight::{find_bad_weight, find_in_tensor};
pub(crate) use steps::{matrices, step_tensors};
pub(crate) use streamed::largest_piece;
pub use weights::LoadOptions;
pub(crate) use weights::Weights;
