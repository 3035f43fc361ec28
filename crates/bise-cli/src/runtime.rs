//! What the commands that run a model share: which model, and how to run it.

use crate::loading::{self, Loading};
use crate::machine;
use crate::messages::note;
use anyhow::{Context as _, Result, anyhow, ensure};
use bise_format::TensorName;
use bise_format::checkpoint::Checkpoint;
use bise_format::gguf::Metadata;
use bise_kernels::isa::Level;
use bise_kernels::threads::Threads;
use bise_model::chat::Template;
use bise_model::tokenizer::{Tokenizer, Vocabulary};
use bise_model::{Config, Context, ContextOptions, EngineOptions, KvType, MemoryNeeds, Model};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Options of every command that runs a model.
#[derive(Args)]
#[command(next_help_heading = "Machine")]
pub struct Runtime {
    /// Threads [default: one for each physical core that the process may use]
    #[arg(short, long, allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Tokens that fit, prompt and text together; a model with a sliding window takes any number,
    /// whatever this says [default: what the model was trained for, or as much of it as memory
    /// allows]
    #[arg(short, long = "ctx", visible_alias = "ctx-size", value_name = "CTX", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// What counts without it: see [`loading::usual_context`].
    #[arg(skip)]
    usual: OnceLock<usize>,
    /// Tokens of the prompt processed at a time
    #[arg(long, visible_alias = "batch-size", default_value_t = 512, allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Format of cached keys and values: less memory, or closer to exact
    #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = kv_types())]
    kv_type: KvType,
    /// Instruction set: scalar; avx2, avxvnni, avx512vl or avx512; neon, dotprod or i8mm [default:
    /// the best that this machine has]
    #[arg(long)]
    isa: Option<Level>,
    /// Print no warnings
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    loading: Loading,
}

/// Reads the format of cached keys and values.
pub fn kv_types() -> impl TypedValueParser<Value = KvType> {
    let named = |name: String| KvType::ALL.into_iter().find(|kind| kind.name() == name);
    let names = PossibleValuesParser::new(KvType::ALL.map(KvType::name));
    names.map(move |name| named(name).expect("one of the names"))
}

impl Runtime {
    /// Whether no warnings are wanted.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// The pool that work runs on.
    pub fn threads(&self) -> Result<Threads> {
        threads(self.threads.map(usize::from))
    }

    /// Loads the model at `path`, or the one that is part of the program.
    pub fn open(&self, path: Option<&Path>) -> Result<Model> {
        self.open_watched(path, &|_, _| {})
    }

    /// As [`open`](Self::open); `watch` is told that so many more bytes of so many are there.
    pub fn open_watched(
        &self,
        path: Option<&Path>,
        watch: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Model> {
        let options = |checkpoint: &Checkpoint, config: &Config| {
            let options = self.options(config);
            let available = machine::memory().map(|memory| memory.bytes);
            let usual = || loading::usual_context(checkpoint, config, &options, available);
            // A model that drafts for another one reads as much as that.
            self.usual.get_or_init(usual);
            self.options(config)
        };
        self.loading.open(path, options, watch)
    }

    /// Loads the model at `path`, which helps another one, without adapters.
    pub fn open_bare(&self, path: &Path) -> Result<Model> {
        self.loading.open_bare(path, |config| self.options(config))
    }

    /// The files of adapters.
    pub fn adapters(&self) -> impl Iterator<Item = &Path> {
        self.loading.adapters()
    }

    /// What `model` takes with one text.
    pub fn needs(&self, model: &Model) -> MemoryNeeds {
        let options = self.options(model.config());
        loading::needs(model.checkpoint(), model.adapters(), model.config(), &options)
    }

    /// How to run a model.
    fn options(&self, config: &Config) -> ContextOptions {
        let usual = *self.usual.get().unwrap_or(&config.context_length);
        ContextOptions {
            max_tokens: self.context.map_or(usual, |c| c as usize),
            prefill_chunk: self.batch as usize,
            kv: self.kv_type,
            level: self.isa.unwrap_or_else(Level::detect),
        }
    }

    /// How an engine for many texts runs, and how many tokens fit in one of them.
    pub fn engine(&self, config: &Config) -> Result<(EngineOptions, usize)> {
        let ContextOptions {
            max_tokens,
            prefill_chunk,
            kv,
            level,
        } = self.options(config);
        self.note_training(config);
        let mut engine = EngineOptions::default();
        engine.rows = prefill_chunk;
        engine.tokens = max_tokens;
        (engine.kv, engine.level) = (kv, level);
        engine.threads = Some(Arc::new(self.threads()?));
        Ok((engine, max_tokens))
    }

    /// An empty context for `model`.
    pub fn context(&self, model: &Model) -> Result<Context> {
        let options = self.options(model.config());
        self.note_window(model.config());
        self.note_training(model.config());
        Ok(Context::new(model, options)?)
    }

    /// Says if the length of a text is limited that may have any.
    pub fn note_window(&self, config: &Config) {
        if let (false, Some(context)) = (self.quiet, self.context)
            && let Some(window) = config.sliding_window()
        {
            note(format_args!(
                "-c {context} limits nothing: the model sees the last {window} tokens, and takes any number \
                 (--sliding-window off changes that)"
            ));
        }
    }

    /// Says if texts may become longer than what the model was trained for.
    fn note_training(&self, config: &Config) {
        let (context, trained) = (self.options(config).max_tokens, config.context_length);
        if !self.quiet && context > trained {
            note(format_args!(
                "the model was trained for {trained} tokens of context; beyond them, up to {context}, its text may be poor"
            ));
        }
    }
}

/// How a text is cut: into chunks that begin with the token that begins a text, if the vocabulary
/// asks for it.
pub struct Chunks {
    bos: Option<u32>,
    len: usize,
}

impl Chunks {
    /// Chunks of `len` tokens; of 512, or of the context where that is less, when `None`.
    pub fn new(tokenizer: &Tokenizer, context: &Context, len: Option<u32>) -> Result<Self> {
        let usual = || context.capacity().unwrap_or(usize::MAX).min(512);
        let vocabulary = tokenizer.vocabulary();
        let bos = vocabulary.bos.filter(|_| vocabulary.add_bos);
        let len = len.map_or_else(usual, |len| len as usize);
        ensure!(
            len > usize::from(bos.is_some()),
            "chunks of {len} token leave no room for the text"
        );
        Ok(Self { bos, len })
    }

