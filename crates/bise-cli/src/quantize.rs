//! `bise quantize`: the quantizer's own command line.

use crate::Outcome;
use crate::interrupt::Interrupt;
use anyhow::Result;
use bise_quantize::QuantizeError;
use bise_quantize::cli::{self, Args};

pub fn run(args: Args) -> Result<Outcome> {
    match cli::run(args, Interrupt::listen()?.flag()) {
        Ok(()) => Ok(Outcome::Done),
        Err(error @ QuantizeError::Stopped) => {
            eprintln!("bise: {error}");
            Ok(Outcome::Interrupted)
        }
        Err(error) => Err(error.into()),
    }
}
