//! The command line of the quantizer, for the `bise-quantize` program and for `bise quantize`.

use crate::{Bar, Options, Prober, QuantizeError, Target, quantize_and_probe};
use bise_tensor::block::DType;
use clap::Parser;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Make a quantized GGUF file
///
/// SRC is a directory of a Mistral or Mixtral with safetensors in F32, F16 or BF16 and a tokenizer, in Hugging Face's layout
/// (config.json) or Mistral's own (params.json); or a GGUF file, or any part of a split one. DST appears only when it is
/// complete; until then the work lies beside it as .DST.bise-part and .DST.bise-journal. Stopped by Ctrl-C or killed, the
/// same command goes on from there. DST carries hashes and probes for bise verify.
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
    /// Record hashes only, not what the model says to some prompts: the model is not run
    #[arg(long)]
    no_probe: bool,
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
        let read_only = match DType::from_name(name) {
            Some(dtype) => format!("{dtype} is a type that is only read; "),
            None => String::new(),
        };
        format!("{read_only}expected one of {}", names.join(", "))
    })
}

/// Does what `args` ask for, until `stop` becomes true; `prober` runs models, where there is one. Gives what the user should
/// know: notes and a summary.
///
/// # Errors
/// As [`quantize`].
pub fn run(args: Args, stop: Arc<AtomicBool>, prober: Option<&dyn Prober>) -> Result<String, QuantizeError> {
    let Args {
        src,
        dst,
        target,
        pure,
        no_probe,
        threads,
        sliding_window,
    } = args;
    let report = quantize_and_probe(
        &src,
        &dst,
        &Options {
            target,
            pure,
            threads,
            sliding_window,
        },
        &Bar::new(stop),
        prober.filter(|_| !no_probe),
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
