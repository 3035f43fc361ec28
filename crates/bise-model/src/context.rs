//! The easy entry: one text, and an engine of its own.

use crate::batch::{LogitRows, Part};
use crate::cache::{KvShape, REWIND};
use crate::engine::{Engine, EngineOptions};
use crate::error::{ForwardError, LoadError};
use crate::model::Model;
use crate::sequence::Sequence;
use crate::statistics::InputSums;
use bise_kernels::isa::Level;
use bise_kernels::ops::KvType;
use std::ops::ControlFlow;
use std::sync::Arc;

/// How to run a model over a text. None of it changes a bit of the logits, except [`kv`](Self::kv).
#[derive(Clone, Copy, Debug)]
pub struct ContextOptions {
    /// Tokens that fit, for a model without a sliding window; one with a window takes any number.
    pub max_tokens: usize,
    /// Tokens processed at a time.
    pub prefill_chunk: usize,
    /// Format of cached keys and values.
    pub kv: KvType,
    /// Instruction set.
    pub level: Level,
}

impl ContextOptions {
    /// Chunks of up to 512 tokens at this machine's best level, with keys and values in F16.
    pub fn new(max_tokens: usize) -> Self {
        Self {
            max_tokens,
            prefill_chunk: 512,
            kv: KvType::default(),
            level: Level::detect(),
        }
    }

    /// [`prefill_chunk`](Self::prefill_chunk), but at least a token, and no more than fit.
    pub(crate) fn chunk(&self) -> usize {
        self.prefill_chunk.clamp(1, self.max_tokens.max(1))
    }
}

/// Looks, at each layer of each chunk, at how far a call is: tokens processed, layers in
/// proportion, and tokens in all. What it breaks is given up, as [`ForwardError::Stopped`] says.
pub type Watch = Arc<dyn Fn(usize, usize) -> ControlFlow<()> + Send + Sync>;

/// One text: an [`Engine`] and a [`Sequence`] of it.
///
/// Work runs on the threads of the pool from which a method is called (see
/// [`bise_kernels::threads::Threads::run`]).
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
pub struct Context {
    engine: Engine,
    sequence: Sequence,
    options: ContextOptions,
    watch: Option<Watch>,
}

impl Context {
    /// Tokens at the end that can be taken back whatever the window.
    pub const REWIND: usize = REWIND;

