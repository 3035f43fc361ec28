//! What happens to a section of text before it is cut.

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

use super::super::error::TokenizerError;
use super::pattern::{Pattern, Spec};
use super::place::Place;

/// A normalizer as `tokenizer.json` has it.
#[derive(Debug, Deserialize, Default)]
#[serde(tag = "type")]
pub(super) enum NormalizerSpec {
    #[default]
    None,
    Sequence {
        normalizers: Vec<NormalizerSpec>,
    },
    Prepend {
        prepend: String,
    },
    Replace {
        pattern: Spec,
        content: String,
    },
    #[serde(rename = "NFC")]
    Nfc,
    #[serde(rename = "NFD")]
    Nfd,
    #[serde(rename = "NFKC")]
    Nfkc,
    #[serde(rename = "NFKD")]
    Nfkd,
    Lowercase,
    Strip {
        strip_left: bool,
        strip_right: bool,
    },
}

#[derive(Debug)]
enum Step {
    Prepend(String),
    Replace(Pattern, String),
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    Strip { left: bool, right: bool },
}

/// Steps, one after the other.
#[derive(Debug)]
pub(super) struct Normalizer(Vec<Step>);

impl Normalizer {
    pub fn new(spec: NormalizerSpec) -> Result<Self, TokenizerError> {
        let mut steps = Vec::new();
        collect(spec, &mut steps)?;
        Ok(Self(steps))
    }

    /// A section of text at `place`, normalized.
    pub fn normalize(&self, text: &str, place: Place) -> String {
        let mut text = text.to_owned();
        for step in &self.0 {
            text = match step {
                Step::Prepend(_) if text.is_empty() || place == Place::Continuing => text,
                Step::Prepend(front) => format!("{front}{text}"),
                Step::Replace(pattern, content) => pattern.replace(&text, content),
                Step::Nfc => text.nfc().collect(),
                Step::Nfd => text.nfd().collect(),
                Step::Nfkc => text.nfkc().collect(),
                Step::Nfkd => text.nfkd().collect(),
                // Character by character: a sigma at the end of a word is like any other.
                Step::Lowercase => text.chars().flat_map(char::to_lowercase).collect(),
                Step::Strip { left, right } => {
                    let rest = if *left { text.trim_start() } else { &text };
                    (if *right { rest.trim_end() } else { rest }).to_owned()
                }
            };
        }
        text
    }
}

fn collect(spec: NormalizerSpec, steps: &mut Vec<Step>) -> Result<(), TokenizerError> {
    steps.push(match spec {
        NormalizerSpec::None => return Ok(()),
        NormalizerSpec::Sequence { normalizers } => {
            return normalizers.into_iter().try_for_each(|spec| collect(spec, steps));
        }
        NormalizerSpec::Prepend { prepend } => Step::Prepend(prepend),
        NormalizerSpec::Replace { pattern, content } => {
            Step::Replace(Pattern::new("normalizer", &pattern)?, content)
        }
        NormalizerSpec::Nfc => Step::Nfc,
        NormalizerSpec::Nfd => Step::Nfd,
        NormalizerSpec::Nfkc => Step::Nfkc,
        NormalizerSpec::Nfkd => Step::Nfkd,
        NormalizerSpec::Lowercase => Step::Lowercase,
        NormalizerSpec::Strip {
            strip_left: left,
            strip_right: right,
        } => Step::Strip { left, right },
    });
    Ok(())
}
