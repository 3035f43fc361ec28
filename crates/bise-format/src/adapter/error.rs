//! Why an adapter does not fit a model.

use std::path::PathBuf;

/// Why an adapter does not fit a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what the fields are
pub enum AdapterError {
    /// For another kind of model.
    #[error(
        "{}: the adapter is for models of architecture '{found}', and this one is of '{expected}'\n{BASE}",
        .path.display()
    )]
    Architecture {
        path: PathBuf,
        found: String,
        expected: String,
    },
    /// For a matrix that the model lacks.
    #[error(
        "{}: tensor `{tensor}` is for {target}, which the model does not have\n{BASE}",
        .path.display()
    )]
    Target {
        path: PathBuf,
        tensor: String,
        target: String,
    },
    /// For a matrix of other extents.
    #[error(
        "{}: tensor `{tensor}` has the shape {found:?} (outermost first), expected {expected:?} for this model\n{BASE}",
        .path.display()
    )]
    Shape {
        path: PathBuf,
        tensor: String,
        found: Vec<usize>,
        expected: Vec<usize>,
    },
    /// A copy of one of the model's matrices that is none.
    #[error(
        "{}: tensor `{tensor}` replaces a matrix of the model by another one, which is not supported\n\
         merge the adapter with PEFT (merge_and_unload, save_pretrained), and give the result as the model",
        .path.display()
    )]
    Replaced { path: PathBuf, tensor: String },
    /// A scale that is no number for the products.
    #[error(
        "{}: with the scale {scale}, tensor `{tensor}` is multiplied by {product}, which is no finite number\n\
         give a smaller scale",
        .path.display()
    )]
    Scale {
        path: PathBuf,
        tensor: String,
        scale: f32,
        product: f64,
    },
}

/// What to do about an adapter of another model.
const BASE: &str = "give the model that the adapter was trained on (`bise inspect ADAPTER` tells \
                    what the adapter says of it)";
