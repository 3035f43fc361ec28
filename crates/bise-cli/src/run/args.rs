//! What `bise run` is told.

use super::output::Form;
use crate::constraint::Constraints;
use crate::drafts::Drafts;
use crate::loading::WhichAndText;
use crate::messages::note;
use crate::runtime::Runtime;
use crate::sampling::Sampling;
use crate::session::Sessions;
use crate::together::Together;
use bise_format::gguf::Metadata;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

/// Continue a text
///
/// The prompt comes after MODEL or from -p, from a file, or from standard input; with --chat it is
/// the first message of a conversation, and the text is the model's answer. The text goes to
/// standard output as it is made; what an answering model thinks before goes to standard error.
/// Exit codes: 0 the text ended or is as long as asked for, 1 an error, 2 a wrong use, 3 the text
/// was cut off before --json-mode, --json-schema, --regex or --grammar let it end.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub which: WhichAndText,
    /// The text to continue [default: standard input]
    #[arg(short, long, value_name = "TEXT", conflicts_with_all = ["file", "text"], allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// File with the text to continue; - is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "text")]
    pub file: Option<PathBuf>,
    /// Tokens to generate; -1 until the model ends the text
    #[arg(short, long = "tokens", visible_aliases = ["n-predict", "predict"], value_name = "N", default_value_t = -1,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i64).range(-1..))]
    pub n: i64,
    /// End the text where this text begins, which is not shown; a control token by its name; can be
    /// repeated
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Go on after the model ends the text
    #[arg(long, conflicts_with_all = ["json_mode", "json_schema", "regex", "grammar"])]
    pub ignore_eos: bool,
    /// Fill the gap between the prompt and this text, with a model that is made for it
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "chat",
        allow_hyphen_values = true
    )]
    pub suffix: Option<String>,
    /// When the context is full, drop the oldest half of what follows the prompt, and go on
    #[arg(long)]
    pub context_shift: bool,
    #[command(flatten)]
    pub rows: Rows,
    #[command(flatten)]
    pub chat_options: ChatOptions,
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub sampling: Sampling,
    #[command(flatten)]
    pub constraints: Constraints,
    #[command(flatten)]
    pub sessions: Sessions,
    #[command(flatten)]
    pub drafts: Drafts,
    #[command(flatten)]
    pub runtime: Runtime,
}

/// Many prompts.
#[derive(clap::Args)]
#[command(next_help_heading = "Many prompts")]
pub struct Rows {
    /// Lines of JSON with prompt, or with messages and tools; and with id, max_tokens, stop, seed
    /// and other sampling options where they differ from those given here; - is standard input.
    /// Many are answered at a time, each as if it were alone
    #[arg(long, value_name = "FILE", conflicts_with_all =
        ["prompt", "file", "text", "suffix", "session", "prompt_cache", "json", "stream", "logprobs",
         "echo", "context_shift", "draft", "speculate", "draft_max"])]
    pub input_jsonl: Option<PathBuf>,
    /// File for a line of JSON for each of them, with index, id, text, stop_reason and tokens, or
    /// error; results that are there already are not made again [default: standard output]
    #[arg(long, value_name = "FILE", requires = "input_jsonl")]
    pub output_jsonl: Option<PathBuf>,
    #[command(flatten)]
    pub together: Together,
}

/// A conversation of one message.
#[derive(clap::Args)]
#[command(next_help_heading = "Chat")]
pub struct ChatOptions {
    /// Put the prompt to the model as a message, in the model's chat format
    #[arg(long)]
    pub chat: bool,
    /// What the model is told before the message
    #[arg(long, visible_alias = "system-prompt", value_name = "TEXT", requires = "chat")]
    pub system: Option<String>,
    /// Format of the conversation: v1, v2, v3, v7, v11, v13 or v15 of Mistral's, gguf for the
    /// file's Jinja templates, the name of one of them, or a Jinja file [default: what the model's
    /// file asks for]
    #[arg(long, visible_alias = "chat-template", value_name = "NAME|FILE")]
    pub template: Option<String>,
    /// How much to think: none, minimal, low, medium, high, xhigh or max, where the format has
    /// words for it
    #[arg(long, value_name = "EFFORT", requires = "chat")]
    pub reasoning_effort: Option<String>,
}

/// What is printed.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
pub struct Shown {
    /// Print the prompt before the text [default without --chat and --json]
    #[arg(long, overrides_with = "no_echo")]
    pub echo: bool,
    /// Do not print the prompt before the text
    #[arg(long, visible_alias = "no-display-prompt")]
    pub no_echo: bool,
    /// Print one JSON object: text, tokens, why the text ended, timings (for a text that is JSON
    /// see --json-mode)
    #[arg(long)]
    pub json: bool,
    /// Print a line of JSON for each token, and a last one
    #[arg(long, requires = "json")]
    pub stream: bool,
    /// Add the logarithms of the probabilities of each token and of the N likeliest ones, by the
    /// model alone
    #[arg(long, value_name = "N", requires = "json")]
    pub logprobs: Option<usize>,
    /// Print speed and memory to standard error
    #[arg(long)]
    pub stats: bool,
}

impl Shown {
    pub fn form(&self) -> Form {
        match (self.json, self.stream) {
            (false, _) => Form::Plain,
            (true, false) => Form::Json,
            (true, true) => Form::JsonLines,
        }
    }
}

impl Args {
    /// Tells who continues a text with a model that is made for conversations, as its file shows by
    /// a chat template.
    pub fn hint(&self, metadata: &Metadata) {
        let talks = metadata.get("tokenizer.chat_template").is_some();
        let text = !self.chat_options.chat && self.which.path().is_some();
        if talks && text && !self.runtime.quiet() && io::stderr().is_terminal() {
            note(
                "this model answers messages: --chat puts the prompt as one, bise chat begins a conversation",
            );
        }
    }

    /// The files that are read.
    pub fn inputs(&self) -> Vec<&Path> {
        let files = [
            self.which.path(),
            self.file.as_deref(),
            self.rows.input_jsonl.as_deref(),
            self.chat_options.template.as_deref().map(Path::new),
            self.constraints.file(),
            self.drafts.file(),
        ];
        let files = files.into_iter().flatten();
        files.chain(self.runtime.adapters()).collect()
    }

    pub fn echoes(&self) -> bool {
        let shown = &self.shown;
        shown.echo || !(shown.no_echo || shown.json || self.chat_options.chat)
    }
}
