//! How long it took, and how much memory.

use bise_model::Context;
use bise_serve::batch::Answer;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Times the prompt and the tokens after it.
pub struct Clock {
    start: Instant,
    prompt: usize,
    first: Option<Instant>,
    last: Option<Instant>,
    tokens: u32,
}

/// What it took to process a prompt and generate a text.
pub struct Stats {
    prompt_tokens: usize,
    /// Tokens before the text that were known from a session or the prompt cache, and those that
    /// were read.
    cached: usize,
    read: usize,
    prompt_seconds: f64,
    tokens: u32,
    /// From the first token to the last.
    seconds: f64,
    kv_bytes: usize,
    /// The most memory that the process had, where the system tells.
    peak_bytes: Option<u64>,
}

/// What many prompts come to.
pub struct Many {
    start: Instant,
    texts: usize,
    prompt_tokens: usize,
    tokens: usize,
    /// Lines that have an error in place of a text.
    pub wrong: usize,
}

impl Many {
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            texts: 0,
            prompt_tokens: 0,
            tokens: 0,
            wrong: 0,
        }
    }

    pub fn count(&mut self, answer: &Answer) {
        match &answer.result {
            Ok(text) => {
                self.texts += 1;
                self.prompt_tokens += text.prompt_tokens;
                self.tokens += text.tokens;
            }
            Err(_) => self.wrong += 1,
        }
    }

    /// All of it, when `known` tokens of prompts were known from other ones.
    pub fn line(&self, known: u64) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        format!(
            "{} texts in {seconds:.1} s: prompts {} tokens, {known} of them known from others; texts {} tokens, \
             {:.1} tok/s{}",
            self.texts,
            self.prompt_tokens,
            self.tokens,
            self.tokens as f64 / seconds.max(1e-9),
            peak(peak_memory()),
        )
    }
}

/// The most memory that the process had.
fn peak(bytes: Option<u64>) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    bytes.map_or(String::new(), |bytes| {
        format!("; memory {:.1} MiB at most", mib(bytes))
    })
}

impl Clock {
    pub fn start(prompt: usize) -> Self {
        Self {
            start: Instant::now(),
            prompt,
            first: None,
            last: None,
            tokens: 0,
        }
    }

    /// A token was made.
    pub fn token(&mut self) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.tokens += 1;
    }

    /// What it took when `cached` tokens were known before, and `read` were not.
    pub fn stats(&self, context: &Context, cached: usize, read: usize) -> Stats {
        let first = self.first.unwrap_or_else(Instant::now);
        let text = self.last.map_or(Duration::ZERO, |last| last - first);
        Stats {
            prompt_tokens: self.prompt,
            cached,
            read,
            prompt_seconds: (first - self.start).as_secs_f64(),
            tokens: self.tokens,
            seconds: text.as_secs_f64(),
            kv_bytes: context.kv_bytes(),
            peak_bytes: peak_memory(),
        }
    }
}

impl Stats {
    fn prompt_rate(&self) -> f64 {
        self.read as f64 / self.prompt_seconds.max(1e-9)
    }

    /// The first token is made by the prompt.
    fn rate(&self) -> f64 {
        f64::from(self.tokens.saturating_sub(1)) / self.seconds.max(1e-9)
    }

    pub fn line(&self, seed: u64) -> String {
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        format!(
            "prompt {} tokens: {} from cache, {} read anew, {:.1} tok/s; text {} tokens, {:.1} tok/s; keys and values {:.1} MiB{}; seed {seed}",
            self.cached + self.read,
            self.cached,
            self.read,
            self.prompt_rate(),
            self.tokens,
            self.rate(),
            mib(self.kv_bytes as f64),
            peak(self.peak_bytes),
        )
    }

    pub fn json(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached,
            "read_tokens": self.read,
            "prompt_seconds": self.prompt_seconds,
            "prompt_tokens_per_second": self.prompt_rate(),
            "tokens": self.tokens,
            "seconds": self.seconds,
            "tokens_per_second": self.rate(),
            "kv_bytes": self.kv_bytes,
            "peak_bytes": self.peak_bytes,
        })
    }
}

/// Linux tells it in /proc; elsewhere there is no such file.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
