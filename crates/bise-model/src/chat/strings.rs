//! Methods of Python's texts, where minijinja's have other results or are missing.
//!
//! The words that a method looks for are those of the text, in which some characters have
//! stand-ins: see [`inert`](super::inert).

use minijinja::value::{Kwargs, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};

use super::inert::Inert;

/// Where blanks or other characters are taken away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sides {
    Both,
    Start,
    End,
}

/// Calls a method of Python's on `value`.
pub(super) fn method(
    inert: &Inert,
    state: &mut State,
    value: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments);
    };
    let sides = match name {
        "strip" => Some(Sides::Both),
        "lstrip" => Some(Sides::Start),
        "rstrip" => Some(Sides::End),
        _ => None,
    };
    if let Some(sides) = sides {
        let (set,): (Option<&str>,) = from_args(arguments)?;
        return Ok(Value::from(strip(inert, text, set, sides)));
    }
    let arguments = looked_for(inert, text, name, arguments);
    let looks = ["startswith", "endswith", "find", "rfind", "count"].contains(&name);
    let bare = Value::from(inert.bare(text));
    let value = if looks { &bare } else { value };
    match name {
        "split" | "rsplit" => split(text, name == "rsplit", &arguments),
        "splitlines" => {
            let (keep,): (Option<bool>,) = from_args(&arguments)?;
            Ok(lines(text, keep.unwrap_or(false)).into_iter().collect())
        }
        "partition" | "rpartition" => {
            let (word,): (&str,) = from_args(&arguments)?;
            Ok(partition(text, word, name == "rpartition").into_iter().collect())
        }
        "removeprefix" => {
            let (word,): (&str,) = from_args(&arguments)?;
            Ok(Value::from(text.strip_prefix(word).unwrap_or(text)))
        }
        "removesuffix" => {
            let (word,): (&str,) = from_args(&arguments)?;
            Ok(Value::from(text.strip_suffix(word).unwrap_or(text)))
        }
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, &arguments),
    }
}

/// The arguments of a method, of which the first one may be a word, or a list of words, that it
/// looks for.
fn looked_for(inert: &Inert, text: &str, name: &str, arguments: &[Value]) -> Vec<Value> {
    const LOOKING: [&str; 12] = [
        "split",
        "rsplit",
        "startswith",
        "endswith",
        "find",
        "rfind",
        "count",
        "replace",
        "removeprefix",
        "removesuffix",
        "partition",
        "rpartition",
    ];
    let mut arguments = arguments.to_vec();
    let word = |value: &Value| match value.as_str().map(|word| (word, inert.mapped(word))) {
        Some((word, mapped)) if mapped != word && text.contains(&mapped) => Value::from(mapped),
        _ => value.clone(),
    };
    if let Some(first) = arguments.first_mut().filter(|_| LOOKING.contains(&name)) {
        *first = match first.kind() {
            ValueKind::Seq => first
                .try_iter()
                .into_iter()
                .flatten()
                .map(|value| word(&value))
                .collect(),
            _ => word(first),
        };
    }
    arguments
}

/// Python's blanks: those of Unicode, and four separators of ASCII.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `text` without the characters of `set`, or blanks, at its sides.
pub(super) fn strip<'t>(inert: &Inert, text: &'t str, set: Option<&str>, sides: Sides) -> &'t str {
    let mapped = set.map(|set| inert.mapped(set));
    let goes = |c: char| match (set, &mapped) {
        (Some(set), Some(mapped)) => set.contains(c) || mapped.contains(c),
        _ => is_blank(c),
    };
    let text = if sides == Sides::End {
        text
    } else {
        text.trim_start_matches(goes)
    };
    if sides == Sides::Start {
        text
    } else {
        text.trim_end_matches(goes)
    }
}

/// `split` or `rsplit`, at a word or at blanks, as often as is said.
fn split(text: &str, from_end: bool, arguments: &[Value]) -> Result<Value, Error> {
    let (word, most, named): (Option<Value>, Option<i64>, Kwargs) = from_args(arguments)?;
    let word = word
        .or(named.get::<Option<Value>>("sep")?)
        .filter(|word| !word.is_none());
    let most = most.or(named.get::<Option<i64>>("maxsplit")?);
    named.assert_all_used()?;
    let most = most
        .and_then(|most| usize::try_from(most).ok())
        .unwrap_or(usize::MAX - 1);
    let word = word.map(|word| word.to_string());
    if word.as_deref() == Some("") {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "split: the separator is empty",
        ));
    }
    let mut parts: Vec<&str> = match (&word, from_end) {
        (Some(word), false) => text.splitn(most + 1, word.as_str()).collect(),
        (Some(word), true) => text.rsplitn(most + 1, word.as_str()).collect(),
        (None, false) => words(
            text,
            most,
            |text| text.trim_start_matches(is_blank),
            |text| text.find(is_blank).map(|at| text.split_at(at)),
        ),
        (None, true) => words(
            text,
            most,
            |text| text.trim_end_matches(is_blank),
            |text| {
                let (at, c) = text.char_indices().rev().find(|(_, c)| is_blank(*c))?;
                text.split_at_checked(at + c.len_utf8())
                    .map(|(rest, word)| (word, rest))
            },
        ),
    };
    if from_end {
        parts.reverse();
    }
    Ok(parts.into_iter().map(Value::from).collect())
}

/// Words between blanks, of which `trim` takes away those in front and `cut` gives a word and the
/// rest.
fn words<'t>(
    text: &'t str,
    most: usize,
    trim: impl Fn(&'t str) -> &'t str,
    cut: impl Fn(&'t str) -> Option<(&'t str, &'t str)>,
) -> Vec<&'t str> {
    let (mut parts, mut rest) = (Vec::new(), trim(text));
    while !rest.is_empty() {
        let (word, after) = Some(rest)
            .filter(|_| parts.len() < most)
            .and_then(&cut)
            .unwrap_or((rest, ""));
        parts.push(word);
        rest = trim(after);
    }
    parts
}

/// Lines as Python ends them.
fn lines(text: &str, keep: bool) -> Vec<&str> {
    const ENDS: [char; 10] = [
        '\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}',
        '\u{2029}',
    ];
    let (mut lines, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let at = rest.find(ENDS).unwrap_or(rest.len());
        let end = match rest[at..].chars().next() {
            Some('\r') if rest[at..].starts_with("\r\n") => 2,
            end => end.map_or(0, char::len_utf8),
        };
        lines.push(&rest[..if keep { at + end } else { at }]);
        rest = &rest[at + end..];
    }
    lines
}

/// What is before `word`, the word, and what is behind.
fn partition<'t>(text: &'t str, word: &'t str, from_end: bool) -> [&'t str; 3] {
    let found = if from_end {
        text.rsplit_once(word)
    } else {
        text.split_once(word)
    };
    match found {
        Some((before, after)) => [before, word, after],
        None if from_end => ["", "", text],
        None => [text, "", ""],
    }
}
