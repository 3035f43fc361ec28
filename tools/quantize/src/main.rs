//! The `bise-quantize` program.
#![forbid(unsafe_code)]

use anyhow::Result;
use bise_quantize::cli::{Args, run};
use clap::Parser;

fn main() -> Result<()> {
    Ok(run(Args::parse())?)
}
