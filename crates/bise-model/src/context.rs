//! One run of a model over a text.

use crate::block::{Block, normalize};
use crate::diagnosis::finite;
use crate::error::{ForwardError, LoadError};
use crate::feed_forward::Hidden;
use crate::inputs::{InputSums, Inputs, Place};
use crate::kv_cache::{KvCache, KvShape, REWIND};
use crate::model::Model;
use crate::moe::Routing;
use bise_tensor::isa::Level;
use bise_tensor::matmul::Activations;
use bise_tensor::ops::{KvType, RopeTable, partials_len};
use std::io::{self, Read};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// Rows of logits computed at a time.
pub(crate) const LOGIT_ROWS: usize = 32;

/// How to run a model. None of it changes a bit of the logits, except [`kv`](Self::kv).
#[derive(Clone, Copy, Debug)]
pub struct ContextOptions {
    /// Tokens that fit, for a model without a sliding window; one with a window takes any number.
    pub context: usize,
    /// Tokens processed at a time.
    pub batch: usize,
    /// Format of cached keys and values.
    pub kv: KvType,
    /// Instruction set.
    pub level: Level,
}

impl ContextOptions {
    /// Batches of up to 512 tokens at this machine's best level, with keys and values in f16.
    pub fn new(context: usize) -> Self {
        Self {
            context,
            batch: 512,
            kv: KvType::F16,
            level: Level::detect(),
        }
    }
}

/// Looks, at each layer of each batch, at how far a call is: tokens processed, layers in proportion, and tokens in all. What it
/// breaks is given up, as [`ForwardError::Stopped`] says.
pub type Watch = Arc<dyn Fn(usize, usize) -> ControlFlow<()> + Send + Sync>;

/// The tokens processed so far, as keys and values of each layer.
///
/// Work runs on the threads of the pool from which a method is called (see [`bise_tensor::threads::Threads::run`]).
///
/// ```
/// use bise_model::{Context, ContextOptions, Model};
///
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
/// let model = Model::open(path.as_ref())?;
/// let mut context = Context::new(&model, ContextOptions::new(64))?;
/// // What follows three tokens is the same, whether they are read at once or one by one.
/// let at_once = context.forward(&[1, 40, 41])?.to_vec();
/// assert!(context.truncate(1));
/// context.forward(&[40])?;
/// assert_eq!(context.forward(&[41])?, at_once);
/// assert_eq!((context.len(), at_once.len()), (3, model.vocabulary_size()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Context<'m> {
    model: &'m Model,
    options: ContextOptions,
    cache: KvCache,
    scratch: Scratch,
    len: usize,
    watch: Option<Watch>,
    /// Whether what was processed can be processed again; if not, nothing is given up that would take it along.
    pub(crate) repeatable: bool,
}

/// What the layers work in, for up to a batch of tokens; allocated once.
pub(crate) struct Scratch {
    pub level: Level,
    /// `[n, dim]`: the residual stream.
    pub x: Vec<f32>,
    /// `[n, dim]`: what a layer adds to `x`.
    pub delta: Vec<f32>,
    /// What a layer works on: `x`, normalised.
    pub input: Activations,
    pub rope: RopeTable,
    /// `[n, n_heads, head_dim]`
    pub q: Vec<f32>,
    /// `[n, n_kv_heads, head_dim]`
    pub k: Vec<f32>,
    /// `[n, n_kv_heads, head_dim]`
    pub v: Vec<f32>,
    /// `[n, n_heads, head_dim]`: what each head found.
    pub heads: Vec<f32>,
    /// What attention works in when one token's keys are shared out among threads.
    pub partials: Vec<f32>,
    /// `heads`, ready for the output projection.
    pub joined: Activations,
    pub hidden: Hidden,
    pub routing: Routing,
    /// Adds up what matrices are multiplied with, if somebody asked.
    pub inputs: Option<Box<Inputs>>,
    /// `[rows, vocabulary]`
    logits: Vec<f32>,
}

