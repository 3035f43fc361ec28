//! What is asked of the quantizer, and what its output depends on.

use crate::choose::recipe::Target;
use crate::choose::size::Budget;
use crate::choose::tensor_type::TensorType;
use crate::error::QuantizeError;
use crate::integrity::digest::Digest;
use crate::integrity::manifest::Manifest;
use crate::write::writing;
use bise_format::OpenError;
use bise_format::adapter::{Adapter, ScaledAdapter};
use bise_format::atomic::claim;
use bise_kernels::block::DType;
use std::path::{Path, PathBuf};

/// What to make of the source.
#[derive(Clone, Debug)]
pub struct Options {
    /// The type or recipe of the weights.
    pub target: Target,
    /// Gives all matrices the target's own type: no better types for tensors that deserve them.
    pub pure: bool,
    /// Chooses types by measured errors within this size, instead of by the target's rules.
    pub budget: Option<Budget>,
    /// The type of the output matrix.
    pub output_type: Option<DType>,
    /// The type of the embedding.
    pub embedding_type: Option<DType>,
    /// Types of other tensors; the first pattern that a name matches counts.
    pub tensor_types: Vec<TensorType>,
    /// File of an importance matrix, which weighs errors.
    pub imatrix: Option<PathBuf>,
    /// Adapters that are merged into the weights before these are quantized, each with what its
    /// updates are multiplied by.
    pub adapters: Vec<(PathBuf, f32)>,
    /// Whether matrices that are quantized already may be quantized to other types.
    pub allow_requantize: bool,
    /// Whether to measure the error of each tensor.
    pub measure: bool,
    /// Threads to use; all cores when `None`.
    pub threads: Option<usize>,
    /// What the file says of the sliding window: so many keys, or none for 0; as the source says
    /// when `None`.
    pub sliding_window: Option<u32>,
}

impl Options {
    /// The usual options for a target.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            pure: false,
            budget: None,
            output_type: None,
            embedding_type: None,
            tensor_types: Vec::new(),
            imatrix: None,
            adapters: Vec::new(),
            allow_requantize: true,
            measure: false,
            threads: None,
            sliding_window: None,
        }
    }
}

impl Options {
    /// Checks what can be known before work: that all types are ones that can be written, and that
    /// `dst` is a place for a file and none that is read: not `src`, nor the importance matrix, nor
    /// an adapter.
    ///
    /// # Errors
    /// Says which is not.
    pub fn check(&self, src: &Path, dst: &Path) -> Result<(), QuantizeError> {
        self.check_types()?;
        let read = [src].into_iter().chain(self.imatrix.as_deref());
        let adapters = self.adapters.iter().map(|(path, _)| &**path);
        Ok(claim(dst, &read.chain(adapters).collect::<Vec<_>>())?)
    }

    /// All types must be ones that can be written.
    fn check_types(&self) -> Result<(), QuantizeError> {
        let set = [Some(self.target.base()), self.output_type, self.embedding_type];
        let by_pattern = self.tensor_types.iter().map(TensorType::dtype);
        let mut asked = set.into_iter().flatten().chain(by_pattern);
        match asked.find(|dtype| !dtype.can_quantize()) {
            Some(dtype) => Err(QuantizeError::ReadOnly(dtype)),
            None => Ok(()),
        }
    }

    /// Opens the adapters, and adds to `notes` what the user should know.
    ///
    /// # Errors
    /// As [`Adapter::open`].
    pub(crate) fn open_adapters(
        &self,
        notes: &mut Vec<String>,
    ) -> Result<Vec<ScaledAdapter>, OpenError> {
        let open = |(path, scale): &(PathBuf, f32)| {
            let (adapter, more) = Adapter::open(path)?;
            notes.extend(more);
            let scale = *scale;
            Ok(ScaledAdapter { adapter, scale })
        };
        self.adapters.iter().map(open).collect()
    }

    /// The job that is done with these options: what the bytes of the output depend on.
    pub(crate) fn identity(
        &self,
        src: &Path,
        adapters: &[ScaledAdapter],
        manifest: &Manifest,
    ) -> std::io::Result<Digest> {
        let adapters = adapters.iter().map(|scaled| scaled.adapter.path());
        let read: Vec<&Path> = self.imatrix.as_deref().into_iter().chain(adapters).collect();
        writing::identity(src, &read, &self.spelled_out(), manifest)
    }

    /// The options that the bytes of the output depend on; of the importance matrix and of adapters
    /// the files count, not their names.
    fn spelled_out(&self) -> String {
        let Self {
            target,
            pure,
            budget,
            output_type,
            embedding_type,
            tensor_types,
            sliding_window,
            adapters,
            imatrix: _,
            allow_requantize: _,
            measure: _,
            threads: _,
        } = self;
        let budget = match budget {
            None => "none".to_owned(),
            Some(Budget::Bytes(bytes)) => format!("{bytes} bytes"),
            Some(Budget::BitsPerWeight(bits)) => {
                format!("{:016x} bits of a weight, as f64", bits.to_bits())
            }
        };
        let dtype = |dtype: &Option<DType>| dtype.map_or("none", |dtype| dtype.name());
        let kind = match target {
            Target::Plain(_) => "type",
            Target::Recipe(_) => "recipe",
        };
        let fields = [
            ("target", format!("{kind} {}", target.name())),
            ("pure", pure.to_string()),
            ("budget", budget),
            ("output_type", dtype(output_type).to_owned()),
            ("embedding_type", dtype(embedding_type).to_owned()),
            (
                "sliding_window",
                sliding_window.map_or("none".to_owned(), |keys| keys.to_string()),
            ),
        ];
        let types = tensor_types.iter().map(|rule| ("tensor_type", rule.to_string()));
        let scales = adapters
            .iter()
            .map(|(_, scale)| ("adapter", format!("times {:08x}, as f32", scale.to_bits())));
        let lines = fields.into_iter().chain(types).chain(scales);
        lines.map(|(name, value)| format!("{name}={value}\n")).collect()
    }
}
