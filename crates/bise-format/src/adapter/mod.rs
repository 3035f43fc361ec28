//! LoRA adapters (Hu et al., arXiv 2106.09685): for some matrices of a model, updates that are
//! products of two narrow ones.
//!
//! ```text
//! W' = W + scale * B A        W [rows, columns], B [rows, rank], A [rank, columns]
//! ```
//!
//! They come as a folder of PEFT, or as a GGUF file of llama.cpp. [`Adapter::open`] reads either;
//! [`ScaledAdapter::updates`] holds one against a model.

mod error;
mod gguf;
mod low_rank;
mod open;
mod pair;
mod peft;
mod stored;

pub use error::AdapterError;
pub use low_rank::{LowRank, ScaledAdapter};
pub use pair::Pair;
pub use stored::{Adapter, Origin};