impl Scratch {
    fn new(model: &Model, level: Level, batch: usize, chunks: usize) -> Self {
        let c = model.config();
        let (q_width, kv_width) = (c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim);
        let floats = |width: usize| vec![0f32; batch * width];
        let (experts, routed) = c.experts.map_or((0, 0), |experts| (experts.count, batch));
        let routing = Routing {
            logits: floats(experts),
            weights: floats(experts),
            tokens: Vec::with_capacity(routed),
            inputs: Activations::with_capacity(level, routed, c.dim),
            outputs: vec![0.0; routed * c.dim],
        };
        Self {
            level,
            x: Vec::with_capacity(batch * c.dim),
            delta: floats(c.dim),
            input: Activations::with_capacity(level, batch, c.dim),
            rope: RopeTable::new(c.rope_dims, c.rope_theta, batch),
            q: floats(q_width),
            k: floats(kv_width),
            v: floats(kv_width),
            heads: floats(q_width),
            partials: vec![0.0; partials_len(c.n_heads, c.head_dim, chunks)],
            joined: Activations::with_capacity(level, batch, q_width),
            hidden: Hidden {
                gate: floats(c.hidden_dim),
                up: floats(c.hidden_dim),
                activations: Activations::with_capacity(level, batch, c.hidden_dim),
            },
            routing,
            inputs: None,
            logits: vec![0.0; batch.min(LOGIT_ROWS) * model.vocabulary_size()],
        }
    }
}

impl<'m> Context<'m> {
    /// Tokens at the end that can be taken back whatever the window.
    pub const REWIND: usize = REWIND;

    /// An empty context.
    ///
    /// # Errors
    /// When keys and values of so many tokens cannot be held.
    pub fn new(model: &'m Model, options: ContextOptions) -> Result<Self, LoadError> {
        let config = model.config();
        let options = ContextOptions {
            batch: options.batch.clamp(1, options.context.max(1)),
            ..options
        };
        let cache =
            KvCache::new(KvShape::new(config, options.context), options.kv).ok_or(LoadError::Context {
                tokens: options.context,
            })?;
        let scratch = Scratch::new(model, options.level, options.batch, cache.chunks());
        Ok(Self {
            model,
            options,
            cache,
            scratch,
            len: 0,
            watch: None,
            repeatable: true,
        })
    }

    /// The model that runs.
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// How it runs.
    pub fn options(&self) -> &ContextOptions {
        &self.options
    }

    /// Tokens processed so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token has been processed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tokens that fit in all; `None` when a sliding window lets any number through.
    pub fn capacity(&self) -> Option<usize> {
        self.model
            .config()
            .sliding_window
            .is_none()
            .then_some(self.options.context)
    }

