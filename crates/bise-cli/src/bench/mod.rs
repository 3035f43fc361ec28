//! `bise bench`: how fast a model runs, and how much of the machine that takes.

mod replay;
mod synthetic;

use crate::Outcome;
use crate::loading::{self, Loading, Which};
use crate::machine;
use crate::numbers::Expected;
use crate::runtime::KvTypeName;
use anyhow::Result;
use bise_format::atomic::claim;
use bise_format::{LayerTensor, TensorName};
use bise_kernels::isa::Level;
use bise_kernels::measure;
use bise_kernels::ops::CHUNK;
use bise_kernels::threads::Threads;
use bise_model::{Context, ContextOptions, Model};
use bise_quantize::Synthetic;
use replay::Text;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

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
    /// mixtral-8x22b, a colon, and a type or recipe
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
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    kv_type: KvTypeName,
    /// Print a JSON array
    #[arg(long)]
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
            kv: self.kv_type.kv_type(),
            ..ContextOptions::new(longest(&self.depth).saturating_add(tokens))
        }
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
        Some(spec) => synthetic::checkpoint(spec, args.layers, &args.options(), args.loading.forced())?,
        None => loading::checkpoint(args.which.path())?,
    };
    let named = args.which.path().map(|path| path.display().to_string());
    let name = args
        .synthetic
        .clone()
        .or(named)
        .unwrap_or_else(|| "built-in".to_owned());
    let model = args.loading.load(checkpoint, name.clone(), |_| args.options())?;
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
    let mut results = Vec::new();
    let mut out = io::stdout().lock();
    if !args.json {
        writeln!(
            out,
            "| model | isa | threads | test | tok/s | spread | takes | of the limit |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|---|")?;
    }
    for &count in &threads {
        let pool = Threads::new(count)?;
        for &level in &levels {
            let bench = Bench {
                args: &args,
                model: &model,
                name: &name,
                level,
                limits: Limits::of(&pool, level),
            };
            for test in bench.tests() {
                results.push(pool.run(|| bench.measure(test))?);
                print_last(&results, &mut out, args.json)?;
            }
            for text in &texts {
                for result in pool.run(|| bench.replay(text))? {
                    results.push(result);
                    print_last(&results, &mut out, args.json)?;
                }
            }
        }
    }
    if args.json {
        let results = results.iter().map(Measured::json).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&Value::Array(results))?)?;
    }
    Ok(Outcome::Done)
}

/// Prints the newest row of the table, unless all will be printed as JSON.
fn print_last(results: &[Measured], out: &mut impl Write, json: bool) -> io::Result<()> {
    match results.last() {
        Some(result) if !json => writeln!(out, "{}", result.row()),
        _ => Ok(()),
    }
}

/// What the machine can do at most.
#[derive(Clone, Copy)]
struct Limits {
    threads: usize,
    bytes: f64,
    operations: f64,
}

impl Limits {
    fn of(pool: &Threads, level: Level) -> Self {
        let threads = pool.count();
        let bytes = pool.run(|| measure::read_bandwidth(level, threads));
        Self {
            threads,
            bytes,
            operations: pool.run(|| measure::integer_peak(level)),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Prompt,
    Generate,
}

#[derive(Clone, Copy)]
struct Test {
    kind: Kind,
    tokens: usize,
    depth: usize,
}

impl Test {
    fn name(self) -> String {
        let kind = match self.kind {
            Kind::Prompt => "pp",
            Kind::Generate => "tg",
        };
        let depth = if self.depth > 0 {
            format!("@d{}", self.depth)
        } else {
            String::new()
        };
        format!("{kind}{}{depth}", self.tokens)
    }
}

struct Bench<'a> {
    args: &'a Args,
    model: &'a Model,
    name: &'a str,
    level: Level,
    limits: Limits,
}

impl Bench<'_> {
    fn tests(&self) -> Vec<Test> {
        let mut tests = Vec::new();
        for &depth in &self.args.depth {
            for (kind, counts) in [
                (Kind::Prompt, &self.args.prompt),
                (Kind::Generate, &self.args.generate),
            ] {
                let counts = counts.iter().filter(|&&tokens| tokens > 0);
                tests.extend(counts.map(|&tokens| Test { kind, tokens, depth }));
            }
        }
        tests
    }

    /// Runs the start of a test to warm up, then the test as often as asked.
    fn measure(&self, test: Test) -> Result<Measured> {
        let options = ContextOptions {
            kv: self.args.kv_type.kv_type(),
            level: self.level,
            ..ContextOptions::new(test.depth + test.tokens)
        };
        let token = |i: usize| (i * 7919 % self.model.vocabulary_size()) as u32;
        let tokens: Vec<u32> = (0..test.depth + test.tokens).map(token).collect();
        let (before, tested) = tokens.split_at(test.depth);
        let step = match test.kind {
            Kind::Prompt => test.tokens,
            Kind::Generate => 1,
        };
        let mut context = Context::new(self.model, options)?;
        context.forward(before)?;
        context.forward(&tested[..step.min(options.prefill_chunk)])?;
        let mut samples = Vec::new();
        for _ in 0..self.args.repetitions {
            if !context.truncate(test.depth) {
                context.clear();
                context.forward(before)?;
            }
            let start = Instant::now();
            for part in tested.chunks(step) {
                context.forward(part)?;
            }
            samples.push(test.tokens as f64 / start.elapsed().as_secs_f64());
        }
        let spent = match test.kind {
            Kind::Prompt => Spent::Operations(test.tokens),
            Kind::Generate => Spent::Bytes(self.cached(test.depth..test.depth + test.tokens)),
        };
        Ok(self.measured(test.name(), spent, samples))
    }

