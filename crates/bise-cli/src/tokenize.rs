//! `bise tokenize`: show the tokens of a text, or of a conversation.

use crate::outcome::Outcome;
use crate::usage::Misuse;
use crate::{loading, runtime};
use anyhow::{Context as _, Result, ensure};
use bise_model::chat::{Conversation, Template};
use bise_model::tokenizer::Tokenizer;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Show the tokens of a text or conversation
#[derive(clap::Args)]
pub struct Args {
    /// GGUF file or directory [default: what BISE_MODEL names, or else the built-in story teller],
    /// then the text; without a text, -f and --chat it is read from standard input
    #[arg(value_names = ["MODEL", "TEXT"], num_args = 0..=2)]
    model_and_text: Vec<String>,
    /// The model, which is left out before the text then
    #[arg(short, long)]
    model: Option<PathBuf>,
    /// File with the text; - is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "chat")]
    file: Option<PathBuf>,
    /// Leave out the token that begins a text
    #[arg(long, conflicts_with = "chat")]
    no_bos: bool,
    /// Encode a conversation: JSON with `messages` and `tools` as OpenAI's and Mistral's interfaces
    /// take them
    #[arg(long, value_name = "FILE")]
    chat: Option<PathBuf>,
    /// Chat format: v1, v2, v3, v7, v11, v13, v15, `gguf` for the file's Jinja templates, the name
    /// of one of them (`tool_use`), or a Jinja file [default: the file's, which are Mistral's where
    /// they write the same]
    #[arg(long, value_name = "NAME|FILE", requires = "chat")]
    template: Option<String>,
    /// How much to think, where the format has words for it: none, minimal, low, medium, high,
    /// xhigh or max
    #[arg(long, value_name = "EFFORT", requires = "chat")]
    reasoning_effort: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<Outcome> {
    let (path, text) = args.model_and_text()?;
    let path = path.as_deref().or(loading::default());
    let checkpoint = loading::checkpoint(path)?;
    let tokenizer = runtime::tokenizer_of(&checkpoint, path)?;
    let ids = match &args.chat {
        Some(chat) => {
            let named = args.template.as_deref();
            let template = runtime::template(named, path, &checkpoint.metadata, &tokenizer)?;
            encode(chat, args.reasoning_effort.as_deref(), &template, &tokenizer)?
        }
        None if args.no_bos => tokenizer.encode(&text),
        None => tokenizer.encode_complete(&text),
    };
    let pieces: Vec<&str> = ids.iter().map(|&id| tokenizer.piece(id)).collect();
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::json!({ "ids": ids, "pieces": pieces }))?;
    } else {
        for (id, piece) in ids.iter().zip(pieces) {
            writeln!(out, "{id:>6}  {piece}")?;
        }
    }
    Ok(Outcome::Done)
}

impl Args {
    /// Where the model is, and the text, which is empty where there is a conversation.
    fn model_and_text(&self) -> Result<(Option<PathBuf>, Vec<u8>)> {
        let named = self.model.clone();
        let from_elsewhere = self.file.is_some() || self.chat.is_some();
        let (model, text) = match (&self.model_and_text[..], named) {
            ([], named) => (named, None),
            ([model], None) if from_elsewhere => (Some(model.into()), None),
            // What is no file is a text for the model that is there anyway.
            ([model], None) if Path::new(model).exists() && !io::stdin().is_terminal() => {
                (Some(model.into()), None)
            }
            ([text], named) => (named, Some(text)),
            ([model, text], None) => (Some(model.into()), Some(text)),
            _ => {
                return Err(Misuse(
                    "the model is given twice: with -m, and before the text".to_owned(),
                )
                .into());
            }
        };
        let text = match (text, &self.file) {
            (Some(text), _) if from_elsewhere => {
                let has_it = if self.file.is_some() { "-f" } else { "--chat" };
                return Err(
                    Misuse(format!("unexpected text {text:?}: {has_it} has its own")).into()
                );
            }
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(file)) => runtime::read(file)?,
            (None, None) if self.chat.is_some() => Vec::new(),
            (None, None) => {
                let no_text = || {
                    Misuse(
                        "no text: give it after the model, with -f FILE, or pipe it in".to_owned(),
                    )
                };
                ensure!(!io::stdin().is_terminal(), no_text());
                runtime::read(&PathBuf::from("-"))?
            }
        };
        Ok((model, text))
    }
}

/// The tokens of the conversation in the file `chat`.
fn encode(
    chat: &PathBuf,
    effort: Option<&str>,
    template: &Template,
    tokenizer: &Tokenizer,
) -> Result<Vec<u32>> {
    let json = runtime::read(chat)?;
    ensure!(!json.is_empty(), "{} is empty", chat.display());
    let json = String::from_utf8(json).with_context(|| chat.display().to_string())?;
    let conversation =
        Conversation::from_json(&json).with_context(|| chat.display().to_string())?;
    let conversation = conversation.with_reasoning_effort(effort);
    Ok(template.encode_conversation(tokenizer, &conversation)?)
}
