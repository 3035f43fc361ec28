//! `bise chat`: talk with a model.

mod command;
mod dialogue;
mod entry;
mod input;
mod saved;
mod screen;

use crate::Outcome;
use crate::interrupt::Interrupt;
use crate::runtime::{self, Runtime};
use crate::sampling::Sampling;
use anyhow::{Context as _, Result, bail};
use bise_model::chat::{Message, Template};
use bise_model::sampler::Sampler;
use bise_model::{Session, tokenizer::Tokenizer};
use clap::Parser;
use command::{COMMANDS, Command};
use dialogue::{Dialogue, End};
use input::{Input, Source};
use screen::Screen;
use std::path::{Path, PathBuf};

/// Talk with a model
///
/// Answers appear as they are made; Ctrl-C stops an answer, Ctrl-D or /exit the program. A line that ends with a
/// backslash goes on in the next one, and so does all between two lines of """. /help shows the commands. In a pipe
/// each line, or each text between """, is a message.
#[derive(clap::Args)]
pub struct Args {
    /// GGUF file or directory [default: the built-in story teller]
    model: Option<PathBuf>,
    /// What the model should keep to
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Format of the conversation: v1, v2, v3, v7, v11 or v13, gguf for the file's own, or a Jinja file [default: what
    /// the file tells]
    #[arg(long, value_name = "NAME|FILE")]
    template: Option<String>,
    /// Go on with a conversation that /save wrote
    #[arg(long, value_name = "FILE")]
    load: Option<PathBuf>,
    /// Tokens of an answer at most [default: until the model ends it]
    #[arg(short, long = "tokens", value_name = "N")]
    n: Option<usize>,
    /// When the context is full, leave out the oldest messages
    #[arg(long)]
    context_shift: bool,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    runtime: Runtime,
}

pub fn run(args: Args) -> Result<Outcome> {
    // Ctrl-C is for answers; who presses it over and over wants to leave.
    let interrupt = Interrupt::listen_until(5)?;
    let model = args.runtime.open(args.model.as_deref())?;
    let tokenizer = runtime::tokenizer(&model)?;
    let metadata = model.metadata();
    let template = match &args.template {
        Some(name) => Template::from_name(name, metadata)?,
        None => Template::detect(metadata, &tokenizer).context(
            "the file does not tell how a conversation is written for this model, which may not be made for it; \
             --template says how (v1, v2, v3, v7, v11, v13, or a Jinja file)",
        )?,
    };
    let session = Session::new(args.runtime.context(&model)?);
    let mut dialogue = Dialogue::new(session, &tokenizer, template);
    dialogue.system = args.system.clone().unwrap_or_default();
    let mut chat = Chat {
        sampler: args.sampling.sampler(&tokenizer)?,
        screen: Screen::new(),
        tokenizer: &tokenizer,
        dialogue,
        interrupt,
        args: &args,
        sampling: args.sampling.clone(),
    };
    if let Some(file) = &args.load {
        chat.load(file)?;
    }
    args.runtime.threads()?.run(|| chat.talk())
}

/// The settings that `/set` changes, as options of a command line.
#[derive(Parser)]
#[command(
    no_binary_name = true,
    disable_help_flag = true,
    override_usage = "/set NAME VALUE"
)]
struct Settings {
    #[command(flatten)]
    sampling: Sampling,
}

struct Chat<'m, 'a> {
    args: &'a Args,
    tokenizer: &'m Tokenizer,
    dialogue: Dialogue<'m>,
    sampling: Sampling,
    sampler: Sampler,
    interrupt: Interrupt,
    screen: Screen,
}

impl Chat<'_, '_> {
    /// Reads entries and does what they say, until they end.
    fn talk(&mut self) -> Result<Outcome> {
        let mut source = Source::new(self.screen.colour())?;
        if matches!(source, Source::Terminal(_)) {
            let template = self.dialogue.template();
            self.screen.notice(format!(
                "Format {template}. /help shows the commands, Ctrl-D ends."
            ));
        }
        loop {
            let entry = match source.next()? {
                Input::Entry(entry) => entry,
                Input::Interrupt => {
                    self.screen.notice("Ctrl-D or /exit ends the program.");
                    continue;
                }
                Input::Damaged => {
                    self.screen
                        .notice("Bytes that are no UTF-8 came: the line is dropped.");
                    continue;
                }
                Input::End => return Ok(Outcome::Done),
            };
            if let Source::Pipe(pipe) = &mut source
                && std::mem::take(&mut pipe.damaged)
            {
                self.screen
                    .notice("Bytes that are no UTF-8 were replaced by U+FFFD.");
            }
            self.interrupt.clear();
            match Command::parse(&entry) {
                Ok(Command::Exit) => return Ok(Outcome::Done),
                Ok(command) => {
                    if let Err(error) = self.obey(command) {
                        self.screen.problem(&error)?;
                    }
                }
                Err(mistake) => self.screen.notice(mistake),
            }
        }
    }

