//! `bise chat`: talk with a model.

mod command;
mod dialogue;
mod entry;
mod input;
pub mod saved;
mod screen;
mod settings;
mod wrap;

use crate::constraint::{Asked, Constraints};
use crate::drafts::{self, Drafts};
use crate::interrupt::{self, Interrupt};
use crate::loading::WhichAndText;
use crate::outcome::Outcome;
use crate::runtime::{self, Runtime};
use crate::sampling::Sampling;
use crate::session::{Keeper, Notes, Sessions, Talk};
use anyhow::{Context as _, Result, bail, ensure};
use bise_model::chat::{Conversation, Message};
use bise_model::sampler::Sampler;
use bise_model::tokenizer::Tokenizer;
use bise_serve::sampling::Sampling as Given;
use command::{COMMANDS, Command};
use dialogue::{Dialogue, End};
use input::{Input, Source};
use screen::Screen;
use std::path::{Path, PathBuf};

/// Talk with a model
///
/// Answers appear as they are made; Ctrl-C stops an answer, Ctrl-D or /exit the program. A line
/// that ends with a backslash goes on in the next one, and so does all between two lines of """.
/// /help shows the commands. In a pipe each line, or each text between """, is a message.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: WhichAndText,
    /// What the model should keep to
    #[arg(long, visible_alias = "system-prompt", value_name = "TEXT")]
    system: Option<String>,
    /// Format of the conversation: v1, v2, v3, v7, v11, v13 or v15 of Mistral's, gguf for the
    /// file's Jinja templates, the name of one of them, or a Jinja file [default: what the model's
    /// file asks for]
    #[arg(long, visible_alias = "chat-template", value_name = "NAME|FILE")]
    template: Option<String>,
    /// How much to think: none, minimal, low, medium, high, xhigh or max, where the format has
    /// words for it
    #[arg(long, value_name = "EFFORT")]
    reasoning_effort: Option<String>,
    /// Go on with a conversation that /save wrote
    #[arg(long, value_name = "FILE")]
    load: Option<PathBuf>,
    /// Tokens of an answer at most; -1 until the model ends it
    #[arg(short, long = "tokens", visible_aliases = ["n-predict", "predict"], value_name = "N", default_value_t = -1,
        allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    n: i64,
    /// When the context is full, leave out the oldest messages
    #[arg(long)]
    context_shift: bool,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    constraints: Constraints,
    #[command(flatten)]
    sessions: Sessions,
    #[command(flatten)]
    drafts: Drafts,
    #[command(flatten)]
    runtime: Runtime,
}

/// Ctrl-C is for answers; who presses it over and over wants to leave.
const PRESSES: u32 = 5;

pub fn run(args: Args) -> Result<Outcome> {
    let inputs = args.inputs().into_iter().chain(args.load.as_deref());
    let keeper = args.sessions.claim(&inputs.collect::<Vec<_>>())?;
    let model = args.runtime.open(args.which.path())?;
    let tokenizer = runtime::tokenizer_for(&model, args.which.path(), args.template.as_deref())?;
    let draft = args.drafts.model(&args.runtime)?;
    let mut session = args.drafts.session(&model, draft.as_ref(), &args.runtime)?;
    let resumed = args.sessions.resume(&mut session)?.unwrap_or_default();
    let (sampler, sampling, note) = resumed.sampler(&args.sampling, &tokenizer)?;
    let Notes {
        chat: talk,
        constraint,
        ..
    } = resumed.notes;
    ensure!(
        talk.is_some() || session.is_empty(),
        "the session is a text and no conversation: bise run --session goes on with it, or name another session"
    );
    let named = args.template.clone();
    let named = named.or_else(|| talk.as_ref().and_then(|talk| talk.template.clone()));
    let template =
        runtime::template(named.as_deref(), args.which.path(), model.metadata(), &tokenizer)?;
    let mut chat = Chat {
        dialogue: Dialogue::new(session, &args.sessions, &tokenizer, template),
        sampler,
        sampling,
        named,
        screen: Screen::new(),
        tokenizer: &tokenizer,
        interrupt: Interrupt::listen_until(PRESSES),
        keeper,
        loaded: args.load.clone().into_iter().collect(),
        args: &args,
    };
    note.into_iter().for_each(|note| chat.screen.notice(note));
    let from = chat.begin(talk, constraint)?;
    let outcome = args.runtime.threads()?.run(|| chat.talk(from));
    let notes = chat.notes();
    chat.keeper
        .finish(&mut chat.dialogue.session, &chat.sampler, &notes)?;
    outcome
}

impl Args {
    /// The files that a chat reads, but for conversations.
    fn inputs(&self) -> Vec<&Path> {
        let files = [
            self.which.path(),
            self.template.as_deref().map(Path::new),
            self.constraints.file(),
            self.drafts.file(),
        ];
        let files = files.into_iter().flatten();
        files.chain(self.runtime.adapters()).collect()
    }
}

struct Chat<'m> {
    args: &'m Args,
    tokenizer: &'m Tokenizer,
    dialogue: Dialogue<'m>,
    sampling: Given,
    sampler: Sampler,
    /// The format that was asked for.
    named: Option<String>,
    interrupt: Interrupt,
    screen: Screen,
    keeper: Keeper,
    /// Files of conversations that were taken up.
    loaded: Vec<PathBuf>,
}

