//! How tokens are guessed so that several are read at once: options of every command that generates
//! text.

use crate::runtime::Runtime;
use anyhow::{Context as _, Result, ensure};
use bise_model::{Model, Session, Speculation, SpeculationOptions};
use clap::ValueEnum;
use std::path::{Path, PathBuf};

/// Drafts, which never change the text.
#[derive(clap::Args)]
#[command(next_help_heading = "Sessions and drafts")]
pub struct Drafts {
    /// How to guess tokens, so that several are read at once; the text stays the same
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
    /// From what the text said before and, if there is one, with the draft model, where it pays
    Auto,
    /// From what the text said before, where it pays
    Ngram,
    /// As auto, and also where it does not pay
    Always,
    /// Not at all
    Off,
}

impl Drafts {
    /// The file of the draft model.
    pub fn file(&self) -> Option<&Path> {
        self.draft.as_deref()
    }

    /// The draft model.
    pub fn model(&self, runtime: &Runtime) -> Result<Option<Model>> {
        let Some(path) = &self.draft else {
            return Ok(None);
        };
        ensure!(
            matches!(self.speculate, Speculate::Auto | Speculate::Always),
            "--draft is of no use with --speculate ngram or off"
        );
        runtime.open_bare(path).map(Some)
    }

    /// An empty session of `model`, for which `draft` guesses.
    pub fn session<'m>(
        &self,
        model: &'m Model,
        draft: Option<&'m Model>,
        runtime: &Runtime,
    ) -> Result<Session> {
        let mut session = Session::new(runtime.context(model)?);
        if self.speculate == Speculate::Off {
            return Ok(session);
        }
        let mut speculation = Speculation::new(SpeculationOptions {
            most: self.draft_max.into(),
            always: self.speculate == Speculate::Always,
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
}

/// How drafting went, if there were drafts.
pub fn report(session: &Session) -> Option<String> {
    let counts = session.counts();
    (counts.drafted > 0)
        .then(|| format!("guessed {} tokens, {} right", counts.drafted, counts.accepted))
}
