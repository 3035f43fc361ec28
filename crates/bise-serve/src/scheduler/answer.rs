//! One answer, from when it waits to when it ends.

use crate::request::{End, Event, Finish, Piece, Request};
use crate::tally::Tally;
use crate::writer::Writer;
use bise_model::chat::Template;
use bise_model::sampler::{Logprobs, Sampler};
use bise_model::tokenizer::Tokenizer;
use bise_model::{GenerateError, Lookup, Sequence, TokenSampler};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::mpsc;

/// Events that an answer has in a step at most; each draft that is right has one.
pub const EVENTS: usize = 32;

/// Tokens that are guessed for a pass at most: fewer than any window lets be taken back.
const MOST_DRAFTS: usize = 16;

/// What the answers to one request have in common.
pub struct Common {
    pub prompt: usize,
    max_tokens: usize,
    ignore_end: bool,
    logprobs: Option<usize>,
    whole: bool,
    events: mpsc::Sender<Event>,
    came: Instant,
    tally: Arc<Tally>,
    begun: AtomicBool,
}

/// One of the answers to a request.
pub struct Answer<'t> {
    common: Arc<Common>,
    choice: usize,
    /// The prompt, and the answer so far.
    pub tokens: Vec<u32>,
    /// What has been processed; none while the answer waits.
    pub sequence: Option<Sequence>,
    sampler: Sampler,
    writer: Option<Writer<'t>>,
    tokenizer: &'t Tokenizer,
    /// Guesses of what follows, which are read along.
    pub drafts: Vec<u32>,
    lookup: Lookup,
    /// Tokens of the prompt that were known when it began.
    cached: usize,
    prompt_done: Option<Instant>,
    /// Whether the answer has ended.
    pub ended: bool,
}

impl<'t> Answer<'t> {
    /// The answers to `request`, none of which has begun.
    pub fn all(
        request: Request,
        events: mpsc::Sender<Event>,
        came: Instant,
        tally: Arc<Tally>,
        tokenizer: &'t Tokenizer,
        template: &'t Template,
    ) -> Vec<Self> {
        let Request {
            prompt,
            voice,
            samplers,
            max_tokens,
            ignore_end,
            stops,
            logprobs,
            whole,
        } = request;
        let common = Arc::new(Common {
            prompt: prompt.len(),
            max_tokens,
            ignore_end,
            logprobs,
            whole,
            events,
            came,
            tally,
            begun: AtomicBool::new(false),
        });
        let answer = |(choice, sampler)| Self {
            common: common.clone(),
            choice,
            tokens: prompt.clone(),
            sequence: None,
            sampler,
            writer: Some(Writer::new(tokenizer, template, voice, &stops)),
            tokenizer,
            drafts: Vec::new(),
            lookup: Lookup::new(),
            cached: 0,
            prompt_done: None,
            ended: false,
        };
        samplers.into_iter().enumerate().map(answer).collect()
    }

    /// Whether nobody waits for it any more.
    pub fn is_abandoned(&self) -> bool {
        self.common.events.is_closed()
    }

    /// Whether whoever reads it is so far behind that it should wait.
    pub fn is_read_slowly(&self) -> bool {
        self.common.events.capacity() < EVENTS
    }

    /// Whether somebody waits for its next token.
    pub fn is_watched(&self) -> bool {
        !self.common.whole
    }

    /// Tokens processed.
    pub fn done(&self) -> usize {
        self.sequence.as_ref().map_or(0, Sequence::len)
    }

    /// Tokens that have not been processed: one while the answer is being written.
    pub fn left(&self) -> usize {
        self.tokens.len() - self.done()
    }

    /// The next `n` tokens to be processed: of the text, and then guesses.
    pub fn next(&self, n: usize) -> Vec<u32> {
        let text = self.tokens[self.done()..].iter();
        text.chain(&self.drafts).take(n).copied().collect()
    }

    /// Whether its next token is all that has not been processed.
    pub fn is_decoding(&self) -> bool {
        self.left() == 1 && self.tokens.len() > self.common.prompt
    }

    /// Begins, or goes on after it gave way, with a sequence that has processed some of it.
    pub fn admit(&mut self, sequence: Sequence) {
        if self.prompt_done.is_none() {
            self.cached = sequence.len().min(self.common.prompt);
        }
        self.sequence = Some(sequence);
    }

    /// Gives up what has been processed, which is computed again later; the tokens stay.
    pub fn give_way(&mut self) {
        self.sequence = None;
        self.drafts.clear();
    }

