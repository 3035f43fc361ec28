//! Where a command writes its file: at a path, or to standard output for `-`.

use anyhow::{Context as _, Result, ensure};
use bise_format::atomic::{claim, write_atomic};
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// Whether `output` means standard output.
pub fn is_stdout(output: &Path) -> bool {
    output.as_os_str() == "-"
}

/// Finds out before the work whether `output` can be written while `inputs` are read: see
/// [`claim`].
///
/// # Errors
/// When it cannot, or is a terminal, for which such files are not made.
pub fn try_out(output: &Path, inputs: &[&Path]) -> Result<()> {
    if is_stdout(output) {
        ensure!(
            !io::stdout().is_terminal(),
            "the file is no text for a terminal; name a file to write, or send it to another program"
        );
        return Ok(());
    }
    Ok(claim(output, inputs)?)
}

/// Writes `bytes`, to a file all or nothing.
///
/// # Errors
/// When that fails.
pub fn write(output: &Path, bytes: &[u8]) -> Result<()> {
    if is_stdout(output) {
        let mut out = io::stdout().lock();
        let written = out.write_all(bytes).and_then(|()| out.flush());
        return written.context("cannot write to standard output");
    }
    let written = write_atomic(output, |out| out.write_all(bytes));
    written.with_context(|| format!("cannot write {}", output.display()))
}