    /// Tokens of a chunk, the first one included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tokens of the first `most` chunks of a text.
    pub fn count(&self, tokens: &[u32], most: usize) -> usize {
        let bos = usize::from(self.bos.is_some());
        let chunks = tokens.len().div_ceil(self.len - bos).min(most);
        tokens.len().min(chunks.saturating_mul(self.len - bos)) + chunks * bos
    }

    /// The chunks of a text.
    pub fn of<'a>(&'a self, tokens: &'a [u32]) -> impl Iterator<Item = Vec<u32>> + 'a {
        let texts = tokens.chunks(self.len - usize::from(self.bos.is_some()));
        texts.map(|text| self.bos.into_iter().chain(text.iter().copied()).collect())
    }
}

/// The tokens of the text in `file`, and how it is cut for `context`: see [`Chunks::new`].
pub fn chunks(
    context: &Context,
    tokenizer: &Tokenizer,
    file: &PathBuf,
    len: Option<u32>,
) -> Result<(Vec<u32>, Chunks)> {
    let tokens = tokenizer.encode(&read(file)?);
    ensure!(!tokens.is_empty(), "{} is empty", file.display());
    Ok((tokens, Chunks::new(tokenizer, context, len)?))
}

/// A pool of `count` threads, or of one for each physical core that the process may use.
pub fn threads(count: Option<usize>) -> Result<Threads> {
    Threads::new(count.unwrap_or_else(machine::cores)).context("cannot start threads")
}

/// The tokenizer of the model from `path`, or of the one that is part of the program.
pub fn tokenizer(model: &Model, path: Option<&Path>) -> Result<Tokenizer> {
    tokenizer_of(model.checkpoint(), path)
}

/// The tokenizer of the model from `path`; a text of it also ends where `template` ends a turn, the
/// file of a chat template.
pub fn tokenizer_for(
    model: &Model,
    path: Option<&Path>,
    template: Option<&str>,
) -> Result<Tokenizer> {
    let mut vocabulary = vocabulary(model.checkpoint()).with_context(|| loading::name(path))?;
    if let Some(template) = template.and_then(|file| std::fs::read_to_string(file).ok()) {
        vocabulary.end_turns_of(&[&template]);
    }
    Tokenizer::new(vocabulary).with_context(|| loading::name(path))
}

/// The tokenizer of a model from `path` that need not be loaded.
pub fn tokenizer_of(checkpoint: &Checkpoint, path: Option<&Path>) -> Result<Tokenizer> {
    read_tokenizer(checkpoint).with_context(|| loading::name(path))
}

/// As [`tokenizer_of`], without the name in errors.
pub fn read_tokenizer(checkpoint: &Checkpoint) -> Result<Tokenizer> {
    Ok(Tokenizer::new(vocabulary(checkpoint)?)?)
}

fn vocabulary(checkpoint: &Checkpoint) -> Result<Vocabulary> {
    let vocabulary = Vocabulary::from_metadata(&checkpoint.metadata)?;
    let pieces = vocabulary.len();
    if let Some(embeddings) = checkpoint.tensor(TensorName::Embedding) {
        let logits = embeddings.shape()[0];
        ensure!(
            pieces <= logits,
            "the tokenizer has {pieces} tokens, the model only {logits}"
        );
    }
    Ok(vocabulary)
}

/// The tokens of a prompt that a text follows, with a note if the tokenizer would end it.
pub fn prompt(tokenizer: &Tokenizer, text: &[u8]) -> Vec<u32> {
    let vocabulary = tokenizer.vocabulary();
    if let Some(eos) = vocabulary.eos.filter(|_| vocabulary.add_eos) {
        note(format_args!(
            "the tokenizer ends texts with {} (add_eos_token), as for training; the prompt goes without, since text follows it",
            tokenizer.piece(eos)
        ));
    }
    tokenizer.encode_prompt(text)
}

/// The chat format `named`, or what the file of the model from `path` tells. The built-in model is
/// made for no chat, but bears one.
pub fn template(
    named: Option<&str>,
    path: Option<&Path>,
    metadata: &Metadata,
    tokenizer: &Tokenizer,
) -> Result<Template> {
    match named.or(path.is_none().then_some("v1")) {
        Some(name) => Ok(Template::from_name(name, metadata)?),
        None => Template::detect(metadata, tokenizer).with_context(|| loading::name(path))?.with_context(|| {
            format!(
                "{}: the file does not tell how a conversation is written for this model, which may not be made for it; \
                 --template says how (v1, v2, v3, v7, v11, v13, v15, or a Jinja file)",
                loading::name(path)
            )
        }),
    }
}

/// Reads a file of text or bytes; `-` is standard input.
pub fn read(path: &PathBuf) -> Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().read_to_end(&mut bytes);
        return read.map(|_| bytes).context("cannot read standard input");
    }
    std::fs::read(path).map_err(|error| anyhow!("{}: {error}", path.display()))
}
