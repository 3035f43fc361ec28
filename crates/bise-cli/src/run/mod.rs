//! `bise run`: continue a text.

mod output;
mod prompt;
mod results;
mod rows;
mod stats;
mod text;

use crate::Outcome;
use crate::constraint::Constraints;
use crate::drafts::{self, Drafts};
use crate::interrupt::Interrupt;
use crate::loading::WhichAndText;
use crate::messages::{note, say};
use crate::progress::Bar;
use crate::runtime::{self, Runtime};
use crate::sampling::Sampling;
use crate::session::Sessions;
use crate::stop_texts::StopTexts;
use crate::usage::Misuse;
use anyhow::{Context as _, Result, ensure};
use bise_format::gguf::Metadata;
use bise_model::Stop;
use bise_model::chat::{Content, Voice};
use bise_model::tokenizer::{TokenKind, Tokenizer};
use output::{End, Form, LogprobsSender, Output};
use stats::Clock;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use text::Text;

/// Continue a text
///
/// The prompt comes after MODEL or from -p, from a file, or from standard input; with --chat it is the first message of a
/// conversation, and the text is the model's answer. The text goes to standard output as it is made; what an answering model
/// thinks before goes to standard error. Exit codes: 0 the text ended or is as long as asked for, 1 an error, 2 a wrong use,
/// 3 the text was cut off before --json-mode, --json-schema, --regex or --grammar let it end.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: WhichAndText,
    /// The text to continue [default: standard input]
    #[arg(short, long, value_name = "TEXT", conflicts_with_all = ["file", "text"], allow_hyphen_values = true)]
    prompt: Option<String>,
    /// File with the text to continue; - is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// Tokens to generate; -1 until the model ends the text
    #[arg(short, long = "tokens", visible_aliases = ["n-predict", "predict"], value_name = "N", default_value_t = -1,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i64).range(-1..))]
    n: i64,
    /// End the text where this text begins, which is not shown; a control token by its name; can be repeated
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Go on after the model ends the text
    #[arg(long, conflicts_with_all = ["json_mode", "json_schema", "regex", "grammar"])]
    ignore_eos: bool,
    /// Fill the gap between the prompt and this text, with a model that is made for it
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "chat",
        allow_hyphen_values = true
    )]
    suffix: Option<String>,
    /// When the context is full, drop the oldest half of what follows the prompt, and go on
    #[arg(long)]
    context_shift: bool,
    #[command(flatten)]
    rows: rows::Rows,
    #[command(flatten)]
    chat_options: ChatOptions,
    #[command(flatten)]
    shown: Shown,
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

/// A conversation of one message.
#[derive(clap::Args)]
#[command(next_help_heading = "Chat")]
struct ChatOptions {
    /// Put the prompt to the model as a message, in the model's chat format
    #[arg(long)]
    chat: bool,
    /// What the model is told before the message
    #[arg(long, visible_alias = "system-prompt", value_name = "TEXT", requires = "chat")]
    system: Option<String>,
    /// Format of the conversation: v1, v2, v3, v7, v11, v13 or v15 of Mistral's, gguf for the file's Jinja templates, the name of one
    /// of them, or a Jinja file
    /// [default: what the model's file asks for]
    #[arg(long, visible_alias = "chat-template", value_name = "NAME|FILE")]
    template: Option<String>,
    /// How much to think: none, minimal, low, medium, high, xhigh or max, where the format has words for it
    #[arg(long, value_name = "EFFORT", requires = "chat")]
    reasoning_effort: Option<String>,
}

/// What is printed.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
struct Shown {
    /// Print the prompt before the text [default without --chat and --json]
    #[arg(long, overrides_with = "no_echo")]
    echo: bool,
    /// Do not print the prompt before the text
    #[arg(long, visible_alias = "no-display-prompt")]
    no_echo: bool,
    /// Print one JSON object: text, tokens, why the text ended, timings (for a text that is JSON see --json-mode)
    #[arg(long)]
    json: bool,
    /// Print a line of JSON for each token, and a last one
    #[arg(long, requires = "json")]
    stream: bool,
    /// Add the logarithms of the probabilities of each token and of the N likeliest ones, by the model alone
    #[arg(long, value_name = "N", requires = "json")]
    logprobs: Option<usize>,
    /// Print speed and memory to standard error
    #[arg(long)]
    stats: bool,
}

impl Shown {
    fn form(&self) -> Form {
        match (self.json, self.stream) {
            (false, _) => Form::Plain,
            (true, false) => Form::Json,
            (true, true) => Form::JsonLines,
        }
    }
}

pub fn run(args: Args) -> Result<Outcome> {
    let options = &args.chat_options;
    ensure!(
        options.template.is_none() || options.chat || args.rows.input_jsonl.is_some(),
        Misuse("--template is of use with --chat or --input-jsonl only".to_owned())
    );
    if let Some(input) = &args.rows.input_jsonl {
        return rows::run(&args, input);
    }
    let keeper = args.sessions.claim(&args.inputs())?;
    let prompt = prompt::read(&args)?;
    let model = args.runtime.open(args.which.path())?;
    let tokenizer = runtime::tokenizer_for(&model, args.which.path(), args.chat_options.template.as_deref())?;
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
    let interrupt = Interrupt::listen_for(Duration::from_millis(300), "stopped while the prompt was read");
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
            Some(voice) if voice.has_thought() && !stopped => Content::of_answer(tokenizer, &self.ids),
            _ => self.text.trim_end().into(),
        }
    }
}

impl Args {
    /// Tells who continues a text with a model that is made for conversations, as its file shows by a chat template.
    fn hint(&self, metadata: &Metadata) {
        let talks = metadata.get("tokenizer.chat_template").is_some();
        let text = !self.chat_options.chat && self.which.path().is_some();
        if talks && text && !self.runtime.quiet() && io::stderr().is_terminal() {
            note(
                "this model answers messages: --chat puts the prompt as one, bise chat begins a conversation",
            );
        }
    }

    /// The files that are read.
    fn inputs(&self) -> Vec<&Path> {
        let files = [
            self.which.path(),
            self.file.as_deref(),
            self.rows.input_jsonl.as_deref(),
            self.chat_options.template.as_deref().map(Path::new),
            self.constraints.file(),
            self.drafts.file(),
        ];
        files.into_iter().flatten().collect()
    }

    fn echoes(&self) -> bool {
        let shown = &self.shown;
        shown.echo || !(shown.no_echo || shown.json || self.chat_options.chat)
    }
}
