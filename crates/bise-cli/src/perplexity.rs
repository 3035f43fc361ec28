//! `bise perplexity`: how well a model predicts a text.

use crate::loading::Which;
use crate::outcome::Outcome;
use crate::progress::Bar;
use crate::runtime::{self, Runtime};
use anyhow::{Result, ensure};
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;

/// Measure the perplexity of a text: how well the model predicts it
///
/// The text is tokenized as a whole and cut into chunks; each begins with the token that begins a
/// text and is processed alone. Perplexity is the exponential of the mean negative log-likelihood
/// of all tokens of the text.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Text to measure on; - is standard input
    #[arg(short, long)]
    file: PathBuf,
    /// Tokens of a chunk, the one that begins it included [default: 512, or the context where that
    /// is less]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    chunk: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    runtime: Runtime,
}

pub fn run(args: Args) -> Result<Outcome> {
    let model = args.runtime.open(args.which.path())?;
    let mut context = args.runtime.context(&model)?;
    let tokenizer = runtime::tokenizer(&model, args.which.path())?;
    let (tokens, chunks) = runtime::chunks(&context, &tokenizer, &args.file, args.chunk)?;
    let threads = args.runtime.threads()?;
    let mut scores = Scores::default();
    let bar = Bar::tokens("measuring", chunks.count(&tokens, usize::MAX));
    context.watch_progress(Some(bar.watch()));
    let mut read = 0;
    for chunk in chunks.of(&tokens) {
        bar.after(read);
        read += chunk.len();
        context.clear();
        let mut next = chunk[1..].iter();
        let score = |logits: &[f32]| {
            if let Some(&token) = next.next() {
                scores.add(logits, token);
            }
        };
        threads.run(|| context.forward_all(&chunk, score))?;
    }
    bar.end();
    ensure!(
        scores.count > 0,
        "{} has too few tokens to measure on",
        args.file.display()
    );
    scores.print(args.json)
}

/// Negative log-likelihoods of tokens, in nats.
#[derive(Default)]
struct Scores {
    count: u32,
    sum: f64,
    sum_of_squares: f64,
}

impl Scores {
    /// `-log softmax(logits)[token]`
    fn add(&mut self, logits: &[f32], token: u32) {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f64 = logits.iter().map(|&l| f64::from(l - most).exp()).sum();
        let nll = total.ln() - f64::from(logits[token as usize] - most);
        self.count += 1;
        self.sum += nll;
        self.sum_of_squares += nll * nll;
    }

    fn print(&self, as_json: bool) -> Result<Outcome> {
        let n = f64::from(self.count);
        let mean = self.sum / n;
        let variance = (self.sum_of_squares / n - mean * mean).max(0.0);
        let perplexity = mean.exp();
        let error = perplexity * (variance / n).sqrt();
        let mut out = io::stdout().lock();
        if as_json {
            let object = json!({ "perplexity": perplexity, "standard_error": error, "nll": mean, "tokens": self.count });
            writeln!(out, "{object}")?;
        } else {
            writeln!(
                out,
                "perplexity {perplexity:.4} +- {error:.4} over {} tokens",
                self.count
            )?;
        }
        Ok(Outcome::Done)
    }
}
