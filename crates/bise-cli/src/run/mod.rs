//! `bise run`: continue a text.

mod args;
mod output;
mod prompt;
mod results;
mod rows;
mod stats;
mod text;

pub use args::Args;

use crate::drafts;
use crate::interrupt::Interrupt;
use crate::messages::{note, say};
use crate::outcome::Outcome;
use crate::progress::Bar;
use crate::runtime;
use crate::usage::Misuse;
use anyhow::{Context as _, Result, ensure};
use bise_model::Stop;
use bise_model::StopTexts;
use bise_model::chat::{Content, Voice};
use bise_model::tokenizer::{TokenKind, Tokenizer};
use output::{End, LogprobsSender, Output};
use stats::Clock;
use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::Duration;
use text::Text;

pub fn run(args: Args) -> Result<Outcome> {
    let options = &args.chat_options;
    ensure!(
        options.template.is_none() || options.chat || args.rows.input_jsonl.is_some(),
        Misuse("--template is of use with --chat or --input-jsonl only".to_owned())
    );
    ensure!(
        !args.rows.together.is_given() || args.rows.input_jsonl.is_some(),
        Misuse("--sequences and --kv-memory are of use with --input-jsonl only".to_owned())
    );
    if let Some(input) = &args.rows.input_jsonl {
        return rows::run(&args, input);
    }
    let keeper = args.sessions.claim(&args.inputs())?;
    let prompt = prompt::read(&args)?;
    let model = args.runtime.open(args.which.path())?;
    let tokenizer =
        runtime::tokenizer_for(&model, args.which.path(), args.chat_options.template.as_deref())?;
    args.hint(model.metadata());
    let draft = args.drafts.model(&args.runtime)?;
    let session = args.drafts.session(&model, draft.as_ref(), &args.runtime)?;
    let mut text = Text::new(&args, &tokenizer, session, keeper)?;
    let tokens = prompt::encode(&args, &prompt, &model, &tokenizer, &mut text)?;
    text.constrain(&tokens)?;

    let shown = &args.shown;
    let logprobs = shown.logprobs.map(|n| {
        let (to, from) = mpsc::channel();
        text.sampler
            .set_observer(Some(Box::new(LogprobsSender { n, to })));
        from
    });
    let mut out = Output::new(shown.form(), &tokenizer, logprobs);
    let prompt = String::from_utf8_lossy(&prompt);
    let echoed = args.echoes().then_some(&*prompt);
    if let Some(prompt) = echoed {
        out.prompt(prompt);
    }
    let mut pieces = text.detokenizer();
    let mut stops = StopTexts::new(&args.stop);
    // Before the first token there is no text to lose.
    let interrupt =
        Interrupt::listen_for(Duration::from_millis(300), "stopped while the prompt was read");
    let bar = Bar::tokens("reading", tokens.len());
    text.session.watch_progress(Some(bar.watch_reading(&interrupt)));
    let mut clock = Clock::start(tokens.len());
    let mut answer = Answer::new(args.chat_options.chat.then(|| Voice::new(&tokenizer)));
    let receive = |token| {
        if bar.end() {
            interrupt.take_time();
        }
        clock.token();
        answer.ids.push(token);
        let piece = pieces.push(token);
        if answer.thinks(token) {
            out.thought(token, piece);
        } else {
            let mut piece = stops.push(piece);
            if tokenizer.kind(token) == Some(TokenKind::Control) {
                piece.push_str(&stops.push_control(tokenizer.piece(token)));
            }
            answer.text.push_str(&piece);
            out.token(token, &piece);
        }
        if stops.found().is_some() || interrupt.pressed() || out.failed() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let stop = args.runtime.threads()?.run(|| text.generate(&tokens, receive));

    bar.end();
    interrupt.take_time();
    let mut rest = stops.push(pieces.finish());
    rest.push_str(&stops.finish());
    answer.text.push_str(&rest);
    let whole = matches!(stop, Ok(Stop::EndOfText | Stop::Length));
    text.answered(answer.content(&tokenizer, stops.found().is_some()), whole);
    let reason = match &stop {
        _ if stops.found().is_some() => "stop",
        Ok(Stop::EndOfText) => "end",
        Ok(Stop::Length) => "length",
        Ok(Stop::Asked) => "interrupt",
        Err(_) => "error",
    };
    let end_token = text.session.tokens().last().copied().filter(|_| reason == "end");
    let cut_off = if reason == "length" { text.cut_off()? } else { None };
    let (stats, seed) = (
        clock.stats(text.session.context(), text.known, text.unknown),
        text.sampler.seed(),
    );
    let end = End {
        prompt: echoed,
        reason,
        stop_text: stops.found(),
        end_token,
        end_tokens: tokenizer.ends(),
        seed,
        stats: &stats,
    };
    out.finish(&rest, &end);
    if let Some(error) = out.error() {
        return Err(error).context("cannot write to standard output");
    }
    text.keep()?;
    text.notes.drain(..).for_each(note);
    if shown.stats {
        say(stats.line(seed));
        drafts::report(&text.session).into_iter().for_each(say);
    }
    stop?;
    Ok(match reason {
        "interrupt" => Outcome::Interrupted,
        _ => match cut_off {
            Some(why) => {
                note(why);
                Outcome::CutOff
            }
            None => Outcome::Done,
        },
    })
}

/// What the model says, and thinks in a conversation.
struct Answer {
    voice: Option<Voice>,
    ids: Vec<u32>,
    text: String,
}

impl Answer {
    fn new(voice: Option<Voice>) -> Self {
        Self {
            voice,
            ids: Vec::new(),
            text: String::new(),
        }
    }

    fn thinks(&mut self, token: u32) -> bool {
        self.voice.as_mut().is_some_and(|voice| voice.hears(token))
    }

    /// What is kept of it; a text that was stopped ends before the stop text.
    fn content(&self, tokenizer: &Tokenizer, stopped: bool) -> Content {
        match self.voice {
            Some(voice) if voice.has_thought() && !stopped => {
                Content::of_answer(tokenizer, &self.ids)
            }
            _ => self.text.trim_end().into(),
        }
    }
}
