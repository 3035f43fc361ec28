//! Hugging Face directories and GGUF files in, quantized GGUF files out.
//!
//! ```text
//! SRC --> Checkpoint --> source --> recipe --> pipeline --> DST, all or nothing
//!                        (experts stacked)
//! ```
//!
//! What one meets, in this order:
//!
//! 1. [`Target`]: the type or the recipe of the weights, such as `Q8_0` or `Q4_K_M`.
//! 2. [`Options`]: what else is asked for. [`TensorType`] names the types of single tensors,
//!    [`Budget`] a size, and an [`ImportanceMatrix`] weighs errors.
//! 3. [`quantize`], which writes the file and gives a [`Report`]; a [`Progress`] hears how far it
//!    is. [`quantize_and_probe`] runs the model too, with a [`Prober`].
//! 4. [`verify`], which checks such a file, and [`repack`], which joins the parts of a GGUF
//!    model and stacks its experts, with all weights as they are.
//!
//! ```
//! use bise_quantize::{Options, Silent, Target, quantize, verify};
//! use std::path::Path;
//!
//! let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-mistral");
//! let folder = tempfile::tempdir()?;
//! let dst = folder.path().join("tiny.gguf");
//! let options = Options::new(Target::from_name("Q4_0").unwrap());
//! let report = quantize(&src, &dst, &options, &Silent)?;
//! // Both in bytes.
//! assert!(report.file_len < report.source_len / 2);
//! assert!(verify(&dst, None)?.faults.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Weights are read through maps and pass in slabs of rows: memory does not grow with the model.
//! The output depends on the input and the options alone, not on the number of threads.
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
