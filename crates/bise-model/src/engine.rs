//! One forward pass over the next tokens of many sequences.

use crate::batch::{Logits, Part};
use crate::cache::{BatchKv, KvShape, PagePool};
use crate::decoder::{LinearWorkspace, Rows, Step, Workspace, finite};
use crate::diagnosis::Finder;
use crate::error::{ForwardError, NotANumber, SharedLoadError};
use crate::model::Model;
use crate::rope::Rope;
use crate::sequence::Sequence;
use crate::statistics::{InputSums, Statistics};
use bise_kernels::isa::Level;
use bise_kernels::matmul::Activations;
use bise_kernels::ops::{KvType, RopeTable};
use bise_kernels::threads::Threads;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// Rows of logits that are handed out at a time, by [`Engine::forward_each`].
pub(crate) const LOGIT_ROWS: usize = 32;

/// How an engine runs. None of it changes a bit of the logits, except [`kv`](Self::kv).
#[derive(Clone)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Rows of a batch that memory is taken for at the start; a larger batch takes more.
    pub rows: usize,
    /// Tokens of a sequence that memory is taken for at the start, to decode it.
    pub tokens: usize,
    /// Format of cached keys and values.
    pub kv: KvType,
    /// Bytes that the keys and values of all sequences may take.
    pub kv_memory: u64,
    /// Instruction set.
    pub level: Level,
    /// Threads that passes run on; those of the pool from which they are called when `None`.
    pub threads: Option<Arc<Threads>>,
}

impl Default for EngineOptions {
    /// Batches of up to 512 rows at this machine's best level, with keys and values in F16 and as
    /// much memory as there is.
    fn default() -> Self {
        Self {
            rows: 512,
            tokens: 0,
            kv: KvType::default(),
            kv_memory: u64::MAX,
            level: Level::detect(),
            threads: None,
        }
    }
}

/// Looks at the layers of a pass as they are done, from 0 on, and stops it.
pub type Progress<'a> = &'a mut (dyn FnMut(usize) -> ControlFlow<()> + Send);

/// Runs batches of sequences through a model.
///
/// A sequence's logits are the same bits whatever else is in the batch, however its tokens are cut
/// into batches, and on any number of threads. Engines of one [`Model`] share its weights; a
/// [`Sequence`] belongs to the engine that made it.
///
/// ```
/// use bise_model::{Engine, EngineOptions, LogitRows, Model, Part};
///
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
/// let model = Model::open(path.as_ref())?;
/// let mut engine = Engine::new(&model, EngineOptions::default());
/// let mut alone = engine.sequence(64);
/// let mut batch = [Part::new(&mut alone, &[1, 40, 41], LogitRows::Last)];
/// let expected = engine.forward(&mut batch)?.of(0).to_vec();
///
/// // In company it is the same.
/// let (mut one, mut other) = (engine.sequence(64), engine.sequence(64));
/// let mut batch = [
///     Part::new(&mut other, &[7, 8, 9, 10], LogitRows::All),
///     Part::new(&mut one, &[1, 40, 41], LogitRows::Last),
/// ];
/// assert_eq!(engine.forward(&mut batch)?.of(1), expected);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Engine {
    model: Model,
    options: EngineOptions,
    pool: Arc<PagePool>,
    work: Work,
    statistics: Option<Box<Statistics>>,
}

/// What a pass works in.
struct Work {
    /// The tokens of the rows.
    tokens: Vec<u32>,
    /// `[n, dim]`: the residual stream.
    x: Vec<f32>,
    /// The rotations of the rows' positions, for each rope that layers have.
    ropes: Vec<(Rope, RopeTable)>,
    /// Of each layer: its rope.
    rope_of: Vec<usize>,
    kv: BatchKv,
    block: Workspace,
    /// `[rows, dim]`: the input of the output matrix.
    output: Activations,
    /// For what adapters add outside of blocks.
    updates: LinearWorkspace,
    /// The rows whose logits are wanted.
    wanted: Vec<usize>,
    /// Where the logits of each part begin, and the last end.
    starts: Vec<usize>,
    /// `[rows, vocabulary]`
    logits: Vec<f32>,
}

