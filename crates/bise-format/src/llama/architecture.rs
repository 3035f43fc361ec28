//! GGUF's names of the architectures that are one block.

use super::LlamaError;
use crate::gguf::Metadata;

/// What GGUF calls the model. Both are the same block with the same tensors; their keys differ by
/// their first word alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// Mistral, Mixtral, and what llama.cpp's converter takes for a Llama.
    Llama,
    /// Mistrals with scaled positions, or made from a model that sees images.
    Mistral3,
}

impl Architecture {
    const ALL: [Self; 2] = [Self::Llama, Self::Mistral3];
    const KEY: &'static str = "general.architecture";

    /// What `metadata` say.
    ///
    /// # Errors
    /// When it is another one, or none.
    pub fn of(metadata: &Metadata) -> Result<Self, LlamaError> {
        let name = metadata.str(Self::KEY)?.unwrap_or_default();
        Self::from_name(name).ok_or_else(|| LlamaError::Architecture {
            hint: hint(name),
            found: name.to_owned(),
        })
    }

    /// The one that is called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Its name, which keys begin with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral3 => "mistral3",
        }
    }

    /// The key called `name`, such as `block_count`.
    pub fn key(self, name: &str) -> String {
        format!("{}.{name}", self.name())
    }

    /// The name of one of its keys; `None` for those of others.
    pub fn name_of(self, key: &str) -> Option<&str> {
        key.strip_prefix(self.name())?.strip_prefix('.')
    }
}

/// What to say of a model whose attention is latent.
pub(crate) const LATENT: &str = "\nsuch a model has latent attention (MLA), as Mistral Large 3 and Mistral Small 4 do: it is no dense Mistral";

fn hint(name: &str) -> &'static str {
    match name {
        "clip" => "\nthis is a projector for images (mmproj): give the file of the language model",
        "deepseek2" | "mistral4" => LATENT,
        "" => "\nthe file does not say what it is: it may be no model",
        _ => "",
    }
}
