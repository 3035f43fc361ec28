//! What is wrong with a model's tensors.

use std::fmt;

/// How the tensors that are there differ from those that a configuration asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TensorFaults {
    /// Names that are not there.
    pub missing: Vec<String>,
    /// Names that should not be there.
    pub extra: Vec<String>,
    /// Names with what is wrong about the tensor.
    pub wrong: Vec<String>,
}

impl TensorFaults {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.wrong.is_empty()
    }
}

impl fmt::Display for TensorFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        let kinds = [
            ("missing", &self.missing),
            ("unexpected", &self.extra),
            ("wrong", &self.wrong),
        ];
        let mut separator = "";
        for (kind, names) in kinds.into_iter().filter(|(_, names)| !names.is_empty()) {
            let shown = names[..names.len().min(SHOWN)].join(", ");
            write!(f, "{separator}{} {kind} tensors: {shown}", names.len())?;
            if names.len() > SHOWN {
                f.write_str(", ...")?;
            }
            separator = "; ";
        }
        if self.extra.iter().any(|name| name.ends_with(".bias")) {
            f.write_str(
                "\nbiases change the result and are not supported: such a model is no Mistral",
            )?;
        }
        if self.extra.iter().any(|name| name.ends_with(".scale")) {
            f.write_str(
                "\nscales of whole matrices (of NVFP4) change the result and are not supported: \
                 get the model in another type",
            )?;
        }
        Ok(())
    }
}
