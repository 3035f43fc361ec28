//! Where entries come from: a terminal with line editing and a history, or a pipe.

use super::command::COMMANDS;
use super::entry::Entry;
use crate::messages::note;
use anyhow::{Context as _, Result};
use rustyline::completion::Completer;
use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Helper};
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};

/// What came.
pub enum Input {
    Entry(String),
    /// A line with bytes that are no UTF-8, which a terminal cannot edit.
    Damaged,
    /// Ctrl-C where nothing was going on.
    Interrupt,
    End,
}

/// A source of entries.
pub enum Source {
    Terminal(Box<Terminal>),
    Pipe(Pipe),
}

impl Source {
    /// Standard input; `colour` the prompt if it is a terminal.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub fn new(colour: bool) -> Result<Self> {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            Ok(Self::Terminal(Box::new(Terminal::new(colour)?)))
        } else {
            Ok(Self::Pipe(Pipe::default()))
        }
    }

    /// The next entry.
    ///
    /// # Errors
    /// When standard input cannot be read.
    pub fn next(&mut self) -> Result<Input> {
        match self {
            Self::Terminal(terminal) => terminal.next(),
            Self::Pipe(pipe) => pipe.next(),
        }
    }
}

/// Lines of a terminal, edited and remembered.
pub struct Terminal {
    editor: Editor<Lines, FileHistory>,
    history: Option<PathBuf>,
}

impl Terminal {
    fn new(colour: bool) -> Result<Self> {
        let config = Config::builder().auto_add_history(false).build();
        let mut editor = Editor::with_config(config).context("cannot use the terminal")?;
        editor.set_max_history_size(1000)?;
        editor.set_helper(Some(Lines { colour }));
        let history = history_file().filter(|file| {
            let good = may_hold_history(file);
            if !good {
                note(format_args!(
                    "{} is no history of a chat: it stays as it is, and lines are not remembered; BISE_HISTORY names another file",
                    file.display()
                ));
            }
            good
        });
        if let Some(file) = &history {
            // There is none before the first chat.
            let _ = editor.load_history(file);
        }
        Ok(Self { editor, history })
    }

    fn next(&mut self) -> Result<Input> {
        match self.editor.readline("> ") {
            Ok(typed) => {
                if !typed.trim().is_empty() {
                    self.editor.add_history_entry(&typed)?;
                    self.remember();
                }
                Ok(Input::Entry(Entry::at_end(&typed)))
            }
            Err(ReadlineError::Interrupted) => Ok(Input::Interrupt),
            Err(ReadlineError::Eof) => Ok(Input::End),
            // The line editor gives up what it has read with it.
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Ok(Input::Damaged)
            }
            Err(error) => Err(error).context("cannot read from the terminal"),
        }
    }

    /// Keeps the history; a folder that cannot be written to is no reason to stop a chat.
    fn remember(&mut self) {
        if let Some(file) = &self.history {
            let _ = file.parent().map(std::fs::create_dir_all);
            let _ = self.editor.save_history(file);
        }
    }
}

/// `BISE_HISTORY`, or a file where the system keeps such things; an empty `BISE_HISTORY` is none.
fn history_file() -> Option<PathBuf> {
    match std::env::var_os("BISE_HISTORY") {
        Some(file) => Some(PathBuf::from(file)).filter(|file| !file.as_os_str().is_empty()),
        None => dirs::state_dir()
            .or_else(dirs::data_local_dir)
            .map(|folder| folder.join("bise").join("history.txt")),
    }
}

/// Whether the file is not there yet, empty, or begins as the line editor's histories do.
fn may_hold_history(file: &Path) -> bool {
    let mut start = Vec::new();
    match File::open(file).and_then(|file| file.take(4).read_to_end(&mut start)) {
        Ok(_) => start.is_empty() || start == b"#V2\n",
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// What the line editor asks about lines.
struct Lines {
    colour: bool,
}

impl Helper for Lines {}

impl Hinter for Lines {
    type Hint = String;
}

impl Highlighter for Lines {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        _default: bool,
    ) -> Cow<'b, str> {
        if self.colour {
            Cow::Owned(format!("\x1b[1;32m{prompt}\x1b[0m"))
        } else {
            Cow::Borrowed(prompt)
        }
    }
}

impl Validator for Lines {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match Entry::of(context.input()) {
            Entry::Whole(_) => ValidationResult::Valid(None),
            Entry::Unfinished => ValidationResult::Incomplete,
        })
    }
}

impl Completer for Lines {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let begun = &line[..at];
        let names = COMMANDS.iter().map(|(name, ..)| *name);
        let fitting = names.filter(|name| begun.starts_with('/') && name.starts_with(begun));
        Ok((0, fitting.map(|name| format!("{name} ")).collect()))
    }
}

/// Lines of a file or of another program.
#[derive(Default)]
pub struct Pipe {
    /// Whether bytes that are no UTF-8 were met.
    pub damaged: bool,
}

impl Pipe {
    fn next(&mut self) -> Result<Input> {
        let mut typed = String::new();
        loop {
            let mut line = Vec::new();
            let read = io::stdin().lock().read_until(b'\n', &mut line);
            if read.context("cannot read from standard input")? == 0 {
                return Ok(match typed.is_empty() {
                    true => Input::End,
                    false => Input::Entry(Entry::at_end(&typed)),
                });
            }
            let line = String::from_utf8_lossy(&line);
            self.damaged |= line.contains(char::REPLACEMENT_CHARACTER);
            typed.push_str(&line.replace("\r\n", "\n"));
            if let Entry::Whole(text) = Entry::of(&typed) {
                return Ok(Input::Entry(text));
            }
        }
    }
}
