//! Which model a command works on, and whether there is memory for it.

use crate::hub::located::located;
use crate::lora::{self, Lora, lora};
use crate::machine;
use crate::messages::note;
use crate::numbers::Expected;
use crate::progress::Bar;
use anyhow::{Context as _, Result, bail};
use bise_format::TensorName;
use bise_format::adapter::ScaledAdapter;
use bise_format::checkpoint::Checkpoint;
use bise_kernels::memory::Available;
use bise_kernels::mmap::FileBytes;
use bise_kernels::tensor::Tensor;
use bise_model::{Advice, Config, ContextOptions, LoadOptions, MemoryNeeds, Model, advise};
use clap::Args;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The tiny story teller that runs when no model is named.
static DEMO: &[u8] = include_bytes!("../../../fixtures/demo.gguf");

/// Which model a command works on.
#[derive(Args)]
pub struct Which {
    /// GGUF file or directory [default: what BISE_MODEL names, or else the built-in story teller]
    #[arg(conflicts_with = "named")]
    model: Option<PathBuf>,
    /// The same as MODEL
    #[arg(short = 'm', long = "model", value_name = "MODEL")]
    named: Option<PathBuf>,
}

/// Which model a command works on, and on which text.
#[derive(Args)]
pub struct WhichAndText {
    /// GGUF file or directory [default: what BISE_MODEL names, or else the built-in story teller]
    model: Option<PathBuf>,
    /// The text to continue, or the first message
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// The same as MODEL, which is left out then: the text comes first
    #[arg(short = 'm', long = "model", value_name = "MODEL", conflicts_with = "text")]
    named: Option<PathBuf>,
}

/// The model that is worked on when none is named.
static DEFAULT: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    std::env::var_os("BISE_MODEL")
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
});

/// Where the model is that is worked on when none is named; `None` for the one that is part of the
/// program.
pub fn default() -> Option<&'static Path> {
    DEFAULT.as_deref()
}

impl Which {
    /// Where it is; `None` for the one that is part of the program.
    pub fn path(&self) -> Option<&Path> {
        self.named
            .as_deref()
            .or(self.model.as_deref())
            .or(DEFAULT.as_deref())
    }
}

impl WhichAndText {
    /// Where the model is; `None` for the one that is part of the program.
    pub fn path(&self) -> Option<&Path> {
        self.named
            .as_deref()
            .or(self.model.as_deref())
            .or(DEFAULT.as_deref())
    }

    /// The text, if one is given.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match &self.named {
            Some(_) => self.model.as_ref().map(|text| text.to_string_lossy()),
            None => self.text.as_deref().map(Cow::Borrowed),
        }
    }
}

/// Options of every command that loads a model.
#[derive(Args)]
#[command(next_help_heading = "Model")]
pub struct Loading {
    /// Keys that a token sees, its own included, or off [default: as the file says, 4096 for a
    /// Mistral v0.1 that does not]
    #[arg(long, value_name = "N|off", value_parser = window)]
    sliding_window: Option<Window>,
    /// Folder of PEFT or GGUF file with a LoRA adapter that is added to the model, times SCALE
    /// [default: 1]; may be given several times
    #[arg(long, visible_alias = "lora-scaled", value_name = "FILE[:SCALE]", value_parser = lora)]
    lora: Vec<Lora>,
    /// Load the model even when there seems to be too little memory
    #[arg(long)]
    force: bool,
    /// Read the file instead of mapping it into memory
    #[arg(long)]
    no_mmap: bool,
    /// Keep the weights in memory whatever else needs some
    #[arg(long)]
    mlock: bool,
}

/// A window on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window(Option<usize>);

fn window(text: &str) -> Result<Window, Expected> {
    match text.parse::<u32>() {
        _ if text == "off" => Ok(Window(None)),
        Ok(keys) if keys > 0 => Ok(Window(Some(keys as usize))),
        _ => Err(Expected("a number of keys from 1 on, or off")),
    }
}

impl Loading {
    /// Whether to try what memory does not seem to suffice for.
    pub fn forced(&self) -> bool {
        self.force
    }

