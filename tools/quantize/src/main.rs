//! The `bise-quantize` program.
#![forbid(unsafe_code)]

use bise_quantize::cli::{Args, run};
use clap::Parser;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn main() -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let listening = ctrlc::set_handler(move || seen.store(true, Ordering::Relaxed));
    let done = listening.map_err(|error| error.to_string());
    match done.and_then(|()| run(Args::parse(), stop).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bise-quantize: {error}");
            ExitCode::FAILURE
        }
    }
}
