//! What `/set` changes: settings have the names that they have on the command line.

use super::Chat;
use crate::constraint::Constraints;
use crate::sampling::{self, Sampling};
use anyhow::{Result, bail};
use clap::Parser;

/// The settings, as options of a command line.
#[derive(Parser)]
#[command(
    no_binary_name = true,
    disable_help_flag = true,
    override_usage = "/set NAME VALUE"
)]
struct Settings {
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    constraints: Constraints,
    #[arg(long)]
    unconstrained: bool,
}

impl Settings {
    /// Reads `NAME VALUE`.
    fn parse(text: &str) -> Result<Self> {
        let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let option = match (name.trim_start_matches('-'), value.trim()) {
            (name, "") => format!("--{name}"),
            (name, value) => format!("--{name}={value}"),
        };
        Self::try_parse_from([option]).or_else(|error| {
            let reason = error.to_string();
            let line = reason.lines().next().unwrap_or_default();
            bail!("{}", line.trim_start_matches("error: "))
        })
    }
}

impl Chat<'_> {
    /// Changes a setting; with no words it shows all of them.
    pub fn set(&mut self, words: &str) -> Result<()> {
        if words.is_empty() {
            return self.show_settings();
        }
        let set = Settings::parse(words)?;
        let sampling = set.sampling.over(&self.sampling)?;
        let mut sampler = sampling::sampler(&sampling, self.tokenizer)?;
        let note = set.sampling.go_on(&mut sampler, &self.sampler.state());
        if set.constraints.any() || set.unconstrained {
            self.dialogue.constrain(set.constraints.asked()?)?;
        }
        (self.sampling, self.sampler) = (sampling, sampler);
        note.into_iter().for_each(|note| self.screen.notice(note));
        self.show_settings()
    }

    fn show_settings(&mut self) -> Result<()> {
        let options = sampling::options(&self.sampling, self.tokenizer)?;
        let samplers: Vec<&str> = options.samplers.iter().map(|kind| kind.name()).collect();
        let constraint = self.dialogue.constraint();
        self.screen.notice(format!(
            "temp {}  top-k {}  top-p {}  min-p {}  typical {}  repeat-penalty {}  frequency-penalty {}  \
             presence-penalty {}\nsamplers {}; seed {}\nanswers follow {}",
            options.temperature,
            options.top_k,
            options.top_p,
            options.min_p,
            options.typical,
            options.repeat_penalty,
            options.frequency_penalty,
            options.presence_penalty,
            samplers.join(";"),
            self.sampler.seed(),
            constraint.map_or("no constraint", |asked| &asked.name),
        ));
        Ok(())
    }
}
