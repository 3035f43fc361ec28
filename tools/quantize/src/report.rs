//! What is told of a file that has been written.

use crate::choose::weigh::ErrorReport;
use crate::integrity::manifest::Manifest;
use crate::write::source::StackedTensor;
use bise_format::gguf::TensorInfo;
use bise_kernels::block::DType;

/// What has been written.
#[derive(Clone, Debug)]
pub struct Report {
    /// Size of the file in bytes.
    pub file_len: u64,
    /// Size of the source's weights in bytes.
    pub source_len: u64,
    /// The tensors, in the order of the file.
    pub tensors: Vec<TensorReport>,
    /// What the user should know: fallbacks, absent parts.
    pub notes: Vec<String>,
}

/// What became of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorReport {
    /// GGUF's name.
    pub name: String,
    /// Values.
    pub elements: u64,
    /// The type in the source.
    pub from: DType,
    /// The type in the file.
    pub to: DType,
    /// Size in the file in bytes.
    pub len: u64,
    /// How far the stored values are from the source's, when
    /// [`Options::measure`](crate::Options::measure) asks for it.
    pub error: Option<ErrorReport>,
}

impl Report {
    pub(crate) fn new(manifest: &Manifest, tensors: &[StackedTensor], notes: Vec<String>) -> Self {
        let layout = manifest.layout();
        Self {
            file_len: layout.file_len(),
            source_len: tensors.iter().map(StackedTensor::source_len).sum(),
            tensors: tensors
                .iter()
                .zip(layout.tensors().values())
                .map(report)
                .collect(),
            notes,
        }
    }

    /// Bits of weights a value, over all tensors.
    pub fn bits_per_weight(&self) -> f64 {
        let bits: u64 = self.tensors.iter().map(|t| t.len * 8).sum();
        let elements: u64 = self.tensors.iter().map(|t| t.elements).sum();
        bits as f64 / elements.max(1) as f64
    }
}

fn report((tensor, info): (&StackedTensor, &TensorInfo)) -> TensorReport {
    TensorReport {
        name: info.name.clone(),
        elements: info.elements(),
        from: tensor.source_type(),
        to: info.dtype,
        len: info.len,
        error: None,
    }
}
