//! For hosts that are programs of their own, such as Python: models and quantizers by the options
//! of the command line, told nothing by way of the terminal.

use crate::hub::located::located;
use crate::messages::collected;
use crate::quantize::options as quantizing;
use crate::usage::{self, Misuse};
use crate::{interrupt, program, runtime, serve};
use anyhow::Result;
use bise_quantize::{Prober, Progress, QuantizeError, Source};
use bise_serve::Served;
use clap::Parser;
use serde_json::Value;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// An option is not what is expected.
    #[error("{0}")]
    Option(String),
    /// The work was stopped, as was asked for.
    #[error("stopped")]
    Stopped,
    /// What was found in a file, or what the machine lacks.
    #[error("{0}")]
    Other(String),
}

impl From<anyhow::Error> for HostError {
    fn from(error: anyhow::Error) -> Self {
        let text = in_words(&format!("{error:#}"));
        match error.downcast_ref::<QuantizeError>() {
            Some(QuantizeError::Stopped) => Self::Stopped,
            _ if error.is::<Misuse>() => Self::Option(text),
            _ => Self::Other(text),
        }
    }
}

/// A message that was made for a command line, with options as hosts have them: `--kv-type` is
/// `kv_type`.
pub fn in_words(message: &str) -> String {
    usage::without_dashes(message)
}

/// A result, and what the user should know.
pub type Noted<T> = (Result<T, HostError>, Vec<String>);

/// The whole program, as [`crate::main`], but it hears of signals by [`signal`] alone.
pub fn main(words: impl IntoIterator<Item = OsString>) -> u8 {
    program::main_hosted(words)
}

/// Tells the program of a signal, which may end the process.
pub fn signal(number: i32) {
    interrupt::heed(number);
}

/// Options of `bise serve`, without a server.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Serving {
    #[command(flatten)]
    args: serve::Args,
}

/// The model that `words` ask for, which are options of `bise serve`, loaded and answering.
pub fn serve(words: &[OsString]) -> Noted<Served> {
    let args = read(words).map(|Serving { args }| args);
    let threads = args.and_then(|args| Ok((args.runtime.threads()?, args)));
    match threads {
        // A process that was forked has none of the threads that others load with.
        Ok((threads, args)) => threads.run(|| collected(|| Ok(serve::served(&args, &|_, _| {})?))),
        Err(error) => (Err(error), Vec::new()),
    }
}

/// Options of `bise quantize`.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Quantizing {
    #[command(flatten)]
    args: quantizing::Args,
}

/// Quantizes as `words` ask for, which are those of `bise quantize`, until `stop` is true; gives
/// what `--json` prints.
pub fn quantize(words: &[OsString], stop: Arc<AtomicBool>) -> Noted<Value> {
    collected(|| {
        let Quantizing { mut args } = read(words)?;
        Ok(quantizing_by(&mut args, stop)?)
    })
}

fn quantizing_by(args: &mut quantizing::Args, stop: Arc<AtomicBool>) -> Result<Value> {
    args.src = located(&args.src)?.into_owned();
    let threads = runtime::threads(args.threads.map(usize::from))?;
    args.options().check(&args.src, &args.dst)?;
    let source = Source::open(&args.src)?;
    crate::quantize::refuse_unknown_rules(&source)?;
    let prober = Prober {
        threads: &threads,
        progress: &|| Box::new(|_, _| {}),
    };
    let done = quantizing::run(args.clone(), source, &Silent { stop }, &prober)?;
    Ok(done.json())
}

/// Shows nothing, and stops when it is told to.
struct Silent {
    stop: Arc<AtomicBool>,
}

impl Progress for Silent {
    fn start(&self, _: u64) {}

    fn advance(&self, _: u64) {}

    fn finish(&self) {}

    fn wants_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Reads `words`.
fn read<C: Parser>(words: &[OsString]) -> Result<C, HostError> {
    usage::read(words).map_err(|error| HostError::Option(in_words(&usage::in_short(&error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_no_dashes() {
        for (message, expected) in [
            (
                "--ctx 40 would fit, --force tries",
                "ctx 40 would fit, force tries",
            ),
            ("a larger one (--kv-type q8_0)", "a larger one (kv_type q8_0)"),
            ("get it: bise pull a/b--c", "get it: bise pull a/b--c"),
            ("/hub/models--a--b: no model", "/hub/models--a--b: no model"),
            ("a -- b\n--x-y=1", "a -- b\nx_y=1"),
        ] {
            assert_eq!(in_words(message), expected);
        }
    }

    #[test]
    fn wrong_words_are_named() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (text, expected) in [
            ("--isa=mmx", "isa"),
            ("--kv-type=q2", "kv_type"),
            ("--ctx=0", "ctx"),
            ("--nonsense", "nonsense"),
        ] {
            match serve(&words(text)).0.err() {
                Some(HostError::Option(problem)) => {
                    assert!(problem.contains(expected) && !problem.contains("--"), "{problem}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