impl<'m> Chat<'m> {
    /// Takes up the session's conversation and constraint, or those that the options ask for; gives
    /// the file of the conversation.
    fn begin(&mut self, talk: Option<Talk>, constraint: Option<Asked>) -> Result<Option<&'m Path>> {
        let left = self.args.sessions.left().filter(|_| talk.is_some());
        if let (Some(talk), Some(file)) = (talk, left) {
            let conversation = Conversation::from_json(&talk.messages.to_string());
            let conversation = conversation.with_context(|| file.display().to_string())?;
            self.take_up(conversation);
        }
        let asked = self.args.constraints.asked()?;
        self.dialogue.constrain(asked.or(constraint))?;
        if let Some(file) = &self.args.load {
            ensure!(
                self.dialogue.messages.is_empty(),
                "--load: the session has a conversation already"
            );
            self.take_up(saved::read(file)?);
        }
        self.dialogue
            .reasoning_effort
            .clone_from(&self.args.reasoning_effort);
        if let Some(text) = &self.args.system {
            self.dialogue.system.clone_from(text);
        }
        Ok(self.args.load.as_deref().or(left))
    }

    /// What the session's file says besides its text.
    fn notes(&self) -> Notes {
        let dialogue = &self.dialogue;
        Notes {
            sampling: self.sampling.clone(),
            constraint: dialogue.constraint().cloned(),
            chat: Some(Talk {
                template: self.named.clone(),
                messages: saved::messages(&dialogue.system, &dialogue.messages),
            }),
            ..Notes::default()
        }
    }

    /// Keeps the session, if asked to, so that who kills the program loses nothing that was said. A
    /// message without an answer is not kept: a conversation cannot go on after it.
    fn keep_on(&mut self) -> Result<()> {
        let asked = self
            .dialogue
            .messages
            .last()
            .is_some_and(|last| last.role() == "user");
        if asked {
            return Ok(());
        }
        let notes = self.notes();
        self.keeper
            .keep_on(&mut self.dialogue.session, &self.sampler, &notes)
    }

    /// Reads entries and does what they say, until they end. The conversation is `from` a file.
    fn talk(&mut self, from: Option<&Path>) -> Result<Outcome> {
        interrupt::remember_terminal();
        let mut source = Source::new(self.screen.colour())?;
        if matches!(source, Source::Terminal(_)) {
            if self.args.which.path().is_none() {
                let what = "This is the built-in story teller, which is made for stories more than for answers.";
                self.screen.notice(what);
            }
            let template = self.dialogue.template().describe();
            self.screen.notice(format!(
                "Format {template}. /help shows the commands, Ctrl-D ends."
            ));
        }
        if let Some(file) = from {
            self.show_end(file);
        }
        if let Some(text) = self.args.which.text() {
            self.screen.notice(format_args!("> {text}"));
            self.tell(Command::Say(text.into_owned()))?;
        }
        loop {
            if self.interrupt.asked_to_end() {
                return Ok(Outcome::Interrupted);
            }
            self.interrupt.rest();
            let next = source.next()?;
            self.interrupt.resume(PRESSES);
            let entry = match next {
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
                Ok(command) => self.tell(command)?,
                Err(mistake) => self.screen.notice(format_args!("error: {mistake}")),
            }
        }
    }

    /// Does what the user says, and keeps what that changes: while the next entry is waited for,
    /// nothing is to be lost.
    fn tell(&mut self, command: Command) -> Result<()> {
        let obeyed = self.obey(command);
        for error in [obeyed, self.keep_on()].into_iter().filter_map(Result::err) {
            self.screen.problem(&error)?;
        }
        Ok(())
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
                saved::write(&file, dialogue, &self.args.inputs(), &self.loaded)?;
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
        let most = usize::try_from(self.args.n).unwrap_or(usize::MAX);
        let screen = &mut self.screen;
        let answered =
            self.dialogue
                .answer(&mut self.sampler, most, &self.interrupt, |piece, thinks| {
                    screen.show(piece, thinks)
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
        if let Some(asked) = self.dialogue.cut_off() {
            self.screen
                .notice(format!("The answer ends before {} let it end.", asked.name));
        }
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
                    false => {
                        "/undo or /reset, or start with a larger --ctx or with --context-shift"
                    }
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
        self.screen.notice(
            "A line that ends with \\ goes on in the next; \"\"\" begins and ends several lines.",
        );
    }

    fn load(&mut self, file: &Path) -> Result<()> {
        self.take_up(saved::read(file)?);
        self.loaded.push(file.to_owned());
        self.show_end(file);
        Ok(())
    }

    fn take_up(&mut self, conversation: Conversation) {
        let (system, messages) = saved::split(conversation.into_messages());
        (self.dialogue.system, self.dialogue.messages) = (system, messages);
    }

    /// Shows where the conversation of `file` was.
    fn show_end(&self, file: &Path) {
        let messages = &self.dialogue.messages;
        self.screen
            .notice(format!("{} messages from {}.", messages.len(), file.display()));
        let last = messages.iter().rposition(|message| message.role() == "user");
        for message in &messages[last.unwrap_or(messages.len())..] {
            let mark = if message.role() == "user" { "> " } else { "" };
            self.screen.notice(format!("{mark}{}", message.text()));
        }
    }

    fn stats(&mut self) {
        let (last, context) = (&self.dialogue.last, self.dialogue.session.context());
        let rate =
            |tokens: usize, time: std::time::Duration| tokens as f64 / time.as_secs_f64().max(1e-9);
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
        let drafts =
            drafts::report(&self.dialogue.session).map(|report| format!("drafts         {report}"));
        for line in lines.into_iter().chain(drafts) {
            self.screen.notice(line);
        }
    }
}