    fn obey(&mut self, command: Command) -> Result<()> {
        let dialogue = &mut self.dialogue;
        match command {
            Command::Say(text) if text.trim().is_empty() => {}
            Command::Say(text) => {
                dialogue.messages.push(Message::user(text));
                return self.answer();
            }
            Command::Help => self.help(),
            Command::System(None) if dialogue.system.is_empty() => {
                self.screen.notice("There is no system text.")
            }
            Command::System(None) => self.screen.notice(&dialogue.system),
            Command::System(Some(text)) => {
                dialogue.system = if text == "-" { String::new() } else { text };
                self.screen
                    .notice("From your next message on, the conversation has this system text.");
            }
            Command::Reset => {
                dialogue.messages.clear();
                self.screen.notice("A new conversation.");
            }
            Command::Undo => {
                let done = dialogue.undo();
                let left = dialogue.messages.len();
                self.screen.notice(match done {
                    true => {
                        format!("Your last message and its answer are forgotten; {left} messages are left.")
                    }
                    false => "There is nothing to undo.".to_owned(),
                });
            }
            Command::Retry if dialogue.undo_answer() => return self.answer(),
            Command::Retry => self.screen.notice("There is nothing to answer."),
            Command::Save(file) => {
                saved::write(&file, dialogue)?;
                self.screen.notice(format!("Saved to {}.", file.display()));
            }
            Command::Load(file) => self.load(&file)?,
            Command::Set(words) => self.set(&words)?,
            Command::Stats => self.stats(),
            Command::Exit => unreachable!("ends the loop"),
        }
        Ok(())
    }

    /// Answers the last message, and says why an answer ended early.
    fn answer(&mut self) -> Result<()> {
        if let Err(full) = self.dialogue.check_room(self.dialogue.tokens()?.len()) {
            if !self.args.context_shift {
                self.dialogue.undo();
                bail!(full);
            }
            let out = self.dialogue.shift()?;
            self.screen.notice(format!(
                "The context is full: the oldest {out} messages are left out from here on."
            ));
        }
        let most = self.args.n.unwrap_or(usize::MAX);
        let screen = &mut self.screen;
        let answered = self
            .dialogue
            .answer(&mut self.sampler, most, &self.interrupt, |piece| {
                screen.show(piece)
            });
        self.screen.end_answer()?;
        let answered = match answered {
            // A message that the format refuses is not kept.
            Err(error) if self.dialogue.messages.last().is_some_and(|m| m.role() == "user") => {
                self.dialogue.undo();
                return Err(error);
            }
            other => other?,
        };
        match answered {
            End::Whole => {}
            End::Length => self.screen.notice(format!("Stopped after {most} tokens (-n).")),
            End::Interrupted => self
                .screen
                .notice("Stopped. /retry answers again, /undo takes your message back."),
            End::Full => {
                let capacity = self.dialogue.session.context().capacity().unwrap_or_default();
                let advice = match self.args.context_shift {
                    true => "the next message leaves out the oldest ones",
                    false => "/undo or /reset, or start with a larger --ctx or with --context-shift",
                };
                self.screen.notice(format!(
                    "Stopped: the context of {capacity} tokens is full; {advice}."
                ));
            }
        }
        Ok(())
    }

    fn help(&mut self) {
        for (name, takes, what) in COMMANDS {
            self.screen
                .notice(format!("{:<19}{what}", format!("{name} {takes}")));
        }
        self.screen
            .notice("A line that ends with \\ goes on in the next; \"\"\" begins and ends several lines.");
    }

    fn load(&mut self, file: &Path) -> Result<()> {
        let conversation = saved::read(file)?;
        let (system, messages) = saved::split(conversation.messages);
        (self.dialogue.system, self.dialogue.messages) = (system, messages);
        let count = self.dialogue.messages.len();
        self.screen
            .notice(format!("{count} messages from {}.", file.display()));
        Ok(())
    }

    /// Changes a setting of the sampler: its name and value are those of the command line.
    fn set(&mut self, words: &[String]) -> Result<()> {
        if words.is_empty() {
            return self.show_settings();
        }
        let mut changed = Settings {
            sampling: self.sampling.clone(),
        };
        let option = format!("--{}", words[0].trim_start_matches('-'));
        let words = std::iter::once(&option).chain(&words[1..]);
        if let Err(error) = changed.try_update_from(words) {
            let reason = error.to_string();
            let line = reason.lines().next().unwrap_or_default();
            bail!("{}", line.trim_start_matches("error: "));
        }
        self.sampler = changed.sampling.sampler(self.tokenizer)?;
        self.sampling = changed.sampling;
        self.show_settings()
    }

    fn show_settings(&mut self) -> Result<()> {
        let options = self.sampling.options(self.tokenizer)?;
        let samplers: Vec<&str> = options.samplers.iter().map(|kind| kind.name()).collect();
        self.screen.notice(format!(
            "temp {}  top-k {}  top-p {}  min-p {}  typical {}  repeat-penalty {}  frequency-penalty {}  \
             presence-penalty {}\nsamplers {}; seed {}",
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
        ));
        Ok(())
    }

    fn stats(&mut self) {
        let (last, context) = (&self.dialogue.last, self.dialogue.session.context());
        let rate = |tokens: usize, time: std::time::Duration| tokens as f64 / time.as_secs_f64().max(1e-9);
        let capacity = context
            .capacity()
            .map_or("any number (sliding window)".to_owned(), |c| c.to_string());
        let lines = [
            format!(
                "conversation   {} tokens of {capacity}",
                self.dialogue.session.len()
            ),
            format!(
                "last prompt    {} tokens, {} of them read anew at {:.1} tok/s",
                last.prompt,
                last.read,
                rate(last.read, last.reading)
            ),
            format!(
                "last answer    {} tokens at {:.1} tok/s",
                last.answer,
                rate(last.answer, last.answering)
            ),
            format!(
                "keys, values   {:.1} MiB",
                context.kv_bytes() as f64 / f64::from(1 << 20)
            ),
            format!("seed           {}", self.sampler.seed()),
        ];
        for line in lines {
            self.screen.notice(line);
        }
    }
}
