//! Mistakes on the command line: they name options as they were typed, be it by an alias.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error, Parser};
use std::ffi::OsString;

/// Reads a command line.
pub fn read<C: Parser>(words: &[OsString]) -> Result<C, Error> {
    C::try_parse_from(words).map_err(|error| as_typed(error, C::command(), words))
}

/// What is wrong, without what helps at a command line.
pub fn in_short(error: &Error) -> String {
    let text = error.render().to_string();
    let text = text.trim_start_matches("error: ");
    let problem = text.split("\n\n").next().unwrap_or(text);
    problem.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a message for a command line says to a host, whose options have no dashes: `--kv-type` is
/// `kv_type`.
pub fn without_dashes(text: &str) -> String {
    let name = |word: &str| {
        let (before, name) = word.split_once("--")?;
        let is_first = before
            .chars()
            .all(|c| !c.is_alphanumeric() && c != '/' && c != '.');
        let end = name.find(|c: char| !(c.is_ascii_lowercase() || c == '-'));
        let (name, rest) = name.split_at(end.unwrap_or(name.len()));
        (is_first && !name.is_empty()).then(|| format!("{before}{}{rest}", name.replace('-', "_")))
    };
    let words = text.split_inclusive(char::is_whitespace);
    words
        .map(|word| name(word).unwrap_or_else(|| word.to_owned()))
        .collect()
}

/// A mistake that shows only when more than the command line is known; the program ends with 2, as
/// with the others. Also one in a command of a chat, which goes on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub String);

/// The error with the option's name as it is among `words`.
fn as_typed(mut error: Error, mut command: Command, words: &[OsString]) -> Error {
    if error.kind() == ErrorKind::ArgumentConflict {
        return error;
    }
    command.build();
    let texts: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let named = texts.get(1).and_then(|name| command.find_subcommand(name));
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let shown = shown.clone();
    if error.kind() == ErrorKind::UnknownArgument
        && let Some((option, value)) = negative(&shown, named, &texts)
    {
        let problem = format!("invalid value '{value}' for '{option}': it is out of range");
        return command.error(ErrorKind::ValueValidation, problem);
    }
    let option = named
        .into_iter()
        .flat_map(Command::get_arguments)
        .find(|arg| arg.to_string() == shown);
    if let Some(option) = option
        && let Some(typed) = typed(option, &texts)
    {
        let renamed = as_shown(&shown, &typed);
        error.insert(ContextKind::InvalidArg, ContextValue::String(renamed));
    }
    error
}

/// The option as it was typed, and its value, where `unknown` is no option but the beginning of a
/// negative number or of -inf.
fn negative<'w>(
    unknown: &str,
    command: Option<&Command>,
    words: &[&'w str],
) -> Option<(String, &'w str)> {
    let named = |word: &str| {
        let mut options = command.into_iter().flat_map(Command::get_arguments);
        let option = options.find(|option| {
            option.get_action().takes_values()
                && typed(option, &[word]).is_some_and(|name| name == word)
        })?;
        Some(as_shown(&option.to_string(), word))
    };
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    let pairs = words.windows(2).rev();
    let mut pairs = pairs.filter(|pair| pair[1].starts_with(unknown) && is_number(pair[1]));
    pairs.find_map(|pair| Some((named(pair[0])?, pair[1])))
}

/// What clap shows of an option, with the name that was `typed`.
fn as_shown(shown: &str, typed: &str) -> String {
    let name = shown.split([' ', '=']).next().unwrap_or_default();
    format!("{typed}{}", &shown[name.len()..])
}

/// How `option` was called, where that was last.
fn typed(option: &Arg, words: &[&str]) -> Option<String> {
    let longs = option
        .get_long()
        .into_iter()
        .chain(option.get_all_aliases().unwrap_or_default());
    let longs: Vec<String> = longs.map(|name| format!("--{name}")).collect();
    let shorts = option
        .get_short()
        .into_iter()
        .chain(option.get_all_short_aliases().unwrap_or_default());
    let shorts: Vec<String> = shorts.map(|name| format!("-{name}")).collect();
    let name = |word: &&str| {
        let long = word.split('=').next().unwrap_or(word);
        let long = longs.iter().find(|name| *name == long);
        let short = || {
            shorts
                .iter()
                .find(|name| !word.starts_with("--") && word.starts_with(name.as_str()))
        };
        long.or_else(short).cloned()
    };
    words.iter().rev().find_map(name)
}
