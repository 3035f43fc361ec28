//! What the program says besides its results: lines on standard error, with one prefix for errors
//! and one for notes.

use crate::shown;
use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, Write};

/// Says what went wrong: problem first, then cure. The prefix is that of clap, which reads the
/// command line.
pub fn error(problem: impl Display) {
    say(format_args!("error: {problem}"));
}

/// Says what the user should know while all goes on.
pub fn note(text: impl Display) {
    let collected = NOTES.with_borrow_mut(|notes| {
        let notes = notes.as_mut()?;
        notes.push(text.to_string());
        Some(())
    });
    if collected.is_none() {
        say(format_args!("note: {text}"));
    }
}

thread_local! {
    /// The notes of work that is done for a host.
    static NOTES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Does work for a host, which tells its user what the notes say; nothing is shown or asked.
pub fn collected<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    NOTES.set(Some(Vec::new()));
    let done = work();
    (done, NOTES.take().unwrap_or_default())
}

/// Whether this thread works for a host, and nobody is to be shown or asked anything.
pub fn is_hosted() -> bool {
    NOTES.with_borrow(Option::is_some)
}

/// Prints a line to standard error; when nobody reads that, there is nobody to tell.
pub fn say(line: impl Display) {
    shown::suspend(|| {
        let _ = writeln!(io::stderr(), "{line}");
    });
}
