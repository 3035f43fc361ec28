//! A conversation with a model, and the text that it is to the model.

use crate::constraint::{Asked, Table};
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::session::Sessions;
use anyhow::{Result, ensure};
use bise_model::chat::{Content, Conversation, Message, Template, Voice};
use bise_model::sampler::{Mask, Sampler};
use bise_model::tokenizer::{Detokenizer, Tokenizer};
use bise_model::{Limits, Session, Stop};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Tokens of the context that an answer must find free.
pub const ROOM: usize = 16;

/// Messages, and the session that reads them.
pub struct Dialogue<'m> {
    pub session: Session,
    /// Where prompts that were read before are.
    sessions: &'m Sessions,
    tokenizer: &'m Tokenizer,
    table: Table,
    /// What answers follow.
    constraint: Option<Asked>,
    template: Template,
    /// What the model should keep to; empty for nothing.
    pub system: String,
    /// In turns: the user's, the model's.
    pub messages: Vec<Message>,
    /// How much the model is asked to think.
    pub reasoning_effort: Option<String>,
    /// Whether the last answer was stopped before the constraint let it end.
    cut_off: bool,
    pub last: Timing,
}

/// How an answer ended.
pub enum End {
    /// The model had said all.
    Whole,
    /// The limit on tokens was reached.
    Length,
    /// The user stopped it.
    Interrupted,
    /// There was no room left for more.
    Full,
}

/// What an answer took.
#[derive(Default)]
pub struct Timing {
    /// Tokens of the conversation before the answer.
    pub prompt: usize,
    /// Those that were read for this answer; the others were known already.
    pub read: usize,
    pub reading: Duration,
    pub answer: usize,
    pub answering: Duration,
}

/// What an answer needs, and what the context holds.
#[derive(Debug, thiserror::Error)]
#[error(
    "the conversation has {tokens} tokens, and the context holds {capacity}: /undo or /reset it, start again with a larger \
     --ctx, or with --context-shift, which leaves out the oldest messages"
)]
pub struct Full {
    tokens: usize,
    capacity: usize,
}

impl<'m> Dialogue<'m> {
    pub fn new(
        session: Session,
        sessions: &'m Sessions,
        tokenizer: &'m Tokenizer,
        template: Template,
    ) -> Self {
        Self {
            session,
            sessions,
            tokenizer,
            table: Table::default(),
            constraint: None,
            template,
            system: String::new(),
            messages: Vec::new(),
            reasoning_effort: None,
            cut_off: false,
            last: Timing::default(),
        }
    }

    /// The format that the model reads.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// What answers follow.
    pub fn constraint(&self) -> Option<&Asked> {
        self.constraint.as_ref()
    }

    /// Makes answers follow `asked`, or nothing.
    ///
    /// # Errors
    /// When it is no grammar; nothing changes then.
    pub fn constrain(&mut self, asked: Option<Asked>) -> Result<()> {
        if let Some(asked) = &asked {
            asked.constraint(self.table.of(self.tokenizer)?)?;
        }
        self.constraint = asked;
        Ok(())
    }

    /// The tokens of the conversation up to where the answer to its last message begins.
    pub fn tokens(&self) -> Result<Vec<u32>> {
        let system = Some(Message::system(&self.system)).filter(|_| !self.system.is_empty());
        let messages: Vec<Message> =
            system.into_iter().chain(self.messages.iter().cloned()).collect();
        let conversation =
            Conversation::new(messages, []).with_reasoning_effort(self.reasoning_effort.as_deref());
        Ok(self.template.encode_conversation(self.tokenizer, &conversation)?)
    }

    /// Leaves out the oldest messages until an answer has room; gives how many.
    ///
    /// # Errors
    /// When even the last message alone is too long.
    pub fn shift(&mut self) -> Result<usize> {
        let mut out = 0;
        while let Err(full) = self.check_room(self.tokens()?.len()) {
            ensure!(self.messages.len() > 2, full);
            self.messages.drain(..2);
            out += 2;
        }
        Ok(out)
    }

    /// Whether `tokens` leave room for an answer.
    ///
    /// # Errors
    /// [`Full`] when not.
    pub fn check_room(&self, tokens: usize) -> Result<(), Full> {
        match self.session.context().capacity() {
            Some(capacity) if tokens + ROOM > capacity => Err(Full { tokens, capacity }),
            _ => Ok(()),
        }
    }

