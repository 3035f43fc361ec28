//! The command line of the quantizer, for the `bise-quantize` program and for `bise quantize`.

use crate::{Bar, Options, QuantizeError, Target, quantize};
use clap::Parser;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Make a quantized GGUF file
///
/// SRC is a directory of a Mistral or Mixtral with safetensors in F32, F16 or BF16 and a tokenizer, in Hugging Face's layout
/// (config.json) or Mistral's own (params.json); or a GGUF file, or any part of a split one. DST appears only when it is
/// complete.
#[derive(Parser)]
#[command(version)]
pub struct Args {
    /// A directory of safetensors or a GGUF file
    src: PathBuf,
    /// The GGUF file to write
    dst: PathBuf,
    /// A type such as Q8_0, or a recipe such as Q4_K_M
    #[arg(long = "type", value_name = "TYPE", value_parser = target)]
    target: Target,
    /// Give all matrices this very type
    #[arg(long)]
    pure: bool,
    /// Threads to use [default: all cores]
    #[arg(short, long)]
    threads: Option<usize>,
    /// Write that a token sees N keys, its own included, or all [default: as SRC says]
    #[arg(long, value_name = "N|off", value_parser = window)]
    sliding_window: Option<u32>,
}

/// A number of keys; 0 for all of them.
fn window(text: &str) -> Result<u32, String> {
    match text.parse() {
        _ if text == "off" => Ok(0),
        Ok(keys) if (1..=1 << 30).contains(&keys) => Ok(keys),
        _ => Err("expected a number of keys from 1 to 2^30, or off".to_owned()),
    }
}

fn target(name: &str) -> Result<Target, String> {
    Target::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Target::all().map(Target::name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// Does what `args` ask for, until `stop` becomes true. Gives what the user should know: notes and a summary.
///
/// # Errors
/// As [`quantize`].
pub fn run(args: Args, stop: Arc<AtomicBool>) -> Result<String, QuantizeError> {
    let Args {
        src,
        dst,
        target,
        pure,
        threads,
        sliding_window,
    } = args;
    let report = quantize(
        &src,
        &dst,
        &Options {
            target,
            pure,
            threads,
            sliding_window,
        },
        &Bar::new(stop),
    )?;
    let notes: String = report
        .notes
        .iter()
        .map(|note| format!("note: {note}\n"))
        .collect();
    let (dst, tensors) = (dst.display(), report.tensors.len());
    let (bytes, bits) = (report.file_len, report.bits_per_weight());
    Ok(format!(
        "{notes}{dst}: {tensors} tensors, {bytes} bytes, {bits:.2} bits per weight"
    ))
}
