//! The versions of Mistral's chat formats.

use std::fmt;

/// Metadata in which `bise quantize` keeps a tokenizer's version (`v7`), where the source says it.
pub const VERSION_KEY: &str = "tokenizer.mistral.version";

/// A chat format, by the number that mistral-common gives it; with SentencePiece or tekken, as the
/// file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `[INST]` is text. Mistral 7B Instruct v0.1 and v0.2, Mixtral 8x7B Instruct.
    V1,
    /// `[INST]` is a token; tools. Mistral Small and Large of February 2024.
    V2,
    /// Calls have ids. Mistral 7B Instruct v0.3, Mixtral 8x22B Instruct, Mistral Nemo.
    V3,
    /// System prompts have tokens. Mistral Large and Small of November 2024 and January 2025.
    V7,
    /// Calls are tokens instead of JSON. Mistral Small 3.2.
    V11,
    /// Ids of calls are left out; tools are listed first. Magistral, and models after it.
    V13,
    /// Settings say how much to think.
    V15,
}

impl Version {
    /// All versions, oldest first.
    pub const ALL: [Self; 7] = [
        Self::V1,
        Self::V2,
        Self::V3,
        Self::V7,
        Self::V11,
        Self::V13,
        Self::V15,
    ];

    /// The names of all versions, with commas.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// `v1` to `v15`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
            Self::V7 => "v7",
            Self::V11 => "v11",
            Self::V13 => "v13",
            Self::V15 => "v15",
        }
    }

    /// The version with this name; `v3-tekken` and the like are accepted too, as the vocabulary
    /// decides.
    pub fn from_name(name: &str) -> Option<Self> {
        let number = name.strip_prefix("mistral-").unwrap_or(name);
        let number = number.strip_suffix("-tekken").unwrap_or(number);
        Self::ALL.into_iter().find(|version| version.name() == number)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
