//! `bise imatrix`: how large the inputs of each matrix are, for the quantizer.

use crate::destination;
use crate::interrupt::Interrupt;
use crate::loading::Which;
use crate::messages::{note, say};
use crate::outcome::Outcome;
use crate::progress::Bar;
use crate::runtime::{self, Runtime};
use anyhow::Result;
use bise_format::{FfnMatrix, TensorName};
use bise_model::InputSums;
use bise_quantize::ImportanceMatrix;
use std::io;
use std::path::PathBuf;

/// Measure which inputs of each matrix are large, for `bise quantize --imatrix`
///
/// The text is cut into chunks that are processed alone, each beginning with the token that begins
/// a text. The file is GGUF, as llama.cpp writes and reads it.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Text like that which the model will work on; - is standard input
    #[arg(short, long)]
    file: PathBuf,
    /// File to write; - for standard output
    #[arg(short, long, value_name = "OUT.gguf")]
    output: PathBuf,
    /// Tokens of a chunk, the one that begins it included [default: 512, or the context where that
    /// is less]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    chunk: Option<u32>,
    /// Use at most so many chunks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    chunks: Option<u32>,
    /// Include the inputs of the output matrix
    #[arg(long)]
    process_output: bool,
    #[command(flatten)]
    runtime: Runtime,
}

/// Fewer tokens than this say little of an expert.
const FEW: u64 = 32;

pub fn run(args: Args) -> Result<Outcome> {
    let read = [Some(&*args.file), args.which.path()];
    let read = read.into_iter().flatten().chain(args.runtime.adapters());
    destination::try_out(&args.output, &read.collect::<Vec<_>>())?;
    let model = args.runtime.open(args.which.path())?;
    let mut context = args.runtime.context(&model)?;
    let tokenizer = runtime::tokenizer(&model, args.which.path())?;
    let (tokens, chunks) = runtime::chunks(&context, &tokenizer, &args.file, args.chunk)?;
    let threads = args.runtime.threads()?;
    let most = args.chunks.map_or(usize::MAX, |n| n as usize);
    context.collect_activation_statistics();
    let bar = Bar::tokens("measuring", chunks.count(&tokens, most));
    context.watch_progress(Some(bar.watch()));
    let (mut done, mut read) = (0, 0);
    for chunk in chunks.of(&tokens).take(most) {
        bar.after(read);
        read += chunk.len();
        context.clear();
        threads.run(|| context.forward_all(&chunk, |_| {}))?;
        done += 1;
    }
    bar.end();
    let name = args.file.file_name().unwrap_or_default();
    let mut matrix = ImportanceMatrix::default();
    matrix.datasets.push(name.to_string_lossy().into_owned());
    (matrix.chunk_count, matrix.chunk_size) = (done, chunks.len() as u32);
    for sums in context.take_activation_statistics() {
        warn(&sums);
        if args.process_output || TensorName::parse(&sums.name) != Some(TensorName::Output) {
            matrix.insert_measured(sums);
        }
    }
    let _whole = Interrupt::listen();
    match destination::is_stdout(&args.output) {
        true => matrix.write_to(io::stdout().lock())?,
        false => matrix.write(&args.output)?,
    }
    let (output, tensors, tokens) = (args.output.display(), matrix.len(), tokens.len());
    say(format!(
        "{output}: {tensors} tensors, {done} chunks of a text of {tokens} tokens"
    ));
    Ok(Outcome::Done)
}

/// Names the experts that saw few tokens, once for each layer.
fn warn(sums: &InputSums) {
    let rare = sums.counts.iter().enumerate().filter(|&(_, &count)| count < FEW);
    let rare: Vec<String> = rare.map(|(e, count)| format!("expert {e}: {count}")).collect();
    let matrix = TensorName::parse(&sums.name).and_then(|name| name.within_layer()?.ffn());
    if matrix == Some(FfnMatrix::Down) && !rare.is_empty() && sums.counts.len() > 1 {
        let rare = rare.join(", ");
        note(format_args!(
            "{}: few tokens reached some experts ({rare}); use more text",
            sums.name
        ));
    }
}