    /// Tokens that may still come.
    pub fn room(&self) -> usize {
        self.common.max_tokens - (self.tokens.len() - self.common.prompt)
    }

    /// Guesses what follows, as much as pays when `cost(k)` is what `k` drafts make of a pass.
    pub fn draft(&mut self, cost: impl Fn(usize) -> Option<f64>) {
        let most = MOST_DRAFTS.min(self.room().saturating_sub(1));
        let drafts = self.lookup.draft(&self.tokens, most, cost);
        self.drafts.clear();
        self.drafts.extend_from_slice(drafts);
    }

    /// Chooses the tokens that follow, from the logits after the last token and after each draft:
    /// `[1 + drafts, vocabulary]`. What was processed and is not in the text is taken back.
    pub fn advance(&mut self, logits: &[f32], vocabulary: usize) {
        if self.prompt_done.is_none() {
            self.prompt_done = Some(Instant::now());
            if !self.common.begun.swap(true, Ordering::Relaxed) {
                let cached = self.cached;
                self.common.tally.prompt(self.common.prompt, cached);
                let time = self.common.came.elapsed().as_secs_f64();
                metrics::histogram!("bise_first_token_seconds").record(time);
                self.send(Event::Begun { cached });
            }
        }
        if self.room() == 0 {
            return self.end(Finish::Length, false);
        }
        let drafts = std::mem::take(&mut self.drafts);
        for (i, logits) in logits.chunks_exact(vocabulary).enumerate() {
            match self.choose(logits) {
                Ok(token) if drafts.get(i) == Some(&token) && !self.ended => {}
                Ok(_) => break,
                Err(problem) => {
                    self.fail(problem);
                    break;
                }
            }
        }
        // The last token is never processed; drafts behind it are void.
        let text = self.tokens.len() - 1;
        if let Some(sequence) = &mut self.sequence {
            let possible = sequence.truncate(text.min(sequence.len()));
            debug_assert!(possible, "no more is drafted than can be taken back");
        }
        self.drafts = drafts;
        self.drafts.clear();
    }

    /// The next token, from `logits`.
    fn choose(&mut self, logits: &[f32]) -> Result<u32, String> {
        let token = TokenSampler::sample(&mut self.sampler, logits, &self.tokens)
            .map_err(|error: GenerateError| error.to_string())?;
        let logprobs = self.common.logprobs.map(|top| Logprobs::of(logits, token, top));
        self.tokens.push(token);
        self.common.tally.generated();
        self.lookup.observe(token);
        if self.tokenizer.ends().contains(&token) && !self.common.ignore_end {
            self.end(Finish::End, true);
            return Ok(token);
        }
        let Some(writer) = &mut self.writer else {
            return Ok(token);
        };
        let piece = writer.push(token, logprobs);
        let stopped = writer.is_stopped();
        self.say(piece);
        if stopped {
            self.end(Finish::End, false);
        } else if self.room() == 0 {
            self.end(Finish::Length, false);
        }
        Ok(token)
    }

    fn end(&mut self, finish: Finish, by_token: bool) {
        self.ended = true;
        let Some(writer) = self.writer.take() else {
            return;
        };
        let (piece, end) = writer.finish(finish, by_token);
        self.say(piece);
        let begun = self.prompt_done.unwrap_or(self.common.came);
        let made = self.common.prompt..self.tokens.len() - usize::from(by_token);
        let end = End {
            ids: self.tokens[made].to_vec(),
            prompt_seconds: begun.duration_since(self.common.came).as_secs_f64(),
            answer_seconds: begun.elapsed().as_secs_f64(),
            ..end
        };
        let choice = self.choice;
        self.send(Event::Ended { choice, end });
    }

    /// Ends the answer with an error.
    pub fn fail(&mut self, problem: String) {
        self.ended = true;
        self.send(Event::Failed { problem });
    }

    fn say(&mut self, piece: Piece) {
        if !piece.is_empty() {
            let choice = self.choice;
            self.send(Event::Piece { choice, piece });
        }
    }

    fn send(&mut self, event: Event) {
        // There is room, or nobody there.
        if self.common.events.try_send(event).is_err() {
            self.ended = true;
        }
    }

    /// The tokens and their sequence, to keep.
    pub fn into_kept(mut self) -> Option<(Vec<u32>, Sequence)> {
        let sequence = self.sequence.take()?;
        self.tokens.truncate(sequence.len());
        Some((self.tokens, sequence))
    }
}
