//! Rules at work.

use serde::de::DeserializeOwned;

use super::super::error::TokenizerError;
use super::super::vocabulary::Vocabulary;
use super::Rules;
use super::added::{Found, Table};
use super::normalizer::Normalizer;
use super::place::{Controls, Place};
use super::pre_tokenizer::PreTokenizer;

/// Rules prepared for use.
#[derive(Debug)]
pub(in crate::tokenizer) struct Pipeline {
    raw: Table,
    normal: Table,
    /// Control tokens that are normalized, and their words.
    late: Vec<(u32, String)>,
    normalizer: Normalizer,
    pre_tokenizer: PreTokenizer,
}

/// JSON of a part that is longer stands in no real file, and would take much memory.
const LONGEST: usize = 64 << 10;

fn part<T: DeserializeOwned + Default>(
    what: &'static str,
    json: &str,
) -> Result<T, TokenizerError> {
    let fault = |found: String| TokenizerError::Rule { what, found };
    if json.len() > LONGEST {
        return Err(fault(format!(
            "it has {} bytes, expected at most {LONGEST}",
            json.len()
        )));
    }
    let part: Option<T> = serde_json::from_str(json).map_err(|e| fault(e.to_string()))?;
    Ok(part.unwrap_or_default())
}

impl Pipeline {
    pub fn new(vocabulary: &Vocabulary, rules: &Rules) -> Result<Self, TokenizerError> {
        let normalizer = Normalizer::new(part("normalizer", &rules.normalizer)?)?;
        let pre_tokenizer = PreTokenizer::new(part("pre_tokenizer", &rules.pre_tokenizer)?)?;
        let (mut raw, mut normal, mut late) = (Table::default(), Table::default(), Vec::new());
        for added in &rules.added {
            let Some(text) = vocabulary.pieces.get(added.id as usize) else {
                let (found, tokens) = (added.id, vocabulary.len());
                return Err(TokenizerError::SpecialOutOfRange {
                    what: "added",
                    found,
                    tokens,
                });
            };
            let control = vocabulary.is_special(added.id);
            if control && added.normalized {
                late.push((added.id, normalizer.normalize(text, Place::Continuing)));
            }
            match added.normalized {
                true => {
                    normal.insert(&normalizer.normalize(text, Place::Beginning), added, control)
                }
                false => raw.insert(text, added, control),
            }
        }
        Ok(Self {
            raw,
            normal,
            late,
            normalizer,
            pre_tokenizer,
        })
    }

    /// Whether words end as bytes in GPT-2's alphabet.
    pub fn is_byte_level(&self) -> bool {
        self.pre_tokenizer.is_byte_level()
    }

    /// Calls `emit` with added tokens, with `controls`, and with the words between them.
    pub fn cut(
        &self,
        text: &str,
        controls: Controls,
        place: Place,
        mut emit: impl FnMut(Result<u32, &str>),
    ) {
        let late = self.late(text, controls);
        let early: Vec<_> = controls
            .iter()
            .filter(|(_, id)| !late.contains(id))
            .cloned()
            .collect();
        self.raw.split(text, &early, &[], |at, found| match found {
            Found::Token(id) => emit(Ok(id)),
            Found::Text(section) => {
                let place = if at == 0 { place } else { Place::Behind };
                let normal = self.normalizer.normalize(section, place);
                self.normal.split(&normal, &[], &late, |at, found| match found {
                    Found::Token(id) => emit(Ok(id)),
                    Found::Text(part) => {
                        let place = if at == 0 { place } else { Place::Behind };
                        self.pre_tokenizer.cut(part, place, &mut |word| emit(Err(word)));
                    }
                });
            }
        });
    }

    /// The control tokens that are searched in normalized text, as far as the program has placed
    /// all that `text` has of them once it is normalized.
    fn late(&self, text: &str, controls: Controls) -> Vec<u32> {
        let placed = |id: u32| controls.iter().filter(|(_, placed)| *placed == id).count();
        if self.late.iter().all(|(id, _)| placed(*id) == 0) {
            return Vec::new();
        }
        let text = self.normalizer.normalize(text, Place::Continuing);
        let all = |(id, word): &&(u32, String)| {
            placed(*id) > 0 && text.matches(word.as_str()).count() == placed(*id)
        };
        self.late.iter().filter(all).map(|(id, _)| *id).collect()
    }
}
