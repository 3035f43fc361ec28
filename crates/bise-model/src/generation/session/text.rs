//! The text itself: its tokens, what has read them, and what was read ahead.

use super::limits::{Limits, Stop};
use crate::context::{Context, Watch};
use crate::error::{ForwardError, GenerateError};
use crate::generation::speculation::{Counts, Speculation, Text};
use crate::generation::token_sampler::TokenSampler;
use std::ops::ControlFlow;
use std::time::Instant;

/// With a sliding window a text may be of any length. Then only its end is kept, and looked back on
/// by samplers and drafts: at least so many tokens, and less than twice as many.
pub const MEMORY: usize = 1 << 16;

/// A text that a model reads and writes: its tokens, and a [`Context`] that has read them.
///
/// The context follows by itself: tokens that are appended wait until the next one is chosen, and
/// with [`speculate`](Self::speculate) it reads ahead. Neither shows: between calls, text and
/// sampler are as if each token had been read and chosen alone.
///
/// ```
/// use bise_model::sampler::{Sampler, SamplerOptions};
/// use bise_model::{Context, ContextOptions, Model, Session};
///
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
/// let model = Model::open(path.as_ref())?;
/// let mut session = Session::new(Context::new(&model, ContextOptions::new(64))?);
/// let mut sampler = Sampler::new(SamplerOptions::greedy())?;
/// session.append(&[1, 40, 41]);
/// let next = session.decode(&mut sampler)?;
/// assert_eq!(session.tokens(), [1, 40, 41, next]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session {
    pub(crate) context: Context,
    /// The text without its first `dropped` tokens.
    pub(crate) tokens: Vec<u32>,
    /// 0 unless there is a sliding window.
    pub(crate) dropped: usize,
    /// Tokens of the text that the context has read; it may have read drafts too.
    pub(crate) read: usize,
    ahead: Ahead,
    /// What is processed at a time when drafts follow the text.
    batch: Vec<u32>,
    speculation: Option<Speculation>,
    counts: Counts,
}

/// What was read of the future.
#[derive(Default)]
struct Ahead {
    /// `[1 + drafts, vocabulary]`: logits of what follows the text, and of what follows each draft.
    /// Empty when unknown.
    logits: Vec<f32>,
    drafts: Vec<u32>,
    /// Drafts that the text went on with.
    confirmed: usize,
}

impl Session {
    /// An empty text, read by `context`, which forgets what it has read.
    pub fn new(mut context: Context) -> Self {
        context.clear();
        Self {
            context,
            tokens: Vec::new(),
            dropped: 0,
            read: 0,
            ahead: Ahead::default(),
            batch: Vec::new(),
            speculation: None,
            counts: Counts::default(),
        }
    }

    /// Drafts tokens from now on, or stops it. The text stays the same.
    pub fn speculate(&mut self, speculation: Option<Speculation>) {
        self.speculation = speculation;
    }

