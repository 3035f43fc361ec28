//! The `bise-quantize` program.

use anyhow::Result;
use bise_quantize::{Bar, Options, Target, quantize};
use clap::Parser;
use std::path::PathBuf;

/// Write a Mistral or Mixtral as a quantized GGUF file.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// A Hugging Face directory (config.json, safetensors) or a GGUF file
    src: PathBuf,
    /// The GGUF file to write; it appears only when complete
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
}

fn target(name: &str) -> Result<Target, String> {
    Target::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Target::all().map(Target::name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

fn main() -> Result<()> {
    let Arguments {
        src,
        dst,
        target,
        pure,
        threads,
    } = Arguments::parse();
    let report = quantize(
        &src,
        &dst,
        &Options {
            target,
            pure,
            threads,
        },
        &Bar::new(),
    )?;
    for note in &report.notes {
        eprintln!("note: {note}");
    }
    eprintln!(
        "{}: {} tensors, {} bytes, {:.2} bits per weight",
        dst.display(),
        report.tensors.len(),
        report.file_len,
        report.bits_per_weight()
    );
    Ok(())
}
