//! Keys and values of past tokens, in pages of 64 positions.

mod batch_kv;
mod kv_cache;
mod pages;
mod shape;

pub(crate) use batch_kv::BatchKv;
pub(crate) use bise_kernels::ops::CHUNK;
pub(crate) use kv_cache::KvCache;
pub(crate) use pages::PagePool;
pub(crate) use shape::{KvShape, REWIND};
