//! `bise completions`: what a shell needs to complete command lines.

use crate::outcome::Outcome;
use anyhow::Result;
use clap_complete::Shell;
use std::io::{self, Write};

/// Print what a shell needs to complete bise's command lines
///
/// For example: bise completions bash > ~/.local/share/bash-completion/completions/bise
#[derive(clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Args, command: &mut clap::Command) -> Result<Outcome> {
    // The generator panics when it cannot write; a pipe may be closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "bise", &mut script);
    io::stdout().write_all(&script)?;
    Ok(Outcome::Done)
}
