//! What `bise run` keeps of a text, and how it drafts: `--session`, `--prompt-cache`, `--speculate`, `--context-shift`.

use crate::runtime::Runtime;
use crate::say;
use anyhow::{Context as _, Result, anyhow, ensure};
use bise_model::sampler::Sampler;
use bise_model::{
    ForwardError, GenerateError, Limits, Model, PromptCache, Session, Speculation, SpeculationOptions, Stop,
};
use clap::ValueEnum;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Sessions and drafts.
#[derive(clap::Args)]
#[command(next_help_heading = "Sessions and drafts")]
pub struct Sessions {
    /// Go on with the text that FILE keeps, if there is one, and keep it there at the end
    #[arg(long, value_name = "FILE")]
    session: Option<PathBuf>,
    /// Keep what was read of prompts in DIR, and do not read it again
    #[arg(long, value_name = "DIR")]
    prompt_cache: Option<PathBuf>,
    /// Keep at most so much; what was not used for longest is deleted
    #[arg(long, value_name = "MIB", default_value_t = 4096, requires = "prompt_cache")]
    prompt_cache_size: u64,
    /// When the context is full, drop the oldest half of what follows the prompt, and go on
    #[arg(long)]
    context_shift: bool,
    /// How to guess tokens, so that several are read at once: from the text, or also with --draft; the text stays the same
    #[arg(long, value_name = "HOW", default_value = "auto")]
    speculate: Speculate,
    /// GGUF file of a smaller model with the same vocabulary that guesses tokens
    #[arg(long, value_name = "FILE")]
    draft: Option<PathBuf>,
    /// Guess at most so many tokens at a time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u8).range(1..=64))]
    draft_max: u8,
}

/// How to guess.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Speculate {
    /// From the text and, if there is one, with the draft model, where it pays
    Auto,
    /// From the text, where it pays
    Ngram,
    /// Not at all
    Off,
}

impl Sessions {
    /// The draft model.
    pub fn draft_model(&self, runtime: &Runtime) -> Result<Option<Model>> {
        let Some(path) = &self.draft else {
            return Ok(None);
        };
        ensure!(
            self.speculate == Speculate::Auto,
            "--draft is of no use with --speculate ngram or off"
        );
        runtime.open(Some(path)).map(Some)
    }

    /// An empty session of `model`.
    pub fn session<'m>(
        &self,
        model: &'m Model,
        draft: Option<&'m Model>,
        runtime: &Runtime,
    ) -> Result<Session<'m>> {
        let mut session = Session::new(runtime.context(model)?);
        if self.speculate == Speculate::Off {
            return Ok(session);
        }
        let mut speculation = Speculation::new(SpeculationOptions {
            most: self.draft_max.into(),
            ..SpeculationOptions::default()
        });
        if let (Some(draft), Some(path)) = (draft, &self.draft) {
            let options = *session.context().options();
            speculation = speculation
                .with_model(model, draft, options)
                .with_context(|| path.display().to_string())?;
        }
        session.speculate(Some(speculation));
        Ok(session)
    }

    /// Whether there is a session to go on with.
    pub fn resumes(&self) -> bool {
        self.session.as_ref().is_some_and(|path| path.exists())
    }

    /// Goes on with the session, if there is one.
    pub fn resume(&self, session: &mut Session<'_>, sampler: &mut Sampler) -> Result<()> {
        let Some(path) = self.session.as_ref().filter(|path| path.exists()) else {
            return Ok(());
        };
        let name = || path.display().to_string();
        if let Some(state) = session.restore(path).with_context(name)? {
            sampler.restore(&state).with_context(name)?;
        }
        Ok(())
    }

    /// Adds `prompt` to the text and generates, as [`Session::generate`] does.
    pub fn generate(
        &self,
        session: &mut Session<'_>,
        prompt: &[u32],
        limits: Limits<'_>,
        sampler: &mut Sampler,
        mut receive: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Stop> {
        if let (Some(directory), true) = (&self.prompt_cache, session.is_empty()) {
            self.read_prompt(directory, session, prompt)?;
        } else {
            session.append(prompt);
        }
        let (keep, mut done) = (session.len(), 0);
        loop {
            let limits = Limits {
                max_tokens: limits.max_tokens - done,
                end: limits.end,
            };
            let result = session.generate(&[], limits, sampler, |token| {
                done += 1;
                receive(token)
            });
            match result {
                Err(GenerateError::Forward(ForwardError::ContextFull { .. })) if self.context_shift => {
                    make_room(session, keep)?;
                }
                Err(error @ GenerateError::Forward(ForwardError::ContextFull { .. })) => {
                    let hint = "a larger context (-c) or --context-shift would let it go on";
                    return Err(anyhow!(error)).context(hint);
                }
                other => return Ok(other?),
            }
        }
    }

    /// Reads `prompt`, but for what the cache in `directory` knows of it.
    fn read_prompt(&self, directory: &Path, session: &mut Session<'_>, prompt: &[u32]) -> Result<()> {
        let name = || directory.display().to_string();
        let cache = PromptCache::new(directory, self.prompt_cache_size << 20).with_context(name)?;
        for (path, error) in cache.restore(session, prompt).refused {
            say(format!("bise: {}: {error}", path.display()));
        }
        if session.room().is_none_or(|room| room > 0) {
            session.read()?;
            // The text is worth more than the cache.
            if let Err(error) = cache.store(session) {
                say(format!("bise: {}: {error}", directory.display()));
            }
        }
        Ok(())
    }

    /// Keeps the session, if asked to.
    pub fn keep(&self, session: &mut Session<'_>, sampler: &Sampler) -> Result<()> {
        let Some(path) = &self.session else {
            return Ok(());
        };
        let saved = session.save(path, Some(&sampler.state()));
        saved.with_context(|| format!("cannot keep the session in {}", path.display()))
    }
}

/// Drops the oldest tokens after the first `keep`, and says so.
fn make_room(session: &mut Session<'_>, keep: usize) -> Result<()> {
    let capacity = session.context().capacity().unwrap_or(usize::MAX);
    // A prompt that leaves no room for a text to follow is not kept whole.
    let keep = keep.min(capacity / 2);
    let len = session.len();
    let dropped = session
        .make_room(keep, 0)
        .with_context(|| format!("{len} tokens cannot be made to fit a context of {capacity}"))?;
    say(format!(
        "bise: the context of {capacity} tokens is full: dropped {dropped} of {len}, after the first {keep}"
    ));
    Ok(())
}

/// How drafting went, if there were drafts.
pub fn report(session: &Session<'_>) -> Option<String> {
    let counts = session.counts();
    (counts.drafted > 0).then(|| format!("guessed {} tokens, {} right", counts.drafted, counts.accepted))
}
