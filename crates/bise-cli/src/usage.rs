//! Mistakes on the command line: they name options as they were typed, be it by an alias.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error, Parser};
use std::ffi::OsString;

/// Reads the command line, or ends the program.
pub fn parse<C: Parser>() -> C {
    let words: Vec<OsString> = std::env::args_os().collect();
    C::try_parse_from(&words).unwrap_or_else(|error| as_typed(error, C::command(), &words).exit())
}

/// A mistake that shows only when more than the command line is known; the program ends with 2, as with the others.
#[derive(Debug, thiserror::Error)]
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
    let option = named
        .into_iter()
        .flat_map(Command::get_arguments)
        .find(|arg| arg.to_string() == shown);
    if let Some(option) = option
        && let Some(typed) = typed(option, &texts)
    {
        let name = shown.split([' ', '=']).next().unwrap_or_default();
        let renamed = format!("{typed}{}", &shown[name.len()..]);
        error.insert(ContextKind::InvalidArg, ContextValue::String(renamed));
    }
    error
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