    /// Bytes of keys and values that the tokens at `positions` read, on an average.
    fn cached(&self, positions: Range<usize>) -> f64 {
        let config = self.model.config();
        let heads = config.layers.len() * config.n_kv_heads;
        let chunk = self.args.kv_type.kv_type().chunk_bytes(config.head_dim);
        let window = config.sliding_window().unwrap_or(usize::MAX);
        let seen: f64 = positions.clone().map(|p| (p + 1).min(window) as f64).sum();
        (heads * chunk) as f64 / CHUNK as f64 * seen / positions.len() as f64
    }

    /// The result of a test.
    fn measured(&self, test: String, spent: Spent, samples: Vec<f64>) -> Measured {
        let mut limits = self.limits;
        if let Spent::Bytes(_) = spent {
            // How much memory gives can change from minute to minute, where machines share it.
            let now = measure::read_bandwidth(self.level, limits.threads);
            limits.bytes = limits.bytes.max(now);
        }
        Measured {
            model: self.name.to_owned(),
            level: self.level,
            limits,
            test,
            spent,
            work: Work::of_a_token(self.model),
            samples,
        }
    }
}

/// What a test is held against.
#[derive(Clone, Copy)]
enum Spent {
    /// The machine's integer operations, for a prompt of so many tokens.
    Operations(usize),
    /// The machine's bandwidth, for tokens one by one, which read so many bytes of keys and values
    /// besides the weights.
    Bytes(f64),
    /// So many tokens a second without drafts.
    Instead(f64),
}

/// The weights that tokens meet.
#[derive(Clone, Copy, Default)]
struct Work {
    /// Those that each token is multiplied with.
    values: f64,
    /// Those of the output matrix, which only the last token of a prompt meets.
    output_values: f64,
    /// What generating a token reads.
    bytes: f64,
}

impl Work {
    /// All matrices, of experts the chosen ones; of the embeddings one row, which is left out.
    fn of_a_token(model: &Model) -> Self {
        let tied = model.checkpoint().output_is_tied();
        let chosen = model
            .config()
            .experts
            .map_or(1.0, |e| e.top_k as f64 / e.count as f64);
        let mut work = Self::default();
        for (name, tensor) in &model.checkpoint().tensors {
            let name = TensorName::parse(name);
            if !tied && name == Some(TensorName::Embedding) {
                continue;
            }
            let of_expert = matches!(
                name.and_then(TensorName::within_layer),
                Some(LayerTensor::Experts(_) | LayerTensor::Expert(..))
            );
            let share = if of_expert { chosen } else { 1.0 };
            let values = share * tensor.elements() as f64;
            if matches!(name, Some(TensorName::Output | TensorName::Embedding)) {
                work.output_values += values;
            } else {
                work.values += values;
            }
            work.bytes += share * tensor.len() as f64;
        }
        work
    }

    /// Multiplications and additions for each token of a prompt of `tokens`, of which the last one
    /// meets the output matrix.
    fn operations(&self, tokens: usize) -> f64 {
        2.0 * (self.values + self.output_values / tokens as f64)
    }
}

/// The results of a test.
struct Measured {
    model: String,
    level: Level,
    limits: Limits,
    test: String,
    spent: Spent,
    work: Work,
    samples: Vec<f64>,
}

impl Measured {
    fn median(&self) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let half = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[half]
        } else {
            (sorted[half - 1] + sorted[half]) / 2.0
        }
    }

    fn row(&self) -> String {
        let rate = self.median();
        let (least, most) = self
            .samples
            .iter()
            .fold((f64::MAX, 0f64), |(l, m), &s| (l.min(s), m.max(s)));
        let (takes, share) = match self.spent {
            Spent::Operations(tokens) => {
                let operations = self.work.operations(tokens) * rate;
                let share = operations / self.limits.operations;
                (format!("{:.3} TOPS", operations / 1e12), percent(share))
            }
            Spent::Bytes(cached) => {
                let bytes = (self.work.bytes + cached) * rate;
                (
                    format!("{:.1} GB/s", bytes / 1e9),
                    percent(bytes / self.limits.bytes),
                )
            }
            Spent::Instead(plain) => (format!("{:.2} times the speed", rate / plain), String::new()),
        };
        format!(
            "| {} | {} | {} | {} | {rate:.2} | {} | {takes} | {share} |",
            self.model,
            self.level,
            self.limits.threads,
            self.test,
            percent((most - least) / rate),
        )
    }

    fn json(&self) -> Value {
        let rate = self.median();
        let mut json = json!({
            "model": self.model, "isa": self.level.name(), "threads": self.limits.threads,
            "test": self.test, "tokens_per_second": rate, "samples": self.samples,
            "read_bandwidth": self.limits.bytes, "integer_peak": self.limits.operations,
        });
        // What a batch of one reads and computes says nothing of batches with drafts in them.
        if let Spent::Instead(plain) = self.spent {
            json["times_without_drafts"] = json!(rate / plain);
            return json;
        }
        let (tokens, cached) = match self.spent {
            Spent::Operations(tokens) => (tokens, 0.0),
            Spent::Bytes(cached) => (1, cached),
            Spent::Instead(_) => (1, 0.0),
        };
        let (bytes, operations) = (self.work.bytes * rate, self.work.operations(tokens) * rate);
        json["weight_bytes_per_second"] = json!(bytes);
        json["cache_bytes_per_second"] = json!(cached * rate);
        json["percent_of_read_bandwidth"] = json!((bytes + cached * rate) / self.limits.bytes * 100.0);
        json["operations_per_second"] = json!(operations);
        json["percent_of_integer_peak"] = json!(operations / self.limits.operations * 100.0);
        json
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