    /// Answers the last message, which is the user's, in at most `most` tokens, and hands the text
    /// to `show` as it comes. What was said becomes a message, also when it was cut short.
    ///
    /// # Errors
    /// When the conversation does not fit the format or the context; nothing has been said then.
    pub fn answer(
        &mut self,
        sampler: &mut Sampler,
        most: usize,
        interrupt: &Interrupt,
        mut show: impl FnMut(&str, bool),
    ) -> Result<End> {
        let tokens = self.tokens()?;
        self.check_room(tokens.len())?;
        self.last = Timing {
            prompt: tokens.len(),
            ..Timing::default()
        };
        if !self.read(&tokens, interrupt)? {
            return Ok(End::Interrupted);
        }
        let limits = Limits {
            max_tokens: most.min(self.session.room().unwrap_or(usize::MAX)),
            end: self.tokenizer.ends(),
        };
        let mut text = match self.mask(sampler)? {
            // It is shown to the letter.
            true => Detokenizer::continuing(self.tokenizer),
            false => Detokenizer::new(self.tokenizer),
        };
        let (start, mut said) = (Instant::now(), String::new());
        let (mut ids, mut voice) = (Vec::new(), Voice::new(self.tokenizer));
        let receive = |token| {
            ids.push(token);
            let piece = text.push(token);
            show(piece, voice.hears(token));
            said.push_str(piece);
            match interrupt.pressed() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let stop = self.session.generate(&[], limits, sampler, receive)?;
        let rest = text.finish();
        show(rest, false);
        said.push_str(rest);
        let answer = ids.len();
        self.cut_off = self.is_cut_off(&ids, stop)?;
        (self.last.answer, self.last.answering) = (answer, start.elapsed());
        if answer == 0 && stop == Stop::Asked {
            return Ok(End::Interrupted);
        }
        self.messages.push(Message::assistant(match voice.has_thought() {
            true => Content::of_answer(self.tokenizer, &ids),
            false => said.trim_end().into(),
        }));
        Ok(match stop {
            Stop::EndOfText => End::Whole,
            Stop::Asked => End::Interrupted,
            Stop::Length if answer < most => End::Full,
            Stop::Length => End::Length,
        })
    }

    /// Whether the answer `ids` was stopped where the constraint does not let it end.
    fn is_cut_off(&mut self, ids: &[u32], stop: Stop) -> Result<bool> {
        let Some(asked) = self.constraint.as_ref().filter(|_| stop == Stop::Length) else {
            return Ok(false);
        };
        let mut constraint = asked.constraint(self.table.of(self.tokenizer)?)?;
        let read = constraint.begin(0).and_then(|()| constraint.look(ids));
        Ok(read.is_err() || !constraint.is_complete())
    }

    /// What the last answer should have followed to its end and did not.
    pub fn cut_off(&self) -> Option<&Asked> {
        self.constraint.as_ref().filter(|_| self.cut_off)
    }

    /// Makes `sampler` follow the constraint from the next token on; false when there is none.
    fn mask(&mut self, sampler: &mut Sampler) -> Result<bool> {
        let table = &mut self.table;
        let of = |asked: &Asked| -> Result<Box<dyn Mask>> {
            let mut constraint = asked.constraint(table.of(self.tokenizer)?)?;
            constraint.begin(self.session.tokens().len())?;
            Ok(Box::new(constraint))
        };
        sampler.set_mask(self.constraint.as_ref().map(of).transpose()?);
        Ok(self.constraint.is_some())
    }

    /// Reads `tokens`, of which the beginning may be known; false when the user did not want to
    /// wait.
    fn read(&mut self, tokens: &[u32], interrupt: &Interrupt) -> Result<bool> {
        let start = Instant::now();
        let bar = Bar::tokens("reading", tokens.len());
        self.session.watch_progress(Some(bar.watch_reading(interrupt)));
        let begun = self.sessions.begin(&mut self.session, tokens);
        bar.end();
        let Some(known) = begun? else {
            return Ok(false);
        };
        (self.last.read, self.last.reading) = (tokens.len() - known, start.elapsed());
        Ok(true)
    }

    /// Takes back the user's last message and the answer to it; false when there is none.
    pub fn undo(&mut self) -> bool {
        let asked = self.asked();
        self.messages.truncate(asked.unwrap_or(usize::MAX));
        asked.is_some()
    }

    /// Takes back the answer to the user's last message; false when there is no such message.
    pub fn undo_answer(&mut self) -> bool {
        let asked = self.asked();
        self.messages
            .truncate(asked.map_or(usize::MAX, |asked| asked + 1));
        asked.is_some()
    }

    /// Where the user's last message is.
    fn asked(&self) -> Option<usize> {
        let is_users = |message: &Message| matches!(message, Message::User { .. });
        self.messages.iter().rposition(is_users)
    }
}