    /// How drafting went.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Tokens of the text.
    pub fn len(&self) -> usize {
        self.dropped + self.tokens.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tokens of the text; with a sliding window, of a long one its end ([`MEMORY`]).
    pub fn tokens(&self) -> &[u32] {
        &self.tokens[self.forgotten(self.len()) - self.dropped..]
    }

    /// Tokens of the text that have been read; what follows them waits until the next token is
    /// chosen.
    pub fn known(&self) -> usize {
        self.read
    }

    /// Where the text is read.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Lets `watch` look at how far reading is, and stop it. What was read before stays read.
    pub fn watch_progress(&mut self, watch: Option<Watch>) {
        self.context.watch_progress(watch);
    }

    /// Tokens that still fit; `None` when a sliding window lets any number through.
    pub fn room(&self) -> Option<usize> {
        self.context
            .capacity()
            .map(|capacity| capacity.saturating_sub(self.len()))
    }

    /// Adds tokens to the text.
    pub fn append(&mut self, tokens: &[u32]) {
        self.stop_ahead();
        self.tokens.extend_from_slice(tokens);
        self.drop_oldest();
    }

    /// The next token: chosen by `sampler`, and added to the text.
    ///
    /// # Errors
    /// When the text does not fit the context, or no token can be chosen. The text is as before.
    pub fn decode(&mut self, sampler: &mut impl TokenSampler) -> Result<u32, GenerateError> {
        self.decode_one_of(usize::MAX, sampler)
    }

    /// The next token, after which at most `most - 1` are wanted.
    fn decode_one_of(
        &mut self,
        most: usize,
        sampler: &mut impl TokenSampler,
    ) -> Result<u32, GenerateError> {
        if self.ahead.logits.is_empty() {
            if self.is_empty() {
                return Err(GenerateError::Empty);
            }
            if self.len() - self.read == 1 {
                self.draft(most.saturating_sub(1), sampler);
            }
            self.process()?;
        }
        let vocabulary = self.context.model().vocabulary_size();
        let logits = &self.ahead.logits[self.ahead.confirmed * vocabulary..][..vocabulary];
        let token = sampler.sample(logits, self.tokens())?;
        self.tokens.push(token);
        self.drop_oldest();
        if let Some(speculation) = &mut self.speculation {
            speculation.observe(token);
        }
        if self.ahead.drafts.get(self.ahead.confirmed) == Some(&token) {
            self.ahead.confirmed += 1;
            self.counts.accepted += 1;
            self.read += 1;
        } else {
            self.stop_ahead();
        }
        Ok(token)
    }

    /// Adds `prompt` to the text, then chooses tokens and hands each to `receive`, until a limit or
    /// `receive` stops it.
    ///
    /// A token of `limits.end` is added to the text, but not handed out. A text that ends with one,
    /// when there is no `prompt`, has ended already.
    ///
    /// # Errors
    /// When the text does not fit the context, or no token can be chosen. What was handed out
    /// before stands, and after [`make_room`](Self::make_room) it can go on.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        limits: Limits<'_>,
        sampler: &mut impl TokenSampler,
        mut receive: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Stop, GenerateError> {
        if prompt.is_empty() && self.tokens.last().is_some_and(|last| limits.end.contains(last)) {
            return Ok(Stop::EndOfText);
        }
        self.append(prompt);
        if limits.max_tokens == 0 {
            self.prefill()?;
        }
        for done in 0..limits.max_tokens {
            let token = match self.decode_one_of(limits.max_tokens - done, sampler) {
                Err(GenerateError::Forward(ForwardError::Stopped)) => return Ok(Stop::Asked),
                other => other?,
            };
            if limits.end.contains(&token) {
                return Ok(Stop::EndOfText);
            }
            if receive(token).is_break() {
                return Ok(Stop::Asked);
            }
        }
        Ok(Stop::Length)
    }

    /// Leaves of the text what it and `tokens` begin with and what has been processed; gives how
    /// much.
    pub fn keep_common(&mut self, tokens: &[u32]) -> usize {
        let pairs = self.tokens.iter().zip(tokens);
        let common = pairs.take_while(|(a, b)| a == b).count().min(self.read);
        if self.dropped > 0 || !self.truncate(common) {
            self.clear();
            return 0;
        }
        common
    }

    /// Takes back all tokens but the first `len`. With a sliding window the context may have to
    /// read the text anew, and when its beginning is no longer known, this returns false and
    /// changes nothing.
    pub fn truncate(&mut self, len: usize) -> bool {
        if len >= self.len() {
            return true;
        }
        self.stop_ahead();
        if self.forgotten(len) < self.dropped || !self.read_again_from(len) {
            return false;
        }
        self.tokens.truncate(len - self.dropped);
        true
    }

    /// Forgets the text.
    pub fn clear(&mut self) {
        self.stop_ahead();
        self.context.clear();
        self.tokens.clear();
        (self.dropped, self.read) = (0, 0);
        if let Some(speculation) = &mut self.speculation {
            speculation.truncate(0);
        }
    }

    /// When the text and `more` tokens do not fit the context together, takes the oldest tokens
    /// after the first `keep` out of the text: half of them, or as many as it takes. What follows
    /// is read anew, so that all is as if the text had always been so. Returns the tokens taken
    /// out, and `None` when even all would be too few.
    pub fn make_room(&mut self, keep: usize, more: usize) -> Option<usize> {
        let capacity = self.context.capacity().unwrap_or(usize::MAX);
        let missing = self.len().saturating_add(more).saturating_sub(capacity);
        if missing == 0 {
            return Some(0);
        }
        let old = self.tokens.len().saturating_sub(keep);
        let out = missing.max(old / 2);
        if out > old {
            return None;
        }
        self.stop_ahead();
        self.read_again_from(keep);
        self.tokens.drain(keep..keep + out);
        Some(out)
    }

    /// Processes what was appended, which [`decode`](Self::decode) would do otherwise.
    ///
    /// # Errors
    /// When the text does not fit the context, or the watch stops it.
    pub fn prefill(&mut self) -> Result<(), GenerateError> {
        if self.is_empty() {
            return Err(GenerateError::Empty);
        }
        if self.ahead.logits.is_empty() {
            self.process()?;
        }
        Ok(())
    }

    /// Processes what the context has not processed yet, and the drafts behind it.
    fn process(&mut self) -> Result<(), GenerateError> {
        let len = self.len();
        if self.read == len {
            self.read_again_from(len - 1);
        }
        let unread = &self.tokens[self.read - self.dropped..];
        let (start, drafts) = (Instant::now(), self.ahead.drafts.len());
        let logits = &mut self.ahead.logits;
        let done = if drafts == 0 {
            self.context
                .forward(unread)
                .map(|row| logits.extend_from_slice(row))
        } else {
            self.batch.clear();
            self.batch.extend_from_slice(unread);
            self.batch.extend_from_slice(&self.ahead.drafts);
            self.context
                .forward_all(&self.batch, |row| logits.extend_from_slice(row))
        };
        if let (Some(speculation), 1) = (&mut self.speculation, unread.len()) {
            speculation.ran(1 + drafts, start.elapsed().as_secs_f64());
        }
        if let Err(error) = done {
            // All but the chunk that was stopped, or whose results are no numbers.
            self.read = self.context.len().min(len);
            self.stop_ahead();
            return Err(error.into());
        }
        self.counts.drafted += drafts;
        self.read = len;
        Ok(())
    }

    /// Drafts what follows the text: at most `most` tokens, as many as fit.
    fn draft(&mut self, most: usize, sampler: &mut impl TokenSampler) {
        let history = self.forgotten(self.len()) - self.dropped;
        let room = self
            .context
            .capacity()
            .map_or(most, |capacity| capacity.saturating_sub(self.len()));
        if let Some(speculation) = &mut self.speculation {
            let text = Text {
                dropped: self.dropped,
                history,
                tokens: &self.tokens,
            };
            speculation.draft(&text, most.min(room), sampler, &mut self.ahead.drafts);
        }
    }

    /// Makes the context forget what is not in the text.
    pub(crate) fn stop_ahead(&mut self) {
        let Ahead {
            logits,
            drafts,
            confirmed,
        } = &mut self.ahead;
        logits.clear();
        drafts.clear();
        *confirmed = 0;
        let rewound = self.context.truncate(self.read);
        debug_assert!(rewound, "no more is drafted than can be taken back");
    }

    /// Makes the context read anew what follows the first `len` tokens, or all. Returns false, and
    /// changes nothing, when neither can be.
    fn read_again_from(&mut self, len: usize) -> bool {
        if !self.context.truncate(len) {
            if self.dropped > 0 {
                return false;
            }
            self.context.clear();
        }
        self.read = self.read.min(self.context.len());
        if let Some(speculation) = &mut self.speculation {
            speculation.truncate(len);
        }
        true
    }

    /// Tokens at the beginning of a text of `len` that are no longer looked back on. It depends on
    /// nothing else.
    fn forgotten(&self, len: usize) -> usize {
        match self.context.capacity() {
            Some(_) => 0,
            None => (len / MEMORY).saturating_sub(1) * MEMORY,
        }
    }

    /// Drops forgotten tokens that have been read.
    fn drop_oldest(&mut self) {
        let forgotten = self.forgotten(self.len()).min(self.read);
        if forgotten > self.dropped {
            self.tokens.drain(..forgotten - self.dropped);
            self.dropped = forgotten;
        }
    }
}