    /// The files of adapters.
    pub fn adapters(&self) -> impl Iterator<Item = &Path> {
        lora::files(&self.lora)
    }

    /// Loads the model at `path`, or the one that is part of the program, with its adapters, for
    /// contexts such as `options` asks for. Tells `watch` that so many more bytes of so many are
    /// there.
    pub fn open(
        &self,
        path: Option<&Path>,
        options: impl FnOnce(&Checkpoint, &Config) -> ContextOptions,
        watch: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Model> {
        self.load(checkpoint(path)?, name(path), options, watch)
    }

    /// As [`open`](Self::open), but without adapters: a model that helps another one.
    pub fn open_bare(
        &self,
        path: &Path,
        options: impl FnOnce(&Config) -> ContextOptions,
    ) -> Result<Model> {
        let (checkpoint, name) = (checkpoint(Some(path))?, name(Some(path)));
        let options = |_: &Checkpoint, config: &Config| options(config);
        self.load_with(checkpoint, &[], name, options, &|_, _| {})
    }

    /// Loads the model in `checkpoint`, which messages call `name`; see [`open`](Self::open).
    pub fn load(
        &self,
        checkpoint: Checkpoint,
        name: String,
        options: impl FnOnce(&Checkpoint, &Config) -> ContextOptions,
        watch: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Model> {
        let adapters = lora::open(&self.lora)?;
        self.load_with(checkpoint, &adapters, name, options, watch)
    }

    fn load_with(
        &self,
        checkpoint: Checkpoint,
        adapters: &[ScaledAdapter],
        name: String,
        options: impl FnOnce(&Checkpoint, &Config) -> ContextOptions,
        watch: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Model> {
        let mut config = Config::from_checkpoint(&checkpoint).with_context(|| name.clone())?;
        if let Some(Window(keys)) = self.sliding_window {
            config.set_sliding_window(keys);
        }
        let options = options(&checkpoint, &config);
        if !self.force
            && let Some(available) = machine::memory()
        {
            let found = preflight(&checkpoint, adapters, &config, &options, &available);
            found.with_context(|| name.clone())?;
        }
        let bytes: usize = checkpoint.tensors.values().map(Tensor::len).sum();
        let bytes = bytes as u64;
        let bar = Bar::bytes("loading", bytes);
        let options = LoadOptions {
            read: self.no_mmap,
            lock: self.mlock,
            progress: &|more| {
                bar.advance(more);
                watch(more, bytes);
            },
            adapters,
        };
        let loaded = Model::load(checkpoint, &options).with_context(|| name);
        bar.end();
        let mut model = loaded?;
        if let Some(Window(keys)) = self.sliding_window {
            model.set_sliding_window(keys);
        }
        Ok(model)
    }
}

/// The model that is part of the program.
pub fn built_in() -> FileBytes {
    FileBytes::from_static(DEMO)
}

/// What to call the model at `path`.
pub fn name(path: Option<&Path>) -> String {
    path.map_or("the built-in model".to_owned(), |path| path.display().to_string())
}

/// Metadata and tensors of the model at `path`, or of the one that is part of the program.
pub fn checkpoint(path: Option<&Path>) -> Result<Checkpoint> {
    let Some(path) = path else {
        return Checkpoint::from_bytes(built_in()).context("the built-in model");
    };
    let (checkpoint, notes) = bise_format::open(&located(path)?)?;
    notes.iter().for_each(note);
    Ok(checkpoint)
}

/// What a model takes with adapters.
pub fn needs(
    checkpoint: &Checkpoint,
    adapters: &[ScaledAdapter],
    config: &Config,
    options: &ContextOptions,
) -> MemoryNeeds {
    let embeddings = checkpoint.tensor(TensorName::Embedding);
    let vocabulary = embeddings.map_or(0, Tensor::rows);
    let bare = MemoryNeeds::of(checkpoint, config, options);
    bare.with_adapters(adapters, config, vocabulary, options)
}

/// Refuses a model that does not fit in what is `available`, and says what would.
fn preflight(
    checkpoint: &Checkpoint,
    adapters: &[ScaledAdapter],
    config: &Config,
    options: &ContextOptions,
    available: &Available,
) -> Result<()> {
    let needs = needs(checkpoint, adapters, config, options);
    if needs.total() <= available.bytes {
        return Ok(());
    }
    let bare = MemoryNeeds::of(checkpoint, config, options);
    let left = available.bytes.saturating_sub(needs.total() - bare.total());
    let advice = match advise(checkpoint, config, options, left) {
        Some(Advice::Context(tokens)) => format!("--ctx {tokens} would fit"),
        Some(Advice::KvType(kv)) => format!("--kv-type {kv} would fit"),
        Some(Advice::Weights(dtype)) => {
            format!("weights of type {dtype} would fit: see bise quantize")
        }
        None => "no type or context would fit".to_owned(),
    };
    bail!(
        "{} are needed ({}), and {} has {} left; {advice}, --force tries all the same",
        size(needs.total()),
        describe(&needs, config, options),
        available.limit,
        size(available.bytes),
    )
}

/// The context of a model when none is asked for: what it was trained for, or as much of that as
/// fits in three quarters of the memory that is left, but no less than [`LEAST_CONTEXT`].
pub fn usual_context(
    checkpoint: &Checkpoint,
    config: &Config,
    options: &ContextOptions,
    available: Option<u64>,
) -> usize {
    let trained = config.context_length;
    let least = trained.min(LEAST_CONTEXT);
    let Some(bytes) = available.map(|bytes| bytes / 4 * 3) else {
        return least;
    };
    let options = ContextOptions {
        max_tokens: trained,
        ..*options
    };
    if MemoryNeeds::of(checkpoint, config, &options).total() <= bytes {
        return trained;
    }
    match advise(checkpoint, config, &options, bytes) {
        Some(Advice::Context(tokens)) => tokens.max(least),
        _ => least,
    }
}

/// Tokens of context that a model has, if it was trained for so many, however little memory there
/// is.
const LEAST_CONTEXT: usize = 4096;

/// The parts of what is needed.
pub fn describe(needs: &MemoryNeeds, config: &Config, options: &ContextOptions) -> String {
    let tokens = match (config.sliding_window(), config.windows().count()) {
        (Some(window), _) => format!("a window of {window}"),
        (None, 0) => format!("{} tokens", options.max_tokens),
        (None, windows) => format!(
            "{} tokens ({windows} layers see a window of them)",
            options.max_tokens
        ),
    };
    format!(
        "weights {}, keys and values of {tokens} {}, scratch {}",
        size(needs.laid_out.saturating_add(needs.in_files)),
        size(needs.kv),
        size(needs.scratch),
    )
}

/// A size for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: u64, context: usize) -> Option<String> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
        let checkpoint = checkpoint(Some(&fixtures.join("tiny-mixtral"))).unwrap();
        let config = Config::from_checkpoint(&checkpoint).unwrap();
        let limit = "cgroup /job".to_owned();
        let result = preflight(
            &checkpoint,
            &[],
            &config,
            &ContextOptions::new(context),
            &Available { bytes, limit },
        );
        result.err().map(|error| error.to_string())
    }

    #[test]
    fn what_does_not_fit_is_refused_with_advice() {
        assert_eq!(refused(1 << 30, 4096), None);
        for (bytes, context, words) in [
            (1 << 30, 1 << 30, "--ctx "),
            (9 << 20, 256, "weights of type "),
            (1 << 10, 256, "no type or context"),
        ] {
            let error = refused(bytes, context).expect("too much");
            for word in [words, "cgroup /job", "--force", &size(bytes)] {
                assert!(error.contains(word), "{error}");
            }
        }
    }

    #[test]
    fn windows() {
        assert_eq!(window("off"), Ok(Window(None)));
        assert_eq!(window("4096"), Ok(Window(Some(4096))));
        for bad in ["0", "-1", "on", "", "99999999999"] {
            assert!(window(bad).is_err(), "{bad}");
        }
    }
}
