//! What the commands that run a model share: which model, and how to run it.

use crate::say;
use anyhow::{Context as _, Result, anyhow, ensure};
use bise_model::tokenizer::{Tokenizer, Vocabulary};
use bise_model::{Context, ContextOptions, KvType, Model};
use bise_tensor::isa::Level;
use bise_tensor::mmap::FileBytes;
use bise_tensor::threads::{Threads, usable_cores};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// The tiny story teller that runs when no model is named.
static DEMO: &[u8] = include_bytes!("../../../fixtures/demo.gguf");

/// Tokens of context when none are asked for and the model takes more.
const DEFAULT_CONTEXT: usize = 4096;

/// Options of every command that runs a model.
#[derive(Args)]
#[command(next_help_heading = "Machine")]
pub struct Runtime {
    /// Threads [default: one for each physical core that the process may use]
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Tokens of context [default: what the model was trained for, up to 4096]
    #[arg(short, long = "ctx", value_name = "CTX", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Tokens of the prompt processed at a time
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Format of cached keys and values
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    kv_type: KvTypeName,
    /// Instruction set [default: the best that this machine has]
    #[arg(long)]
    isa: Option<Level>,
    /// Print no warnings
    #[arg(short, long)]
    quiet: bool,
}

/// [`KvType`] on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub enum KvTypeName {
    F16,
    F32,
    #[value(name = "q8_0")]
    Q8_0,
}

impl Runtime {
    /// The pool that work runs on.
    pub fn threads(&self) -> Result<Threads> {
        Threads::new(self.threads.map_or_else(usable_cores, usize::from)).context("cannot start threads")
    }

    /// An empty context for `model`.
    pub fn context<'m>(&self, model: &'m Model) -> Result<Context<'m>> {
        let trained = model.config().context_length;
        let context = self.context.map_or(trained.min(DEFAULT_CONTEXT), |c| c as usize);
        let kv = self.kv_type.kv_type();
        let level = self.isa.unwrap_or_else(Level::detect);
        if !self.quiet && context > trained && model.config().sliding_window.is_none() {
            say(format!(
                "bise: the model was trained for {trained} tokens of context, fewer than {context}"
            ));
        }
        Ok(Context::new(
            model,
            ContextOptions {
                context,
                batch: self.batch as usize,
                kv,
                level,
            },
        )?)
    }
}

impl KvTypeName {
    /// The model's name for it.
    pub fn kv_type(self) -> KvType {
        match self {
            KvTypeName::F16 => KvType::F16,
            KvTypeName::F32 => KvType::F32,
            KvTypeName::Q8_0 => KvType::Q8_0,
        }
    }
}

/// Opens the model at `path`, or the one that is part of the program.
pub fn open(path: Option<&Path>) -> Result<Model> {
    match path {
        Some(path) => {
            ensure!(
                !path.is_dir(),
                "{} is a directory; make a GGUF file of it with bise quantize",
                path.display()
            );
            Model::open(path).with_context(|| path.display().to_string())
        }
        None => Model::from_bytes(FileBytes::from_static(DEMO)).context("the built-in model"),
    }
}

/// The model's tokenizer.
pub fn tokenizer(model: &Model) -> Result<Tokenizer> {
    let vocabulary = Vocabulary::from_metadata(&model.gguf().metadata)?;
    let (pieces, logits) = (vocabulary.len(), model.vocabulary_size());
    ensure!(
        pieces <= logits,
        "the tokenizer has {pieces} tokens, the model only {logits}"
    );
    Ok(Tokenizer::new(vocabulary)?)
}

/// Reads a file of text or bytes.
pub fn read(path: &PathBuf) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| anyhow!("{}: {error}", path.display()))
}
