//! The text of `bise run`: where it goes on, what it follows, and what is kept of it.

use super::args::Args;
use crate::chat::saved;
use crate::constraint::{Asked, Table};
use crate::messages::note;
use crate::session::{Keeper, Notes, Talk};
use anyhow::{Context as _, Result, bail, ensure};
use bise_model::chat::{Content, Conversation, Message};
use bise_model::sampler::{Mask as _, Sampler};
use bise_model::tokenizer::{Detokenizer, Tokenizer};
use bise_model::{ForwardError, GenerateError, Limits, Session, Stop};
use bise_serve::sampling::Sampling;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// How often a long text is kept while it is made.
const EVERY: Duration = Duration::from_secs(60);

/// A text in progress.
pub struct Text<'m, 'a> {
    args: &'a Args,
    tokenizer: &'m Tokenizer,
    pub session: Session,
    pub sampler: Sampler,
    sampling: Sampling,
    constraint: Option<Asked>,
    /// Where the constrained text begins.
    from: Option<usize>,
    /// Tokens at the beginning that stay when the context is full.
    stays: Option<usize>,
    /// With --chat.
    pub talk: Option<Conversing>,
    keeper: Keeper,
    /// Tokens before the text that were known from a session or the prompt cache, and those that
    /// were not.
    pub known: usize,
    pub unknown: usize,
    /// What the user should know after the text.
    pub notes: Vec<String>,
}

/// The conversation that an answer is made for.
#[derive(Default)]
pub struct Conversing {
    /// The format that was asked for.
    pub template: Option<String>,
    pub system: String,
    pub messages: Vec<Message>,
}

impl Conversing {
    fn from_notes(talk: Talk) -> Result<Self> {
        let conversation = Conversation::from_json(&talk.messages.to_string())?;
        let (system, messages) = saved::split(conversation.into_messages());
        Ok(Self {
            template: talk.template,
            system,
            messages,
        })
    }
}

impl<'m, 'a> Text<'m, 'a> {
    /// The text of --session, or an empty one.
    pub fn new(
        args: &'a Args,
        tokenizer: &'m Tokenizer,
        mut session: Session,
        keeper: Keeper,
    ) -> Result<Self> {
        let mut resumed = args.sessions.resume(&mut session)?.unwrap_or_default();
        let chat = args.chat_options.chat;
        let talk = resumed.notes.chat.take().map(Conversing::from_notes);
        let talk = talk.transpose()?;
        ensure!(
            chat || talk.is_none(),
            "the session is a conversation: --chat goes on with it, and so does bise chat --session"
        );
        ensure!(
            !chat || talk.is_some() || session.is_empty(),
            "--chat: the session has a text that is no conversation; name another session, or leave --chat out to go on with it"
        );
        let (sampler, sampling, news) = resumed.sampler(&args.sampling, tokenizer)?;
        news.into_iter().for_each(note);
        Ok(Self {
            args,
            tokenizer,
            session,
            sampler,
            sampling,
            constraint: resumed.notes.constraint,
            from: resumed.notes.constrained_from,
            stays: resumed.notes.stays.filter(|_| !chat),
            talk: chat.then(|| talk.unwrap_or_default()),
            keeper,
            known: 0,
            unknown: 0,
            notes: Vec::new(),
        })
    }

    /// Makes what follows `prompt` keep to the constraint. One that the session's text has not
    /// fulfilled yet goes on holding if there is nothing between.
    pub fn constrain(&mut self, prompt: &[u32]) -> Result<()> {
        let asked = self.args.constraints.asked()?;
        let left = self.constraint.take().zip(self.from.take());
        let goes_on = |(before, _): &(Asked, usize)| {
            prompt.is_empty() && asked.as_ref().is_none_or(|asked| asked.grammar == before.grammar)
        };
        let (asked, from) = match (left.filter(goes_on), asked) {
            (Some((asked, from)), _) => (asked, from),
            (None, Some(asked)) => (asked, self.session.len() + prompt.len()),
            (None, None) => return Ok(()),
        };
        ensure!(
            !self.args.ignore_eos,
            "--ignore-eos: the session's text must still follow {}, and end then",
            asked.name
        );
        let mut constraint = asked.constraint(Table::default().of(self.tokenizer)?)?;
        constraint.begin(from)?;
        self.sampler.set_mask(Some(Box::new(constraint)));
        (self.constraint, self.from) = (Some(asked), Some(from));
        Ok(())
    }

