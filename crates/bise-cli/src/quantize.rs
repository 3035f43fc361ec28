//! `bise quantize`: the quantizer's own command line.

use crate::interrupt::Interrupt;
use crate::probe::{self, LayerByLayer};
use crate::{Outcome, say};
use anyhow::Result;
use bise_quantize::QuantizeError;
use bise_quantize::cli::{self, Args};

pub fn run(args: Args) -> Result<Outcome> {
    let prober = LayerByLayer(probe::threads(None)?);
    match cli::run(args, Interrupt::listen()?.flag(), Some(&prober)) {
        Ok(summary) => {
            say(summary);
            Ok(Outcome::Done)
        }
        Err(error @ QuantizeError::Stopped) => {
            say(format!("bise: {error}"));
            Ok(Outcome::Interrupted)
        }
        Err(error) => Err(error.into()),
    }
}
