//! `bise man`: the manual, one page for the program and one for each command.

use crate::outcome::Outcome;
use anyhow::{Context as _, Result};
use bise_format::atomic::write_atomic;
use std::fs;
use std::path::{Path, PathBuf};

/// Write the manual pages, bise.1 and one for each command
#[derive(clap::Args)]
pub struct Args {
    /// Directory for the pages, made if need be
    directory: PathBuf,
}

pub fn run(args: &Args, mut command: clap::Command) -> Result<Outcome> {
    let name = || args.directory.display().to_string();
    fs::create_dir_all(&args.directory).with_context(name)?;
    command.build();
    write_page(&args.directory, &command)?;
    for command in command
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
    {
        write_page(&args.directory, command)?;
    }
    Ok(Outcome::Done)
}

/// Writes the page of `command`, named after all its words: `bise-run.1`.
fn write_page(directory: &Path, command: &clap::Command) -> Result<()> {
    let name = command.get_display_name().unwrap_or("bise");
    let path = directory.join(format!("{name}.1"));
    let page = clap_mangen::Man::new(command.clone());
    write_atomic(&path, |out| page.render(out)).with_context(|| path.display().to_string())
}
