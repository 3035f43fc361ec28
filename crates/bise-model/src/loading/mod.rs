//! From a checkpoint's tensors to the weights of layers.

mod bad_weight;
mod loader;
mod steps;
mod store;
mod streamed;
mod updates;
mod weights;

pub(crate) use bad_weight::{find_bad_weight, find_in_tensor};
pub use loader::LoadOptions;
pub(crate) use steps::{matrices, step_tensors};
pub(crate) use streamed::largest_piece;
pub(crate) use updates::Updates;
pub(crate) use weights::Weights;
