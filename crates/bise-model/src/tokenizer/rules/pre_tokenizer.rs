//! How normalized text is cut into the words in which merging happens.

use serde::Deserialize;

use super::super::error::TokenizerError;
use super::pattern::{Pattern, Spec};
use super::place::Place;

/// A pre-tokenizer as `tokenizer.json` has it.
#[derive(Debug, Deserialize, Default)]
#[serde(tag = "type")]
pub(super) enum PreTokenizerSpec {
    #[default]
    None,
    Sequence {
        pretokenizers: Vec<PreTokenizerSpec>,
    },
    Metaspace {
        replacement: char,
        /// In files of old there is `add_prefix_space` instead.
        prepend_scheme: Option<Scheme>,
        add_prefix_space: Option<bool>,
        #[serde(default = "yes")]
        split: bool,
    },
    Split {
        pattern: Spec,
        behavior: Behavior,
        #[serde(default)]
        invert: bool,
    },
    ByteLevel {
        add_prefix_space: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
    Digits {
        #[serde(default)]
        individual_digits: bool,
    },
    Whitespace,
    WhitespaceSplit,
}

fn yes() -> bool {
    true
}

/// Which texts `Metaspace` puts a space before, if they do not begin with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scheme {
    First,
    Always,
    Never,
}

/// What becomes of matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Behavior {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

#[derive(Debug)]
enum Step {
    Metaspace {
        space: char,
        scheme: Scheme,
    },
    Split {
        pattern: Pattern,
        behavior: Behavior,
        invert: bool,
    },
    /// A space in front of what begins with none.
    Space,
}

/// How GPT-2 cuts text, and the vocabularies that say no more than `ByteLevel`.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const WORDS: &str = r"\w+|[^\w\s]+";

/// Steps, one after the other.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    steps: Vec<Step>,
    byte_level: bool,
}

impl PreTokenizer {
    pub fn new(spec: PreTokenizerSpec) -> Result<Self, TokenizerError> {
        let mut made = Self {
            steps: Vec::new(),
            byte_level: false,
        };
        made.add(spec)?;
        Ok(made)
    }

    pub fn is_byte_level(&self) -> bool {
        self.byte_level
    }

    fn add(&mut self, spec: PreTokenizerSpec) -> Result<(), TokenizerError> {
        if self.byte_level && !matches!(spec, PreTokenizerSpec::None) {
            let found = "ByteLevel, which must be the last step".to_owned();
            return Err(TokenizerError::Rule {
                what: "pre_tokenizer",
                found,
            });
        }
        match spec {
            PreTokenizerSpec::None => {}
            PreTokenizerSpec::Sequence { pretokenizers } => {
                pretokenizers.into_iter().try_for_each(|spec| self.add(spec))?;
            }
            PreTokenizerSpec::Metaspace {
                replacement: space,
                prepend_scheme,
                add_prefix_space,
                split,
            } => {
                let old = if add_prefix_space == Some(false) {
                    Scheme::Never
                } else {
                    Scheme::Always
                };
                let scheme = prepend_scheme.unwrap_or(old);
                self.steps.push(Step::Metaspace { space, scheme });
                if split {
                    self.split(Pattern::Text(space.to_string()), Behavior::MergedWithNext, false);
                }
            }
            PreTokenizerSpec::Split {
                pattern,
                behavior,
                invert,
            } => {
                self.split(Pattern::new("pre_tokenizer", &pattern)?, behavior, invert);
            }
            PreTokenizerSpec::ByteLevel {
                add_prefix_space,
                use_regex,
            } => {
                if add_prefix_space {
                    self.steps.push(Step::Space);
                }
                if use_regex {
                    self.expression(GPT2, Behavior::Isolated, false)?;
                }
                self.byte_level = true;
            }
            PreTokenizerSpec::Digits {
                individual_digits: true,
            } => {
                self.split(Pattern::Class(char::is_numeric), Behavior::Isolated, false);
            }
            PreTokenizerSpec::Digits { .. } => {
                self.split(Pattern::Run(char::is_numeric), Behavior::Isolated, false);
            }
            PreTokenizerSpec::Whitespace => self.expression(WORDS, Behavior::Removed, true)?,
            PreTokenizerSpec::WhitespaceSplit => {
                self.split(Pattern::Class(char::is_whitespace), Behavior::Removed, false);
            }
        }
        Ok(())
    }

