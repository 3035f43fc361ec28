//! From the source's tensors to a file: slabs made on all threads, hashed and written in order.

pub(crate) mod adapters;
mod journal;
pub(crate) mod merge;
pub(crate) mod pipeline;
pub(crate) mod plan;
mod queue;
pub(crate) mod slab;
pub(crate) mod source;
pub(crate) mod writing;
