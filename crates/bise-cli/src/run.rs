//! `bise run`: continue a text.

use crate::interrupt::Interrupt;
use crate::runtime::{self, Runtime};
use crate::{Outcome, say, session};
use anyhow::{Context as _, Result, ensure};
use bise_model::sampler::{Sampler, SamplerOptions};
use bise_model::tokenizer::Detokenizer;
use bise_model::{Context, Limits, Stop};
use std::io::{self, IsTerminal, Read, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Continue a text
///
/// The prompt comes from -p or from standard input. The text goes to standard output as it is made, statistics to
/// standard error.
#[derive(clap::Args)]
pub struct Args {
    /// GGUF file [default: the built-in story teller]
    model: Option<PathBuf>,
    /// The text to continue [default: standard input]
    #[arg(short, long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Tokens to generate [default: until the model ends the text]
    #[arg(short, long = "tokens", value_name = "N")]
    n: Option<usize>,
    /// Go on after the model ends the text
    #[arg(long)]
    ignore_eos: bool,
    /// Do not print the prompt before its continuation
    #[arg(long)]
    no_echo: bool,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    session: session::Args,
    #[command(flatten)]
    runtime: Runtime,
}

/// How tokens are chosen.
#[derive(clap::Args)]
#[command(next_help_heading = "Sampling")]
struct Sampling {
    /// Higher is more varied; 0 always takes the likeliest token
    #[arg(long, default_value_t = 0.8)]
    temp: f32,
    /// Choose among the K likeliest tokens; 0 among all
    #[arg(long, value_name = "K", default_value_t = 40)]
    top_k: usize,
    /// Choose among the likeliest tokens whose probabilities reach P together
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    top_p: f32,
    /// Choose among tokens at least P times as likely as the likeliest
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    min_p: f32,
    /// Make tokens of the last 64 less likely by this factor; 1 does not
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    repeat_penalty: f32,
    /// Makes the choice of tokens repeatable [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
}

pub fn run(args: Args) -> Result<Outcome> {
    let prompt = match &args.prompt {
        Some(text) => text.clone().into_bytes(),
        None if args.session.resumes() && io::stdin().is_terminal() => Vec::new(),
        None => read_stdin()?,
    };
    let mut sampler = args.sampling.sampler()?;
    let interrupt = Interrupt::listen()?;
    let model = runtime::open(args.model.as_deref())?;
    let tokenizer = runtime::tokenizer(&model)?;
    let draft = args.session.draft_model()?;
    let mut session = args.session.session(&model, draft.as_ref(), &args.runtime)?;
    args.session.resume(&mut session, &mut sampler)?;
    let tokens = match session.is_empty() {
        true => tokenizer.encode_prompt(&prompt),
        false => tokenizer.encode(&prompt),
    };
    ensure!(
        !tokens.is_empty() || !session.is_empty(),
        "the prompt is empty, and the model has no token to begin a text with"
    );
    let end: Vec<u32> = tokenizer
        .vocabulary()
        .eos
        .into_iter()
        .filter(|_| !args.ignore_eos)
        .collect();
    let limits = Limits {
        max_tokens: args.n.unwrap_or(usize::MAX),
        end: &end,
    };

    let mut text = Detokenizer::continuing(&tokenizer);
    let mut out = Output {
        out: io::stdout(),
        error: None,
    };
    if !args.no_echo {
        out.write(&String::from_utf8_lossy(&prompt));
    }
    let mut clock = Clock::start(tokens.len());
    let receive = |token| {
        clock.token();
        out.write(text.push(token));
        if interrupt.pressed() || out.error.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let threads = args.runtime.threads()?;
    let keeper = &args.session;
    let stop = threads.run(|| keeper.generate(&mut session, &tokens, limits, &mut sampler, receive));
    out.write(text.finish());
    out.write("\n");
    if let Some(error) = out.error {
        return Err(error).context("cannot write to standard output");
    }
    args.session.keep(&mut session, &sampler)?;
    say(clock.report(session.context(), sampler.seed()));
    if let Some(drafts) = session::report(&session) {
        say(drafts);
    }
    Ok(if stop? == Stop::Asked {
        Outcome::Interrupted
    } else {
        Outcome::Done
    })
}

fn read_stdin() -> Result<Vec<u8>> {
    ensure!(
        !io::stdin().is_terminal(),
        "no prompt: give -p TEXT, or pipe the text in"
    );
    let mut text = Vec::new();
    io::stdin()
        .read_to_end(&mut text)
        .context("cannot read the prompt from standard input")?;
    Ok(text)
}

impl Sampling {
    fn sampler(&self) -> Result<Sampler> {
        let options = SamplerOptions {
            temperature: self.temp,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            seed: self.seed,
            ..SamplerOptions::default()
        };
        Ok(Sampler::new(options)?)
    }
}

/// Standard output, flushed at every piece of text; remembers the first error.
struct Output {
    out: io::Stdout,
    error: Option<io::Error>,
}

impl Output {
    fn write(&mut self, text: &str) {
        if self.error.is_none() && !text.is_empty() {
            let written = self
                .out
                .write_all(text.as_bytes())
                .and_then(|()| self.out.flush());
            self.error = written.err();
        }
    }
}

/// Times the prompt and the tokens after it.
struct Clock {
    start: Instant,
    prompt: usize,
    first: Option<Instant>,
    tokens: u32,
}

impl Clock {
    fn start(prompt: usize) -> Self {
        Self {
            start: Instant::now(),
            prompt,
            first: None,
            tokens: 0,
        }
    }

    fn token(&mut self) {
        self.first.get_or_insert_with(Instant::now);
        self.tokens += 1;
    }

    fn report(&self, context: &Context<'_>, seed: u64) -> String {
        let first = self.first.unwrap_or_else(Instant::now);
        let rate = |tokens: f64, time: Duration| tokens / time.as_secs_f64().max(1e-9);
        format!(
            "prompt {} tokens, {:.1} tok/s; text {} tokens, {:.1} tok/s; keys and values {:.1} MiB; seed {seed}",
            self.prompt,
            rate(self.prompt as f64, first - self.start),
            self.tokens,
            rate(f64::from(self.tokens.saturating_sub(1)), first.elapsed()),
            context.kv_bytes() as f64 / f64::from(1 << 20),
        )
    }
}