    fn expression(
        &mut self,
        source: &str,
        behavior: Behavior,
        invert: bool,
    ) -> Result<(), TokenizerError> {
        let pattern = Pattern::new("pre_tokenizer", &Spec::Regex(source.to_owned()))?;
        self.split(pattern, behavior, invert);
        Ok(())
    }

    fn split(&mut self, pattern: Pattern, behavior: Behavior, invert: bool) {
        self.steps.push(Step::Split {
            pattern,
            behavior,
            invert,
        });
    }

    /// Calls `emit` with the words of a text at `place`.
    pub fn cut(&self, text: &str, place: Place, emit: &mut dyn FnMut(&str)) {
        cut(&self.steps, text, place, emit);
    }
}

fn cut(steps: &[Step], text: &str, place: Place, emit: &mut dyn FnMut(&str)) {
    let Some((step, rest)) = steps.split_first() else {
        return emit(text);
    };
    match step {
        Step::Metaspace { space, scheme } => {
            let mut spaced: String =
                text.chars().map(|c| if c == ' ' { *space } else { c }).collect();
            let wanted = match (scheme, place) {
                (Scheme::Never, _) | (_, Place::Continuing) => false,
                (_, Place::Alone) => true,
                (Scheme::First, Place::Behind) => false,
                (Scheme::First, Place::Beginning) | (Scheme::Always, _) => {
                    !spaced.starts_with(*space)
                }
            };
            if wanted {
                spaced.insert(0, *space);
            }
            cut(rest, &spaced, place, emit);
        }
        Step::Space => match place == Place::Continuing || text.starts_with(char::is_whitespace) {
            true => cut(rest, text, place, emit),
            false => cut(rest, &format!(" {text}"), place, emit),
        },
        Step::Split {
            pattern,
            behavior,
            invert,
        } => {
            pieces(pattern, *behavior, *invert, text, |piece| {
                let first = std::ptr::eq(piece.as_ptr(), text.as_ptr());
                cut(rest, piece, if first { place } else { Place::Behind }, emit);
            });
        }
    }
}

/// Calls `emit` with the pieces of `text`; those that are removed leave nothing.
fn pieces<'t>(
    pattern: &Pattern,
    behavior: Behavior,
    invert: bool,
    text: &'t str,
    mut emit: impl FnMut(&'t str),
) {
    if behavior == Behavior::Isolated {
        return pattern.split(text, |part, _| emit(part));
    }
    let mut parts = Vec::new();
    pattern.split(text, |part, is_match| {
        parts.push((part.len(), is_match != invert))
    });
    let mut at = 0;
    let mut joined: Vec<(usize, bool)> = Vec::with_capacity(parts.len());
    match behavior {
        Behavior::Isolated | Behavior::Removed => joined = parts,
        Behavior::Contiguous => {
            parts
                .into_iter()
                .for_each(|(len, is_match)| match joined.last_mut() {
                    Some((before, same)) if *same == is_match => *before += len,
                    _ => joined.push((len, is_match)),
                })
        }
        Behavior::MergedWithPrevious => join(parts.into_iter(), &mut joined),
        Behavior::MergedWithNext => {
            join(parts.into_iter().rev(), &mut joined);
            joined.reverse();
        }
    }
    for (len, is_match) in joined {
        if behavior != Behavior::Removed || !is_match {
            emit(&text[at..at + len]);
        }
        at += len;
    }
}

/// Joins each match that does not follow another one to what is before it.
fn join(parts: impl Iterator<Item = (usize, bool)>, joined: &mut Vec<(usize, bool)>) {
    let mut after_match = false;
    for (len, is_match) in parts {
        match joined.last_mut().filter(|_| is_match && !after_match) {
            Some((before, _)) => *before += len,
            None => joined.push((len, false)),
        }
        after_match = is_match;
    }
}