impl Work {
    fn new(model: &Model, options: &EngineOptions) -> Self {
        let (config, level) = (model.config(), options.level);
        let (rows, rank) = (options.rows.max(1), model.weights().rank);
        let widest = model.vocabulary_size().max(config.dim);
        let mut ropes: Vec<(Rope, RopeTable)> = Vec::new();
        let rope_of = |rope: &Rope| {
            ropes
                .iter()
                .position(|known| known.0 == *rope)
                .unwrap_or_else(|| {
                    ropes.push((rope.clone(), rope.table(rows)));
                    ropes.len() - 1
                })
        };
        let rope_of = config
            .layers
            .iter()
            .map(|layer| &layer.rope)
            .map(rope_of)
            .collect();
        Self {
            x: Vec::with_capacity(rows * config.dim),
            tokens: Vec::with_capacity(rows),
            ropes,
            rope_of,
            kv: BatchKv::new(options.kv, rows),
            block: Workspace::new(level, config, rows, options.tokens, rank),
            updates: LinearWorkspace::new(level, rows, widest, rank),
            output: Activations::with_capacity(level, rows.min(LOGIT_ROWS), config.dim),
            wanted: Vec::with_capacity(rows),
            starts: Vec::new(),
            logits: Vec::with_capacity(model.vocabulary_size()),
        }
    }
}

impl Engine {
    /// Runs `model`, whose weights it shares.
    pub fn new(model: &Model, options: EngineOptions) -> Self {
        let shape = KvShape::new(model.config(), options.kv);
        Self {
            pool: Arc::new(PagePool::new(shape, options.kv_memory)),
            work: Work::new(model, &options),
            model: model.clone(),
            options,
            statistics: None,
        }
    }

    /// The model that runs.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How it runs.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// An empty sequence of at most `max_tokens` tokens; of any number when the model has a sliding
    /// window in each layer.
    pub fn sequence(&self, max_tokens: usize) -> Sequence {
        Sequence::new(self.pool.clone(), max_tokens)
    }

    /// Bytes of keys and values that sequences of this engine have, each page counted once.
    pub fn kv_bytes(&self) -> u64 {
        self.pool.taken() * self.pool.shape.page_bytes() as u64
    }

    /// From now on adds up the squared inputs of all matrices; see
    /// [`take_activation_statistics`](Self::take_activation_statistics).
    pub fn collect_activation_statistics(&mut self) {
        self.statistics = Some(Box::new(Statistics::new(self.model.config())));
    }

    /// The sums since [`collect_activation_statistics`](Self::collect_activation_statistics), and
    /// no more of them; none when it was not called.
    ///
    /// They are the same bits for any number of threads, batch size and instruction set. The output
    /// matrix has the inputs of those tokens whose logits were asked for.
    pub fn take_activation_statistics(&mut self) -> Vec<InputSums> {
        let statistics = self.statistics.take();
        statistics.map_or_else(Vec::new, |statistics| statistics.sums())
    }

