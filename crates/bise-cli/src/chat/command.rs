//! The commands of a chat, which begin with a slash.

use crate::usage::Misuse;
use std::path::PathBuf;

/// What each command is called, what it takes, and what it does.
pub const COMMANDS: &[(&str, &str, &str)] = &[
    ("/help", "", "show these commands"),
    (
        "/system",
        "[TEXT]",
        "show or set what the model should keep to; - for nothing",
    ),
    ("/reset", "", "begin a new conversation with the same system text"),
    ("/undo", "", "forget your last message and its answer"),
    (
        "/retry",
        "",
        "answer the last message again, with other random numbers",
    ),
    ("/save", "FILE", "write the conversation to a JSON file"),
    ("/load", "FILE", "go on with a conversation from a JSON file"),
    (
        "/set",
        "[NAME VALUE]",
        "show or change a setting: temp 0.7, json-mode, regex RE, unconstrained",
    ),
    ("/stats", "", "show tokens, speed and memory"),
    ("/exit", "", "end the program, as Ctrl-D does"),
];

/// A line that the user typed, understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// A message to the model.
    Say(String),
    Help,
    /// Sets the system text where there is one.
    System(Option<String>),
    Reset,
    Undo,
    Retry,
    Save(PathBuf),
    Load(PathBuf),
    /// The name of a setting and its new value; empty to show all settings.
    Set(String),
    Stats,
    Exit,
}

impl Command {
    /// Reads an entry. `//` at its start stands for a slash that is part of the message.
    ///
    /// # Errors
    /// What to tell the user about a command that is unknown or lacks something.
    pub fn parse(entry: &str) -> Result<Self, Misuse> {
        let Some(rest) = entry.strip_prefix('/') else {
            return Ok(Self::Say(entry.to_owned()));
        };
        if rest.starts_with('/') {
            return Ok(Self::Say(rest.to_owned()));
        }
        let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let argument = argument.trim();
        let file = || match argument {
            "" => Err(Misuse(format!("/{name} needs the name of a file"))),
            file => Ok(PathBuf::from(file)),
        };
        let command = match name {
            "help" | "?" => Self::Help,
            "system" => Self::System(Some(argument.to_owned()).filter(|text| !text.is_empty())),
            "reset" => Self::Reset,
            "undo" => Self::Undo,
            "retry" => Self::Retry,
            "save" => Self::Save(file()?),
            "load" => Self::Load(file()?),
            "set" => Self::Set(argument.to_owned()),
            "stats" => Self::Stats,
            "exit" | "quit" | "bye" => Self::Exit,
            _ => {
                return Err(Misuse(format!(
                    "there is no command /{name}; /help shows those there are"
                )));
            }
        };
        let takes_nothing = [
            "help", "?", "reset", "undo", "retry", "stats", "exit", "quit", "bye",
        ];
        if takes_nothing.contains(&name) && !argument.is_empty() {
            return Err(Misuse(format!("/{name} takes no argument")));
        }
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_in_the_help_is_understood() {
        for (name, takes, _) in COMMANDS {
            let argument = if takes.is_empty() { "" } else { " x 1" };
            assert!(Command::parse(&format!("{name}{argument}")).is_ok(), "{name}");
        }
    }

    #[test]
    fn messages_and_mistakes() {
        let say = |text: &str| Ok(Command::Say(text.to_owned()));
        assert_eq!(Command::parse("hello /help"), say("hello /help"));
        assert_eq!(Command::parse("//usr is a folder"), say("/usr is a folder"));
        assert_eq!(Command::parse("/system"), Ok(Command::System(None)));
        assert_eq!(
            Command::parse("/save a b.json"),
            Ok(Command::Save("a b.json".into()))
        );
        for wrong in ["/nonsense", "/save", "/load  ", "/", "/undo 3"] {
            assert!(Command::parse(wrong).is_err(), "{wrong}");
        }
    }
}
