//! Hugging Face directories and GGUF files in, quantized GGUF files out.
//!
//! ```text
//! SRC --> Checkpoint --> source --> recipe --> pipeline --> DST, all or nothing
//!                        (experts stacked)
//! ```
//!
//! Weights are read through maps and pass in slabs of rows: memory does not grow with the model. The output
//! depends on the input and the options alone, not on the number of threads.
#![forbid(unsafe_code)]

mod choose;
mod convert;
mod error;
mod integrity;
mod options;
mod progress;
mod repack;
mod report;
mod synthetic;
mod write;

pub use choose::imatrix::{ImatrixEntry, ImportanceMatrix};
pub use choose::recipe::Target;
pub use choose::size::Budget;
pub use choose::tensor_type::TensorType;
pub use choose::types;
pub use choose::weigh::ErrorReport;
pub use convert::{quantize, quantize_and_probe, quantize_source};
pub use error::{OptionError, QuantizeError};
pub use integrity::probe::{LayersDone, Prober};
pub use integrity::verify::{Fault, FaultKind, Verdict, verify, verify_bytes};
pub use options::Options;
pub use progress::{Progress, Silent};
pub use repack::repack;
pub use report::{Report, TensorReport};
pub use synthetic::Synthetic;
pub use write::source::Source;
