//! What is kept of texts from one run to the next: `--session` and `--prompt-cache`.

use crate::constraint::Asked;
use crate::messages::note;
use crate::sampling::{self, Sampling};
use anyhow::{Context as _, Result, anyhow, ensure};
use bise_format::atomic::{ClaimError, Sole, claim};
use bise_format::full_text;
use bise_model::sampler::{Sampler, SamplerState};
use bise_model::tokenizer::Tokenizer;
use bise_model::{Extent, ForwardError, GenerateError, Kept, PromptCache, Session, is_session};
use bise_serve::sampling::Sampling as Given;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Sessions, and prompts that were read before.
#[derive(clap::Args)]
#[command(next_help_heading = "Sessions and drafts")]
pub struct Sessions {
    /// Go on where FILE was left, if it exists, and keep text and settings there: after each answer
    /// or minute, and at the end
    #[arg(long, value_name = "FILE")]
    session: Option<PathBuf>,
    /// Keep what was read of prompts in DIR, and do not read it again
    #[arg(long, value_name = "DIR")]
    prompt_cache: Option<PathBuf>,
    /// Keep at most so much; what was not used for longest is deleted
    #[arg(long, value_name = "MIB", default_value_t = 4096, requires = "prompt_cache",
        value_parser = clap::value_parser!(u64).range(0..=1 << 40))]
    prompt_cache_size: u64,
}

/// What a session file of this program says besides the text, as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// The sampling that was asked for.
    pub sampling: Given,
    /// What the text, or each answer, follows.
    pub constraint: Option<Asked>,
    /// Where among the tokens a text began that follows the constraint, and has not ended.
    pub constrained_from: Option<usize>,
    /// Tokens at the beginning that stay when the context is full: the prompt that the text began
    /// with.
    pub stays: Option<usize>,
    /// Of a conversation.
    pub chat: Option<Talk>,
}

/// A conversation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Talk {
    /// The format that was asked for.
    pub template: Option<String>,
    /// As /save writes them.
    pub messages: serde_json::Value,
}

/// What a session was when it was left, besides its text.
#[derive(Debug, Default)]
pub struct Resumed {
    pub state: Option<SamplerState>,
    pub notes: Notes,
}

impl Resumed {
    /// A sampler of the options `given`, and of the session's where they say nothing, that goes on
    /// where the session's was; all those options; and what the user should know.
    pub fn sampler(
        &self,
        given: &Sampling,
        tokenizer: &Tokenizer,
    ) -> Result<(Sampler, Given, Option<String>)> {
        let sampling = given.over(&self.notes.sampling);
        let Some(state) = &self.state else {
            let sampling = sampling?;
            return Ok((sampling::sampler(&sampling, tokenizer)?, sampling, None));
        };
        let sampling = sampling.context("together with the settings that the session keeps")?;
        let mut sampler = sampling::sampler(&sampling, tokenizer)?;
        let note = given.go_on(&mut sampler, state);
        Ok((sampler, sampling, note))
    }
}

impl Sessions {
    /// The file of the session, if there is one to go on with.
    pub fn left(&self) -> Option<&Path> {
        self.session.as_deref().filter(|path| path.exists())
    }

    /// Takes the session's file for this program, and tries that it and the prompt cache can be
    /// written, while `inputs` are read.
    pub fn claim(&self, inputs: &[&Path]) -> Result<Keeper> {
        if let Some(folder) = &self.prompt_cache {
            let name = || format!("--prompt-cache {}", folder.display());
            self.cache()?;
            match claim(&folder.join("try"), &[]) {
                Err(ClaimError::Io { source, .. }) => return Err(source).with_context(name),
                other => other.with_context(name)?,
            }
        }
        let file = self.session.as_ref().map(|path| -> Result<_> {
            claim(path, inputs)?;
            let name = || path.display().to_string();
            ensure!(
                !path.exists() || is_session(path).with_context(name)?,
                "{}: this file is no session, and stays as it is; name another one for --session",
                path.display()
            );
            Ok((path.clone(), sole(path, "the session")?))
        });
        Ok(Keeper {
            file: file.transpose()?,
            whole: None,
            state: Vec::new(),
            is_whole: false,
        })
    }

