//! `bise bench`: how fast a model runs, and how much of the machine that takes.

mod measured;
mod replay;
mod synthetic;
mod table;
mod timing;

use crate::loading::{self, Loading, Which};
use crate::machine;
use crate::numbers::Expected;
use crate::outcome::Outcome;
use crate::runtime::kv_types;
use anyhow::Result;
use bise_format::atomic::claim;
use bise_kernels::isa::Level;
use bise_kernels::threads::Threads;
use bise_model::{ContextOptions, KvType};
use bise_quantize::Synthetic;
use measured::Roofline;
use replay::Text;
use std::io;
use std::path::PathBuf;
use table::{Format, Table};
use timing::{Bench, Kind, Test};

/// Measure how fast a model runs
///
/// Each test is named as llama-bench names it: pp512 processes a prompt of 512 tokens, tg128
/// generates 128 tokens one by one, and @d1024 does so after 1024 other tokens. The figure is the
/// median. Beside it stands what the test takes of the machine, whose limits are measured too: for
/// prompts the integer operations of the weights, for generation the bytes of weights, keys and
/// values read. Lists are separated by commas.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Measure random weights of a published shape instead: mistral-7b, mixtral-8x7b or
    /// mixtral-8x22b, ministral-8b, mistral-small-24b, ministral-3-3b, ministral-3-8b,
    /// ministral-3-14b, a colon, and a type or recipe
    #[arg(long, value_name = "SHAPE:TYPE", conflicts_with_all = ["model", "named"])]
    synthetic: Option<String>,
    /// Layers of the synthetic model [default: as many as the shape has]
    #[arg(long, requires = "synthetic", value_parser = clap::value_parser!(u64).range(1..=1024))]
    layers: Option<u64>,
    /// Write the synthetic model to a file, for other programs to read, and measure nothing
    #[arg(long, requires = "synthetic", value_name = "FILE")]
    write: Option<PathBuf>,
    /// Tokens of a prompt; 0 for no such test
    #[arg(short, long, value_delimiter = ',', default_value = "512", value_parser = tokens)]
    prompt: Vec<usize>,
    /// Tokens to generate; 0 for no such test
    #[arg(short = 'n', long, value_delimiter = ',', default_value = "128", value_parser = tokens)]
    generate: Vec<usize>,
    /// Tokens processed before a test
    #[arg(short, long, value_delimiter = ',', default_value = "0", value_parser = tokens)]
    depth: Vec<usize>,
    /// Generate also the answers of these recorded texts, without drafts and with drafts from the
    /// text itself; a JSON array of objects with name, prompt and answer, the last two in tokens
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Repetitions of each test
    #[arg(short, long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    repetitions: u32,
    /// Threads [default: one for each physical core that the process may use]
    #[arg(short, long, value_delimiter = ',', allow_negative_numbers = true,
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,
    /// Instruction sets [default: the best that this machine has]
    #[arg(long, value_delimiter = ',')]
    isa: Vec<Level>,
    /// Format of cached keys and values
    #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = kv_types())]
    kv_type: KvType,
    /// How results are printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Md)]
    output: Format,
    /// The same as --output json
    #[arg(long, conflicts_with = "output")]
    json: bool,
    #[command(flatten)]
    loading: Loading,
}

/// A number of tokens that a test may have.
fn tokens(text: &str) -> Result<usize, Expected> {
    match text.parse() {
        Ok(tokens @ 0..=0x7fff_ffff) => Ok(tokens),
        _ => Err(Expected("a number of tokens from 0 to 2^31 - 1")),
    }
}

impl Args {
    /// What the largest of the tests takes.
    fn options(&self) -> ContextOptions {
        let longest = |counts: &[usize]| counts.iter().copied().max().unwrap_or(0);
        let tokens = longest(&self.prompt).max(longest(&self.generate));
        ContextOptions {
            kv: self.kv_type,
            ..ContextOptions::new(longest(&self.depth).saturating_add(tokens))
        }
    }

    fn tests(&self) -> Vec<Test> {
        let mut tests = Vec::new();
        for &depth in &self.depth {
            for (kind, counts) in [(Kind::Prompt, &self.prompt), (Kind::Generate, &self.generate)] {
                let counts = counts.iter().filter(|&&tokens| tokens > 0);
                tests.extend(counts.map(|&tokens| Test {
                    kind,
                    tokens,
                    depth,
                }));
            }
        }
        tests
    }
}

pub fn run(args: Args) -> Result<Outcome> {
    if let (Some(spec), Some(path)) = (&args.synthetic, &args.write) {
        let replay = args.replay.as_deref();
        claim(path, replay.as_slice())?;
        Synthetic::new(spec, args.layers)?.write_file(path)?;
        return Ok(Outcome::Done);
    }
    let checkpoint = match &args.synthetic {
        Some(spec) => {
            synthetic::checkpoint(spec, args.layers, &args.options(), args.loading.forced())?
        }
        None => loading::checkpoint(args.which.path())?,
    };
    let named = args.which.path().map(|path| path.display().to_string());
    let name = args
        .synthetic
        .clone()
        .or(named)
        .unwrap_or_else(|| "built-in".to_owned());
    let model = args
        .loading
        .load(checkpoint, name.clone(), |_, _| args.options(), &|_, _| {})?;
    let texts = match &args.replay {
        Some(path) => Text::read(path, model.vocabulary_size())?,
        None => Vec::new(),
    };
    let threads = if args.threads.is_empty() {
        vec![machine::cores()]
    } else {
        args.threads.iter().copied().map(usize::from).collect()
    };
    let levels = if args.isa.is_empty() {
        vec![Level::detect()]
    } else {
        args.isa.clone()
    };
    let format = if args.json { Format::Json } else { args.output };
    let mut table = Table::begin(format, &name, io::stdout().lock())?;
    for &count in &threads {
        let pool = Threads::new(count)?;
        for &level in &levels {
            let bench = Bench {
                model: &model,
                name: &name,
                level,
                roofline: Roofline::of(&pool, level),
                kv: args.kv_type,
                repetitions: args.repetitions,
            };
            for test in args.tests() {
                table.add(&pool.run(|| bench.measure(test))?)?;
            }
            for text in &texts {
                for result in pool.run(|| bench.replay(text))? {
                    table.add(&result)?;
                }
            }
        }
    }
    table.end()?;
    Ok(Outcome::Done)
}