    /// Bytes that keys and values take.
    pub fn kv_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.len = 0;
        self.cache.clear();
    }

    /// Forgets all tokens but the first `len`. Returns false, and forgets nothing, when a sliding window has
    /// overwritten what the next token would see: never for the last [`Context::REWIND`] tokens.
    pub fn truncate(&mut self, len: usize) -> bool {
        let possible = len >= self.len || self.cache.holds(len);
        if possible {
            self.len = self.len.min(len);
        }
        possible
    }

    /// Lets `watch` look at the progress of each call from now on, and stop it.
    pub fn watch_progress(&mut self, watch: Option<Watch>) {
        self.watch = watch;
    }

    /// From now on adds up the squared inputs of all matrices; see [`take_inputs`](Self::take_inputs).
    pub fn watch_inputs(&mut self) {
        self.scratch.inputs = Some(Box::new(Inputs::new(self.model.config())));
    }

    /// The sums since [`watch_inputs`](Self::watch_inputs), and no more of them; none when it was not called.
    ///
    /// They are the same bits for any number of threads, batch size and instruction set. The output matrix has
    /// the inputs of those tokens whose logits were asked for.
    pub fn take_inputs(&mut self) -> Vec<InputSums> {
        let inputs = self.scratch.inputs.take();
        inputs.map_or_else(Vec::new, |inputs| inputs.sums())
    }

    /// Processes `tokens`, and gives the logits of what follows the last one; empty for no tokens.
    ///
    /// # Errors
    /// When they do not fit or are not in the vocabulary; nothing is processed then. When what the model computes is no number,
    /// which says where that begins; then the batch in which it does is taken back, or where a sliding window makes that
    /// impossible, everything. [`ForwardError::Stopped`] when the [`Watch`] says so.
    pub fn forward(&mut self, tokens: &[u32]) -> Result<&[f32], ForwardError> {
        self.check(tokens)?;
        let mut last = tokens;
        for (i, batch) in tokens.chunks(self.batch()).enumerate() {
            self.blocks(batch, i * self.batch(), tokens.len())?;
            last = batch;
        }
        let rows = usize::from(!tokens.is_empty());
        let n = self.scratch.x.len() / self.model.config().dim;
        self.finite_logits(last, n - rows, rows)
    }

    /// Processes `tokens`, and hands `sink` the logits of what follows each one, in order.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_all(&mut self, tokens: &[u32], mut sink: impl FnMut(&[f32])) -> Result<(), ForwardError> {
        self.check(tokens)?;
        let vocabulary = self.model.vocabulary_size();
        for (i, batch) in tokens.chunks(self.batch()).enumerate() {
            self.blocks(batch, i * self.batch(), tokens.len())?;
            for first in (0..batch.len()).step_by(LOGIT_ROWS) {
                let rows = LOGIT_ROWS.min(batch.len() - first);
                self.finite_logits(batch, first, rows)?
                    .chunks_exact(vocabulary)
                    .for_each(&mut sink);
            }
        }
        Ok(())
    }

    pub(crate) fn cache(&self) -> &KvCache {
        &self.cache
    }

    /// Reads the keys and values of `len` tokens, of which `chunks` are there: as many as the cache holds at most.
    pub(crate) fn restore(
        &mut self,
        chunks: Range<usize>,
        len: usize,
        input: &mut impl Read,
    ) -> io::Result<()> {
        self.len = 0;
        self.cache.read(chunks, input)?;
        self.len = len;
        Ok(())
    }

    fn check(&self, tokens: &[u32]) -> Result<(), ForwardError> {
        let vocabulary = self.model.vocabulary_size();
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return Err(ForwardError::Token { token, vocabulary });
        }
        match self.capacity() {
            Some(capacity) if tokens.len() > capacity - self.len => Err(ForwardError::ContextFull {
                capacity,
                used: self.len,
                more: tokens.len(),
            }),
            _ => Ok(()),
        }
    }

    /// Tokens processed at a time.
    fn batch(&self) -> usize {
        match self.repeatable || self.watch.is_none() {
            true => self.options.batch,
            false => self.options.batch.min(REWIND),
        }
    }

    /// Embeds up to a batch of tokens and runs them through all blocks; `scratch.x` holds what comes out. They are tokens
    /// of a call of `all`, of which `before` have been processed.
    fn blocks(&mut self, tokens: &[u32], before: usize, all: usize) -> Result<(), ForwardError> {
        self.begin(tokens);
        let (config, s) = (self.model.config(), &mut self.scratch);
        for (layer, block) in self.model.weights.blocks.iter().enumerate() {
            let done = before + tokens.len() * layer / config.n_layers;
            if let Some(watch) = &self.watch
                && watch(done, all).is_break()
            {
                if !self.cache.holds(self.len) {
                    self.clear();
                }
                return Err(ForwardError::Stopped);
            }
            if let Some(inputs) = &mut s.inputs {
                inputs.layer = layer;
            }
            block.forward(config, &mut self.cache, layer, self.len, s);
        }
        self.len += tokens.len();
        if finite(&self.scratch.x) {
            return Ok(());
        }
        Err(self.diagnose(tokens, self.len - tokens.len()).into())
    }

    /// As [`logits`](Self::logits) after the batch `tokens`.
    fn finite_logits(&mut self, tokens: &[u32], first: usize, rows: usize) -> Result<&[f32], ForwardError> {
        if !finite(self.logits(first, rows)) {
            return Err(self.diagnose(tokens, self.len - tokens.len()).into());
        }
        Ok(&self.scratch.logits[..rows * self.model.vocabulary_size()])
    }

    /// Embeds up to a batch of tokens.
    pub(crate) fn begin(&mut self, tokens: &[u32]) {
        let (config, weights, s) = (self.model.config(), &self.model.weights, &mut self.scratch);
        let embeddings = weights.tok_embeddings.matrix();
        s.x.resize(tokens.len() * config.dim, 0.0);
        for (x, &token) in s.x.chunks_exact_mut(config.dim).zip(tokens) {
            embeddings.dequantize_row(token as usize, x);
        }
        s.rope.set(self.len, tokens.len());
    }

    /// Begins a batch, as long as a batch may be, that is led through the blocks layer by layer.
    pub(crate) fn embed(&mut self, tokens: &[u32]) -> Result<(), ForwardError> {
        self.check(tokens)?;
        self.begin(tokens);
        Ok(())
    }

    /// Runs the batch through the attention of one block.
    pub(crate) fn attend(&mut self, block: &Block, layer: usize) {
        let (config, s) = (self.model.config(), &mut self.scratch);
        block.attend(config, &mut self.cache, layer, self.len, s);
    }

    /// The cache, and what the layers work in.
    pub(crate) fn parts(&mut self) -> (&mut KvCache, &mut Scratch) {
        (&mut self.cache, &mut self.scratch)
    }

    /// What the layers work in.
    pub(crate) fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }

    /// The logits after the batch's last token.
    pub(crate) fn last_logits(&mut self) -> &[f32] {
        let n = self.scratch.x.len() / self.model.config().dim;
        self.logits(n - 1, 1)
    }

    /// The logits of `rows` rows of `scratch.x` from `first` on.
    fn logits(&mut self, first: usize, rows: usize) -> &[f32] {
        let (config, s) = (self.model.config(), &mut self.scratch);
        normalize(s, first..first + rows, &self.model.weights.norm, config.norm_eps);
        if let Some(inputs) = &mut s.inputs {
            inputs.add(Place::Output, s.input.values());
        }
        let logits = &mut s.logits[..rows * self.model.vocabulary_size()];
        self.model.weights.output.forward(&mut s.input, logits);
        logits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The random model `name` of the fixtures, as F32.
    fn random_model(name: &str) -> Model {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../fixtures/random")
            .join(name);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.gguf");
        let options = bise_quantize::Options::new(bise_quantize::Target::from_name("F32").unwrap());
        bise_quantize::quantize(&source, &file, &options, &bise_quantize::Silent).unwrap();
        Model::open(&file).unwrap()
    }

    /// What is cut off leaves no trace, and a cut that a window has made impossible is refused.
    #[test]
    fn truncation_forgets() {
        let model = random_model("mistral-window-16");
        let tokens: Vec<u32> = (0..300).map(|i| i * i % 61 + 1).collect();
        let mut fresh = Context::new(&model, ContextOptions::new(300)).unwrap();
        let mut cut = Context::new(&model, ContextOptions::new(300)).unwrap();
        let mut refused = 0;
        for len in 0..280 {
            cut.clear();
            cut.forward(&tokens[..280]).unwrap();
            if cut.truncate(len) {
                fresh.clear();
                fresh.forward(&tokens[..len]).unwrap();
                assert_eq!(
                    cut.forward(&tokens[100..110]).unwrap(),
                    fresh.forward(&tokens[100..110]).unwrap(),
                    "{len}"
                );
            } else {
                assert_eq!(cut.len(), 280);
                refused += 1;
            }
        }
        // Of the chunks of 64, the window of 16 keeps the last three, 128 to 280; position 143 sees 128 first.
        assert_eq!(refused, 143);
        assert!(cut.truncate(1000));
    }

    /// A ring that wraps gives the bits of a cache in which every position has a place of its own.
    #[test]
    fn the_ring_changes_nothing() {
        let names = ["mistral-window-1", "mistral-window-7", "mistral-window-16"];
        let kinds = [KvType::F16, KvType::F32, KvType::Q8_0];
        for (name, kv) in names.into_iter().zip(kinds) {
            let model = random_model(name);
            let tokens: Vec<u32> = (0..300).map(|i| i * i % 61 + 1).collect();
            let run = |whole: bool, batch: usize| {
                let options = ContextOptions {
                    batch,
                    kv,
                    ..ContextOptions::new(tokens.len())
                };
                let mut context = Context::new(&model, options).unwrap();
                if whole {
                    let shape = KvShape::new(model.config(), tokens.len());
                    context.cache = KvCache::with_chunks(shape, options.kv, 5).unwrap();
                }
                let mut bits = Vec::new();
                context
                    .forward_all(&tokens, |row| bits.extend(row.iter().map(|l| l.to_bits())))
                    .unwrap();
                (bits, context.kv_bytes())
            };
            let (expected, whole_bytes) = run(true, 300);
            for batch in [1, 3, 64, 300] {
                let (bits, bytes) = run(false, batch);
                assert!(bits == expected, "{name}, batches of {batch}");
                assert!(bytes < whole_bytes);
            }
        }
    }
}