    /// Goes on with the session, if there is one.
    pub fn resume(&self, session: &mut Session) -> Result<Option<Resumed>> {
        let Some(path) = self.left() else {
            return Ok(None);
        };
        let name = || path.display().to_string();
        let Kept { sampler, notes } = session.restore(path).with_context(name)?;
        let notes = match &notes[..] {
            [] => Notes::default(),
            notes => serde_json::from_slice(notes)
                .context("the session's notes are not bise's")
                .with_context(name)?,
        };
        Ok(Some(Resumed {
            state: sampler,
            notes,
        }))
    }

    /// Makes the text of `session` `prompt`, and processes what is not known of it: to the session,
    /// or to the cache, which keeps the prompt. Gives how many of its tokens were known; `None` when
    /// the user did not want to wait for the others.
    pub fn begin(&self, session: &mut Session, prompt: &[u32]) -> Result<Option<usize>> {
        let begun = match session.begin(prompt, self.cache()?.as_ref()) {
            Err(GenerateError::Forward(ForwardError::Stopped)) => return Ok(None),
            begun => begun?,
        };
        for (path, error) in begun.refused {
            note(format_args!("{}: {}", path.display(), full_text(&error)));
        }
        if let Some(error) = begun.not_kept {
            note(format_args!("the prompt cache: {}", full_text(&error)));
        }
        Ok(Some(begun.known))
    }

    fn cache(&self) -> Result<Option<PromptCache>> {
        let open = |directory: &PathBuf| {
            let cache = PromptCache::new(directory, self.prompt_cache_size << 20);
            cache.with_context(|| directory.display().to_string())
        };
        self.prompt_cache.as_ref().map(open).transpose()
    }
}

/// The right to write `path`, which is `what`.
pub fn sole(path: &Path, what: &str) -> Result<Sole> {
    Sole::of(path).map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => anyhow!(
            "{} is in use as {what} by another program, or by this one; end that program first, or take another file",
            path.display()
        ),
        _ => anyhow!("cannot write {}: {error}", path.display()),
    })
}

/// Up to so many bytes a session is kept whole each time.
const SMALL: u64 = 32 << 20;
/// Keeping a larger one whole may take one part of so many of the time.
const SHARE: u32 = 30;

/// The file of the session while it is in use.
///
/// A killed program leaves it as it was kept last. A text costs some bytes for each token, its keys
/// and values a hundred thousand times as much; since they can be computed again, large ones are
/// not written each time.
pub struct Keeper {
    file: Option<(PathBuf, Sole)>,
    /// When it was last kept whole, and how long that took.
    whole: Option<(Instant, Duration)>,
    /// The notes and the sampler's state that were kept last.
    state: Vec<u8>,
    /// Whether that was the whole.
    is_whole: bool,
}

impl Keeper {
    /// Keeps the session, if asked to: so that nothing is lost, at little cost.
    pub fn keep_on(
        &mut self,
        session: &mut Session,
        sampler: &Sampler,
        notes: &Notes,
    ) -> Result<()> {
        let paid = |(when, took): (Instant, Duration)| when.elapsed() > took * SHARE;
        let extent = match session.file_len() <= SMALL || self.whole.is_none_or(paid) {
            true => Extent::Whole,
            false => Extent::Text,
        };
        self.keep(session, sampler, notes, extent)
    }

    /// Keeps the session whole, if asked to.
    pub fn finish(
        &mut self,
        session: &mut Session,
        sampler: &Sampler,
        notes: &Notes,
    ) -> Result<()> {
        self.keep(session, sampler, notes, Extent::Whole)
    }

    fn keep(
        &mut self,
        session: &mut Session,
        sampler: &Sampler,
        notes: &Notes,
        extent: Extent,
    ) -> Result<()> {
        let Some((path, file)) = &self.file else {
            return Ok(());
        };
        let (state, notes) = (sampler.state(), serde_json::to_vec(notes)?);
        let now = [&notes[..], &state.to_bytes()].concat();
        if now == self.state && (self.is_whole || extent == Extent::Text) {
            return Ok(());
        }
        let kept = Kept {
            sampler: Some(state),
            notes,
        };
        let start = Instant::now();
        file.write(|out| session.write(out, &kept, extent))
            .with_context(|| format!("cannot keep the session in {}", path.display()))?;
        (self.state, self.is_whole) = (now, extent == Extent::Whole);
        if self.is_whole {
            self.whole = Some((Instant::now(), start.elapsed()));
        }
        Ok(())
    }
}