    /// An empty context.
    ///
    /// # Errors
    /// When keys and values of so many tokens cannot be held.
    pub fn new(model: &Model, options: ContextOptions) -> Result<Self, LoadError> {
        let max_tokens = options.max_tokens;
        let options = ContextOptions {
            prefill_chunk: options.chunk(),
            ..options
        };
        let shape = KvShape::new(model.config(), options.kv);
        usize::try_from(shape.bytes(max_tokens, options.prefill_chunk))
            .ok()
            .and_then(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).ok())
            .ok_or(LoadError::Context { tokens: max_tokens })?;
        let engine_options = EngineOptions {
            rows: options.prefill_chunk,
            tokens: shape.visible_tokens(max_tokens),
            kv: options.kv,
            level: options.level,
            ..EngineOptions::default()
        };
        let engine = Engine::new(model, engine_options);
        Ok(Self {
            sequence: engine.sequence(max_tokens),
            engine,
            options,
            watch: None,
        })
    }

    /// The model that runs.
    pub fn model(&self) -> &Model {
        self.engine.model()
    }

    /// How it runs.
    pub fn options(&self) -> &ContextOptions {
        &self.options
    }

    /// The tokens processed so far.
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    pub(crate) fn sequence_mut(&mut self) -> &mut Sequence {
        &mut self.sequence
    }

    /// Tokens processed so far.
    pub fn len(&self) -> usize {
        self.sequence.len()
    }

    /// Whether no token has been processed.
    pub fn is_empty(&self) -> bool {
        self.sequence.is_empty()
    }

    /// Tokens that fit in all; `None` when a sliding window in each layer lets any number through.
    pub fn capacity(&self) -> Option<usize> {
        self.sequence.capacity()
    }

    /// Bytes that keys and values take now.
    pub fn kv_bytes(&self) -> usize {
        self.sequence.kv_bytes()
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.sequence.clear();
    }

    /// Forgets all tokens but the first `len`; see [`Sequence::truncate`].
    pub fn truncate(&mut self, len: usize) -> bool {
        self.sequence.truncate(len)
    }

    /// Lets `watch` look at the progress of each call from now on, and stop it.
    pub fn watch_progress(&mut self, watch: Option<Watch>) {
        self.watch = watch;
    }

    /// From now on adds up the squared inputs of all matrices; see
    /// [`Engine::collect_activation_statistics`].
    pub fn collect_activation_statistics(&mut self) {
        self.engine.collect_activation_statistics();
    }

    /// The sums so far, and no more of them; see [`Engine::take_activation_statistics`].
    pub fn take_activation_statistics(&mut self) -> Vec<InputSums> {
        self.engine.take_activation_statistics()
    }

    /// Processes `tokens`, and gives the logits of what follows the last one; empty for no tokens.
    ///
    /// # Errors
    /// When they do not fit or are not in the vocabulary; nothing is processed then. When what the
    /// model computes is no number, which says where that begins, and when the [`Watch`] stops it:
    /// then the chunks before have been processed.
    pub fn forward(&mut self, tokens: &[u32]) -> Result<&[f32], ForwardError> {
        self.check(tokens)?;
        let chunk = self.options.prefill_chunk;
        let last = tokens.len().saturating_sub(1) / chunk * chunk;
        for start in (0..last).step_by(chunk) {
            self.pass(
                &tokens[start..start + chunk],
                start,
                tokens.len(),
                LogitRows::None,
            )?;
        }
        self.pass(&tokens[last..], last, tokens.len(), LogitRows::Last)
    }

    /// Processes `tokens`, and hands `receive` the logits of what follows each one, in order.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_all(
        &mut self,
        tokens: &[u32],
        mut receive: impl FnMut(&[f32]) + Send,
    ) -> Result<(), ForwardError> {
        self.check(tokens)?;
        let chunk = self.options.prefill_chunk;
        for (i, some) in tokens.chunks(chunk).enumerate() {
            let part = Part::new(&mut self.sequence, some, LogitRows::All);
            let mut progress =
                progress(&self.watch, self.engine.model(), some, i * chunk, tokens.len());
            self.engine
                .forward_each(&mut [part], &mut progress, |_, row| receive(row))?;
        }
        Ok(())
    }

    fn check(&mut self, tokens: &[u32]) -> Result<(), ForwardError> {
        let vocabulary = self.engine.model().vocabulary_size();
        Part::new(&mut self.sequence, tokens, LogitRows::None).check(vocabulary)
    }

    /// Processes a chunk of a call of `all` tokens, of which `before` have been processed.
    fn pass(
        &mut self,
        tokens: &[u32],
        before: usize,
        all: usize,
        rows: LogitRows,
    ) -> Result<&[f32], ForwardError> {
        let part = Part::new(&mut self.sequence, tokens, rows);
        let mut progress = progress(&self.watch, self.engine.model(), tokens, before, all);
        let logits = self.engine.forward_with(&mut [part], &mut progress)?;
        Ok(logits.of(0))
    }
}

/// Tells `watch` of the layers of a chunk of a call of `all` tokens, of which `before` have been
/// processed.
fn progress(
    watch: &Option<Watch>,
    model: &Model,
    tokens: &[u32],
    before: usize,
    all: usize,
) -> impl FnMut(usize) -> ControlFlow<()> + Send + use<> {
    let (watch, layers, n) = (watch.clone(), model.config().layers.len(), tokens.len());
    move |layer| match &watch {
        Some(watch) => watch(before + n * layer / layers, all),
        None => ControlFlow::Continue(()),
    }
}