    /// Processes a batch, and gives the logits that its parts ask for.
    ///
    /// # Errors
    /// When tokens do not fit their sequence or the memory for keys and values, or are not in the
    /// vocabulary; when what the model computes is no number, which says where that begins; when
    /// weights are brought a layer at a time and cannot be. All sequences are as before then.
    pub fn forward(&mut self, batch: &mut [Part<'_>]) -> Result<Logits<'_>, ForwardError> {
        self.forward_with(batch, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`forward`](Self::forward), while `progress` looks on.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and [`ForwardError::Stopped`] when `progress` says so.
    pub fn forward_with(
        &mut self,
        batch: &mut [Part<'_>],
        progress: Progress<'_>,
    ) -> Result<Logits<'_>, ForwardError> {
        self.run(batch, progress, |engine| {
            engine.logits(0..engine.work.wanted.len()).map(|_| ())
        })?;
        Ok(Logits {
            values: &self.work.logits,
            starts: &self.work.starts,
        })
    }

    /// As [`forward_with`](Self::forward_with), but hands `receive` the logits row by row, in
    /// order, each with the number of its part: however many are wanted, few are in memory at a
    /// time.
    ///
    /// # Errors
    /// As [`forward_with`](Self::forward_with); rows before may have been handed out.
    pub fn forward_each(
        &mut self,
        batch: &mut [Part<'_>],
        progress: Progress<'_>,
        mut receive: impl FnMut(usize, &[f32]) + Send,
    ) -> Result<(), ForwardError> {
        let width = self.model.vocabulary_size();
        self.run(batch, progress, |engine| {
            engine.each(width, Self::logits, |work| &work.logits, &mut receive)
        })
    }

    /// As [`forward_each`](Self::forward_each), but hands out hidden states, `[dim]` each: what the
    /// last norm gives, which the output matrix would make logits of.
    ///
    /// # Errors
    /// As [`forward_each`](Self::forward_each).
    pub fn hidden_states(
        &mut self,
        batch: &mut [Part<'_>],
        progress: Progress<'_>,
        mut receive: impl FnMut(usize, &[f32]) + Send,
    ) -> Result<(), ForwardError> {
        let width = self.model.config().dim;
        self.run(batch, progress, |engine| {
            engine.each(width, Self::hidden, |work| work.output.values(), &mut receive)
        })
    }

    /// Bytes of keys and values that can still be taken.
    pub fn kv_available(&self) -> u64 {
        self.pool
            .available()
            .saturating_mul(self.pool.shape.page_bytes() as u64)
    }

    /// Bytes of keys and values of a sequence of `tokens` tokens, of which `rows` are processed at
    /// a time.
    pub fn kv_bytes_of(&self, tokens: usize, rows: usize) -> u64 {
        self.pool.shape.bytes(tokens, rows)
    }

    /// Runs a batch through the blocks, and then `finish`, on the engine's threads.
    fn run(
        &mut self,
        batch: &mut [Part<'_>],
        progress: Progress<'_>,
        finish: impl FnOnce(&mut Self) -> Result<(), ForwardError> + Send,
    ) -> Result<(), ForwardError> {
        self.begin(batch)?;
        let threads = self.options.threads.clone();
        let work = || self.blocks(progress).and_then(|()| finish(self));
        let done = match threads {
            Some(threads) => threads.run(work),
            None => work(),
        };
        let more = |part: &Part<'_>| if done.is_ok() { part.tokens.len() } else { 0 };
        for (part, kv) in batch.iter_mut().zip(self.work.kv.take()) {
            part.sequence.put_back(kv, more(part));
        }
        done
    }

    /// Checks a batch, and takes the pages that it needs.
    fn begin(&mut self, batch: &mut [Part<'_>]) -> Result<(), ForwardError> {
        let vocabulary = self.model.vocabulary_size();
        for part in batch.iter() {
            part.check(vocabulary)?;
            if !Arc::ptr_eq(part.sequence.kv.pool(), &self.pool) {
                return Err(ForwardError::ForeignSequence);
            }
        }
        self.reserve(batch)?;
        let work = &mut self.work;
        work.tokens.clear();
        work.wanted.clear();
        work.starts.clear();
        work.starts.push(0);
        for part in batch {
            let n = part.tokens.len();
            work.kv.push(part.sequence.lend(), part.sequence.len(), n);
            work.tokens.extend_from_slice(part.tokens);
            let end = work.tokens.len();
            work.wanted.extend(end - part.logits.of(n)..end);
            work.starts.push(work.wanted.len() * vocabulary);
        }
        for (_, rope) in &mut work.ropes {
            rope.set(work.kv.positions());
        }
        Ok(())
    }

    /// Takes the pages that a batch needs, or none.
    fn reserve(&self, batch: &mut [Part<'_>]) -> Result<(), ForwardError> {
        for i in 0..batch.len() {
            let part = &mut batch[i];
            let first = part.sequence.len();
            if part.sequence.kv.reserve(first, part.tokens.len()).is_err() {
                for part in &mut batch[..=i] {
                    part.sequence.kv.truncate(part.sequence.len());
                }
                let pages = batch.iter().map(|part| {
                    let (first, n) = (part.sequence.len(), part.tokens.len());
                    part.sequence.kv.pages_needed(first, n)
                });
                let page = self.pool.shape.page_bytes() as u64;
                return Err(ForwardError::KvMemory {
                    needed: pages.sum::<u64>() * page,
                    available: self.pool.available().saturating_mul(page),
                });
            }
        }
        Ok(())
    }

    /// Embeds the tokens, and runs their rows through all blocks.
    fn blocks(&mut self, progress: Progress<'_>) -> Result<(), ForwardError> {
        if self.work.tokens.is_empty() {
            return Ok(());
        }
        embed(&self.model, &mut self.work);
        for layer in 0..self.model.config().layers.len() {
            if progress(layer).is_break() {
                return Err(ForwardError::Stopped);
            }
            let mut statistics = self.statistics.as_deref_mut();
            layer_forward(&self.model, &mut self.work, layer, &mut |step, values| {
                if let Some(statistics) = &mut statistics {
                    statistics.add(layer, step, values);
                }
            })?;
        }
        match finite(&self.work.x) {
            true => Ok(()),
            false => Err(self.diagnose().into()),
        }
    }

    /// Computes the rows that are wanted, few at a time, and hands out the `values` of each, `width`
    /// of them, with the number of its part.
    fn each(
        &mut self,
        width: usize,
        compute: fn(&mut Self, Range<usize>) -> Result<(), ForwardError>,
        values: fn(&Work) -> &[f32],
        receive: &mut impl FnMut(usize, &[f32]),
    ) -> Result<(), ForwardError> {
        let (rows, vocabulary) = (self.work.wanted.len(), self.model.vocabulary_size());
        for start in (0..rows).step_by(LOGIT_ROWS) {
            compute(self, start..(start + LOGIT_ROWS).min(rows))?;
            for (i, row) in values(&self.work).chunks_exact(width).enumerate() {
                // Parts begin where their logits would.
                let at = (start + i) * vocabulary;
                let part = self.work.starts.partition_point(|&start| start <= at) - 1;
                receive(part, row);
            }
        }
        Ok(())
    }

    /// Computes the hidden states of some of the rows that are wanted.
    fn hidden(&mut self, rows: Range<usize>) -> Result<(), ForwardError> {
        output_norm(&self.model, &mut self.work, rows);
        match finite(self.work.output.values()) {
            true => Ok(()),
            false => Err(self.diagnose().into()),
        }
    }

    /// Computes the logits of some of the rows that are wanted.
    fn logits(&mut self, rows: Range<usize>) -> Result<(), ForwardError> {
        let mut statistics = self.statistics.as_deref_mut();
        logits(&self.model, &mut self.work, rows, &mut |step, values| {
            if let Some(statistics) = &mut statistics {
                statistics.add(0, step, values);
            }
        });
        match finite(&self.work.logits) {
            true => Ok(()),
            false => Err(self.diagnose().into()),
        }
    }

    /// Says where the numbers of the batch stop being finite, by running it once more with a look
    /// at each step.
    fn diagnose(&mut self) -> NotANumber {
        let (model, work) = (&self.model, &mut self.work);
        let mut finder = Finder::new(model.config().experts.is_some());
        embed(model, work);
        finder.see(0, Step::Embeddings, &work.x);
        for layer in 0..model.config().layers.len() {
            let mut see = |step, values: &[f32]| finder.see(layer, step, values);
            if layer_forward(model, work, layer, &mut see).is_err() {
                break;
            }
        }
        let rows = 0..work.wanted.len();
        logits(model, work, rows, &mut |step, values| finder.see(0, step, values));
        finder.explain(model, self.options.kv, &work.tokens)
    }
}

/// `work.x` becomes the embeddings of the tokens.
fn embed(model: &Model, work: &mut Work) {
    let dim = model.config().dim;
    work.x.resize(work.tokens.len() * dim, 0.0);
    let embeddings = &model.weights().tok_embeddings;
    embeddings.forward(&work.tokens, &mut work.updates, &mut work.x);
}

/// Runs the rows of `work.x` through one block, while `see` looks on.
fn layer_forward(
    model: &Model,
    work: &mut Work,
    layer: usize,
    see: &mut dyn FnMut(Step, &[f32]),
) -> Result<(), ForwardError> {
    let rows = Rows {
        x: &mut work.x,
        rope: &work.ropes[work.rope_of[layer]].1,
        kv: &mut work.kv,
    };
    let block = model.weights().blocks.block(layer);
    block
        .and_then(|block| block.forward(layer, rows, &mut work.block, see))
        .map_err(|error| ForwardError::Weights {
            layer,
            source: SharedLoadError::new(error),
        })
}

/// What the last norm gives for some of the rows that are wanted becomes `work.output`.
fn output_norm(model: &Model, work: &mut Work, rows: Range<usize>) {
    let dim = model.config().dim;
    let (x, wanted) = (&work.x, &work.wanted[rows]);
    let row = |i: usize| &x[wanted[i] * dim..][..dim];
    let (norm, level) = (&model.weights().norm, work.block.level());
    norm.forward_rows(level, wanted.len(), row, &mut work.output);
}

/// The logits of some of the rows that are wanted become `work.logits`.
fn logits(model: &Model, work: &mut Work, rows: Range<usize>, see: &mut dyn FnMut(Step, &[f32])) {
    work.logits.resize(rows.len() * model.vocabulary_size(), 0.0);
    if rows.is_empty() {
        return;
    }
    output_norm(model, work, rows);
    see(Step::OutputNorm, work.output.values());
    let output = &model.weights().output;
    output.forward(&mut work.output, &mut work.updates, &mut work.logits);
    see(Step::Logits, &work.logits);
}
