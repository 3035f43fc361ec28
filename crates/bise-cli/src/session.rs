//! What is kept of texts from one run to the next: `--session` and `--prompt-cache`.

use crate::constraint::Asked;
use crate::messages::note;
use crate::sampling::Sampling;
use anyhow::{Context as _, Result, ensure};
use bise_model::sampler::{Sampler, SamplerState};
use bise_model::tokenizer::Tokenizer;
use bise_model::{Kept, PromptCache, Session};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Sessions, and prompts that were read before.
#[derive(clap::Args)]
#[command(next_help_heading = "Sessions and drafts")]
pub struct Sessions {
    /// Go on where FILE was left, if it exists, and keep text and settings there at the end
    #[arg(long, value_name = "FILE")]
    session: Option<PathBuf>,
    /// Keep what was read of prompts in DIR, and do not read it again
    #[arg(long, value_name = "DIR")]
    prompt_cache: Option<PathBuf>,
    /// Keep at most so much; what was not used for longest is deleted
    #[arg(long, value_name = "MIB", default_value_t = 4096, requires = "prompt_cache")]
    prompt_cache_size: u64,
}

/// What a session file of this program says besides the text, as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// The sampling that was asked for.
    pub sampling: Sampling,
    /// What the text, or each answer, follows.
    pub constraint: Option<Asked>,
    /// Where among the tokens a text began that follows the constraint, and has not ended.
    pub constrained_from: Option<usize>,
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
    /// A sampler of the options `given`, and of the session's where they say nothing, that goes on where the session's was;
    /// all those options; and what the user should know.
    pub fn sampler(
        &self,
        given: &Sampling,
        tokenizer: &Tokenizer,
    ) -> Result<(Sampler, Sampling, Option<String>)> {
        let sampling = given.over(&self.notes.sampling);
        let Some(state) = &self.state else {
            let sampling = sampling?;
            return Ok((sampling.sampler(tokenizer)?, sampling, None));
        };
        let sampling = sampling.context("together with the settings that the session keeps")?;
        let mut sampler = sampling.sampler(tokenizer)?;
        let note = given.go_on(&mut sampler, state);
        Ok((sampler, sampling, note))
    }
}

impl Sessions {
    /// The file of the session, if there is one to go on with.
    pub fn left(&self) -> Option<&Path> {
        self.session.as_deref().filter(|path| path.exists())
    }

    /// Goes on with the session, if there is one.
    pub fn resume(&self, session: &mut Session<'_>) -> Result<Option<Resumed>> {
        let Some(path) = self.left() else {
            return self.can_be_kept().map(|()| None);
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

    /// Who has talked for an hour wants no surprise at the end.
    fn can_be_kept(&self) -> Result<()> {
        let folder = self.session.as_deref().and_then(Path::parent);
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            ensure!(folder.is_dir(), "{}: there is no such folder", folder.display());
        }
        Ok(())
    }

    /// Keeps the session, if asked to.
    pub fn keep(&self, session: &mut Session<'_>, sampler: &Sampler, notes: &Notes) -> Result<()> {
        let Some(path) = &self.session else {
            return Ok(());
        };
        let kept = Kept {
            sampler: Some(sampler.state()),
            notes: serde_json::to_vec(notes)?,
        };
        let saved = session.save(path, &kept);
        saved.with_context(|| format!("cannot keep the session in {}", path.display()))
    }

    /// Makes the text of `session` what the cache knows of `prompt`'s beginning.
    pub fn recall(&self, session: &mut Session<'_>, prompt: &[u32]) -> Result<()> {
        let Some(cache) = self.cache()? else {
            return Ok(());
        };
        let restored = cache.restore(session, prompt);
        for (path, error) in restored.refused {
            note(format_args!("{}: {error}", path.display()));
        }
        session.truncate(restored.tokens);
        Ok(())
    }

    /// Puts what `session` has read into the cache.
    pub fn remember(&self, session: &mut Session<'_>) -> Result<()> {
        if let Some(cache) = self.cache()?
            && let Err(error) = cache.store(session)
        {
            // The text is worth more than the cache.
            note(format_args!("the prompt cache: {error}"));
        }
        Ok(())
    }

    fn cache(&self) -> Result<Option<PromptCache>> {
        let open = |directory: &PathBuf| {
            let cache = PromptCache::new(directory, self.prompt_cache_size << 20);
            cache.with_context(|| directory.display().to_string())
        };
        self.prompt_cache.as_ref().map(open).transpose()
    }
}
