//! What the program says besides its results: lines on standard error, with one prefix for errors
//! and one for notes.

use crate::shown;
use std::fmt::Display;
use std::io::{self, Write};

/// Says what went wrong: problem first, then cure. The prefix is that of clap, which reads the
/// command line.
pub fn error(problem: impl Display) {
    say(format_args!("error: {problem}"));
}

/// Says what the user should know while all goes on.
pub fn note(text: impl Display) {
    say(format_args!("note: {text}"));
}

/// Prints a line to standard error; when nobody reads that, there is nobody to tell.
pub fn say(line: impl Display) {
    shown::suspend(|| {
        let _ = writeln!(io::stderr(), "{line}");
    });
}
