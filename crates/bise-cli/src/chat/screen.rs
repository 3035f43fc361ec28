//! What a chat shows: answers on standard output, all else on standard error.

use super::wrap::Wrap;
use anyhow::{Context as _, Result};
use bise_model::{ForwardError, GenerateError};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

pub struct Screen {
    colour: bool,
    /// The first error in writing an answer.
    error: Option<io::Error>,
    /// Whether the answer so far ends its line.
    at_line_start: bool,
    /// Where lines of the answer that is shown are broken.
    wrap: Option<Wrap>,
    /// Whether a thought was shown last.
    thinking: bool,
}

impl Screen {
    /// Colours are for terminals that have some, unless `NO_COLOR` is set.
    pub fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            && std::env::var_os("TERM").is_none_or(|v| v != "dumb");
        Self {
            colour: wanted && io::stdout().is_terminal() && io::stderr().is_terminal(),
            error: None,
            at_line_start: true,
            wrap: None,
            thinking: false,
        }
    }

    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Shows a piece of an answer at once, or of what the model thinks before it, which is no
    /// answer.
    pub fn show(&mut self, piece: &str, thinks: bool) {
        if thinks {
            self.thinking |= !piece.is_empty();
            return self.think(piece);
        }
        if !piece.is_empty() {
            self.end_thought();
        }
        let wrap = self.wrap.get_or_insert_with(|| Wrap::new(columns()));
        let text = wrap.push(piece);
        self.write(&text);
    }

    fn end_thought(&mut self) {
        if std::mem::take(&mut self.thinking) {
            self.think("\n");
        }
    }

    fn write(&mut self, piece: &str) {
        if piece.is_empty() || self.error.is_some() {
            return;
        }
        let mut out = io::stdout().lock();
        self.error = out.write_all(piece.as_bytes()).and_then(|()| out.flush()).err();
        self.at_line_start = piece.ends_with('\n');
    }

    fn think(&self, piece: &str) {
        let mut out = io::stderr().lock();
        let _ = match self.colour {
            true => write!(out, "\x1b[2m{piece}\x1b[0m"),
            false => write!(out, "{piece}"),
        };
    }

    /// Ends an answer.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn end_answer(&mut self) -> Result<()> {
        if let Some(mut wrap) = self.wrap.take() {
            self.write(&wrap.finish());
        }
        if !self.at_line_start {
            self.write("\n");
        }
        self.end_thought();
        match self.error.take() {
            Some(error) => Err(error).context("cannot write to standard output"),
            None => Ok(()),
        }
    }

    /// Says something about the chat; when nobody listens, there is nobody to tell.
    pub fn notice(&self, text: impl Display) {
        let mut out = io::stderr().lock();
        let _ = match self.colour {
            true => writeln!(out, "\x1b[2m{text}\x1b[0m"),
            false => writeln!(out, "{text}"),
        };
    }

    /// Says what went wrong; the chat goes on, unless nobody reads the answers any more.
    ///
    /// # Errors
    /// The error itself, when it is of standard output, or the model computes what is no number.
    pub fn problem(&self, error: &anyhow::Error) -> Result<()> {
        if let Some(broken) = error.downcast_ref::<io::Error>() {
            return Err(io::Error::from(broken.kind()).into());
        }
        // No message will be answered better.
        if let Some(damaged @ GenerateError::Forward(ForwardError::NotANumber(_))) =
            error.downcast_ref()
        {
            return Err(damaged.clone().into());
        }
        self.notice(format_args!("error: {error:#}"));
        Ok(())
    }
}

/// Columns of the terminal, now; 0 when answers go elsewhere.
fn columns() -> usize {
    let size = terminal_size::terminal_size_of(io::stdout());
    size.map_or(0, |(terminal_size::Width(columns), _)| columns.into())
}
