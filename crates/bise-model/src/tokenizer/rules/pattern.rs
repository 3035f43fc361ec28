//! Patterns of `tokenizer.json`: a text, or a regular expression.
//!
//! Expressions end, in all vocabularies that are known, with `|\s+(?!\S)|\s+`: white space, without
//! its last character where a word follows. That look-ahead is done here by hand, as in
//! [`words`](super::super::words); the rest must be regular in the strict sense, so that matching
//! takes linear time whatever the text says.

use regex::Regex;
use serde::Deserialize;

use super::super::error::TokenizerError;

/// A pattern as `tokenizer.json` has it.
#[derive(Debug, Deserialize)]
pub(super) enum Spec {
    String(String),
    Regex(String),
}

/// What is searched in a text.
#[derive(Debug)]
pub(super) enum Pattern {
    Text(String),
    Regex(Regex),
    /// The group `blank` is white space that gives up its last character where a word follows.
    Blank(Regex),
    Class(fn(char) -> bool),
    /// Runs of characters of a class.
    Run(fn(char) -> bool),
}

/// What memory a compiled expression may take.
const SIZE_LIMIT: usize = 4 << 20;

impl Pattern {
    pub fn new(what: &'static str, spec: &Spec) -> Result<Self, TokenizerError> {
        match spec {
            Spec::String(text) => Ok(Self::Text(text.clone())),
            Spec::Regex(source) => {
                let fault = |why: String| TokenizerError::Rule {
                    what,
                    found: format!("the pattern {source:?}: {why}"),
                };
                if ["?+", "*+", "++"]
                    .iter()
                    .any(|possessive| source.contains(possessive))
                {
                    return Err(fault("possessive repetitions are not supported".to_owned()));
                }
                let compile = |source: &str| {
                    let regex = regex::RegexBuilder::new(source).size_limit(SIZE_LIMIT).build();
                    regex.map_err(|e| fault(e.to_string()))
                };
                match source.strip_suffix(r"|\s+(?!\S)|\s+") {
                    Some(rest) => Ok(Self::Blank(compile(&format!(r"{rest}|(?P<blank>\s+)"))?)),
                    None => Ok(Self::Regex(compile(source)?)),
                }
            }
        }
    }

    /// The first match at or behind `at` that is not empty.
    fn find_at(&self, text: &str, at: usize) -> Option<(usize, usize)> {
        match self {
            Self::Text(literal) if literal.is_empty() => None,
            Self::Text(literal) => text[at..]
                .find(literal)
                .map(|start| (at + start, at + start + literal.len())),
            Self::Class(class) => {
                let start = at + text[at..].find(class)?;
                Some((start, start + text[start..].chars().next()?.len_utf8()))
            }
            Self::Run(class) => {
                let start = at + text[at..].find(class)?;
                let len = text[start..].find(|c| !class(c));
                Some((start, len.map_or(text.len(), |len| start + len)))
            }
            Self::Regex(regex) => {
                let matches = std::iter::successors(regex.find_at(text, at), |found| {
                    let next = found.end() + text[found.end()..].chars().next()?.len_utf8();
                    regex.find_at(text, next)
                });
                matches
                    .map(|found| (found.start(), found.end()))
                    .find(|(start, end)| start < end)
            }
            Self::Blank(regex) => {
                let found = regex.find_at(text, at)?;
                let (start, end) = (found.start(), found.end());
                let blank = end < text.len()
                    && found.as_str().chars().all(char::is_whitespace)
                    && regex.captures_at(text, at)?.name("blank").is_some();
                let last = found.as_str().chars().next_back().map_or(0, char::len_utf8);
                Some((
                    start,
                    if blank && end - last > start {
                        end - last
                    } else {
                        end
                    },
                ))
            }
        }
    }

    /// Calls `emit` with the matches, `true`, and with what lies between them; none is empty.
    pub fn split<'t>(&self, text: &'t str, mut emit: impl FnMut(&'t str, bool)) {
        let mut at = 0;
        while let Some((start, end)) = self.find_at(text, at).filter(|(start, end)| start < end) {
            if at < start {
                emit(&text[at..start], false);
            }
            emit(&text[start..end], true);
            at = end;
        }
        if at < text.len() {
            emit(&text[at..], false);
        }
    }

    /// `text` with `content` for each match.
    pub fn replace(&self, text: &str, content: &str) -> String {
        let mut out = String::with_capacity(text.len());
        self.split(text, |part, is_match| {
            out.push_str(if is_match { content } else { part })
        });
        out
    }
}
