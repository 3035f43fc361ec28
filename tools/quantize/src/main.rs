//! The `bise-quantize` program.
#![forbid(unsafe_code)]

use bise_quantize::Bar;
use bise_quantize::cli::{Args, run};
use clap::Parser;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn main() -> ExitCode {
    let args = Args::parse();
    let as_json = args.json;
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let listening = ctrlc::set_handler(move || seen.store(true, Ordering::Relaxed));
    let done = listening.map_err(|error| error.to_string());
    let (text, code) =
        match done.and_then(|()| run(args, &Bar::new(stop), None).map_err(|error| error.to_string())) {
            Ok(done) if as_json => {
                // A reader of a pipe that had enough is no failure.
                let _ = writeln!(io::stdout(), "{}", done.json());
                return ExitCode::SUCCESS;
            }
            // Probes need a program that runs models.
            Ok(done) => (format!("{done}; with hashes, without probes"), ExitCode::SUCCESS),
            Err(error) => (format!("error: {error}"), ExitCode::FAILURE),
        };
    // When nobody reads standard error, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
    code
}