    /// An answer begins a text, and has no space in front; a text that follows a grammar is shown
    /// to the letter.
    pub fn detokenizer(&self) -> Detokenizer<'m> {
        if self.args.chat_options.chat && self.constraint.is_none() {
            Detokenizer::new(self.tokenizer)
        } else {
            Detokenizer::continuing(self.tokenizer)
        }
    }

    /// Adds `prompt` and generates, as [`Session::generate`] does.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        mut receive: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Stop> {
        let (args, session) = (self.args, &mut self.session);
        let fits = session.room().is_none_or(|room| room > prompt.len());
        self.known = session.context().len();
        if session.is_empty() && fits {
            match args.sessions.begin(session, prompt)? {
                Some(known) => self.known = known,
                None => return Ok(Stop::Asked),
            }
        } else {
            session.append(prompt);
        }
        self.unknown = session.len() - self.known;
        let end = if args.ignore_eos {
            &[]
        } else {
            self.tokenizer.ends()
        };
        let mut left = usize::try_from(args.n).unwrap_or(usize::MAX);
        let keep = *self.stays.get_or_insert(session.len());
        loop {
            let (start, mut due) = (Instant::now(), false);
            let limits = Limits {
                max_tokens: left,
                end,
            };
            let result = self.session.generate(&[], limits, &mut self.sampler, |token| {
                left -= 1;
                due = self.talk.is_none() && start.elapsed() > EVERY;
                match receive(token) {
                    ControlFlow::Continue(()) if due => ControlFlow::Break(()),
                    asked => {
                        due = false;
                        asked
                    }
                }
            });
            match result {
                Ok(Stop::Asked) if due => self.keep_on(),
                Err(GenerateError::Forward(ForwardError::ContextFull { .. }))
                    if self.constraint.is_some() =>
                {
                    // It cannot lose its beginning.
                    return Ok(Stop::Length);
                }
                Err(error @ GenerateError::Forward(ForwardError::ContextFull { .. })) => {
                    self.make_room(keep, error)?;
                }
                Ok(Stop::EndOfText) => {
                    (self.constraint, self.from) = (None, None);
                    return Ok(Stop::EndOfText);
                }
                other => return Ok(other?),
            }
        }
    }

    /// Drops the oldest tokens after the first `keep` and says so, if that was asked for; the
    /// context is full, as `error` says.
    fn make_room(&mut self, keep: usize, error: GenerateError) -> Result<()> {
        if !self.args.context_shift {
            bail!("{error}; a larger context (-c) or --context-shift would let it go on");
        }
        let capacity = self.session.context().capacity().unwrap_or(usize::MAX);
        // A prompt that leaves no room for a text to follow is not kept whole.
        let keep = keep.min(capacity / 2);
        let len = self.session.len();
        let dropped = self.session.make_room(keep, 0).with_context(|| {
            format!("{len} tokens cannot be made to fit a context of {capacity}")
        })?;
        self.notes.push(format!(
            "the context of {capacity} tokens is full: dropped {dropped} of {len}, after the first {keep}"
        ));
        Ok(())
    }

    /// What a text lacks that was stopped before its grammar let it end, and what stopped it;
    /// `None` for a text that could end.
    pub fn cut_off(&mut self) -> Result<Option<String>> {
        let (Some(asked), Some(from)) = (&self.constraint, self.from) else {
            return Ok(None);
        };
        let mut constraint = asked.constraint(Table::default().of(self.tokenizer)?)?;
        let read = constraint
            .begin(from)
            .and_then(|()| constraint.look(self.session.tokens()));
        if read.is_ok() && constraint.is_complete() {
            return Ok(None);
        }
        let why = match self.session.room() {
            Some(0) => {
                let capacity = self.session.context().capacity().unwrap_or_default();
                format!(
                    "the context of {capacity} tokens is full; a larger one (-c) would let it go on"
                )
            }
            _ => format!("more than {} tokens (-n) would let it go on", self.args.n),
        };
        Ok(Some(format!(
            "the text was cut off before {} let it end: {why}",
            asked.name
        )))
    }

    /// Makes `answer` the conversation's next message, if there is one; a message to which nothing
    /// could be said is forgotten.
    pub fn answered(&mut self, answer: Content, good: bool) {
        let Some(talk) = &mut self.talk else {
            return;
        };
        if good || !answer.is_empty() {
            talk.messages.push(Message::assistant(answer));
        } else {
            talk.messages.pop();
        }
    }

    /// Keeps the session in the middle of the text, if asked to. What cannot be kept now may be
    /// later.
    fn keep_on(&mut self) {
        let notes = self.notes();
        if let Err(error) = self.keeper.keep_on(&mut self.session, &self.sampler, &notes) {
            note(format_args!("{error:#}"));
        }
    }

    /// Keeps the session, if asked to.
    pub fn keep(&mut self) -> Result<()> {
        let notes = self.notes();
        self.keeper.finish(&mut self.session, &self.sampler, &notes)
    }

    fn notes(&self) -> Notes {
        Notes {
            sampling: self.sampling.clone(),
            constraint: self.constraint.clone(),
            constrained_from: self.from,
            stays: self.stays.filter(|_| self.talk.is_none()),
            chat: self.talk.as_ref().map(|talk| Talk {
                template: talk.template.clone(),
                messages: saved::messages(&talk.system, &talk.messages),
            }),
        }
    }
}
