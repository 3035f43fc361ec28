//! `bise tokenize`: show the tokens of a text, or of a conversation.

use crate::{Outcome, loading, runtime};
use anyhow::{Context as _, Result, ensure};
use bise_model::chat::{Conversation, Template};
use bise_model::tokenizer::Tokenizer;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Show the tokens of a text or conversation
#[derive(clap::Args)]
pub struct Args {
    /// GGUF file or directory [default: the built-in story teller], then the text (not with --chat)
    #[arg(value_names = ["MODEL", "TEXT"], num_args = 0..=2, required_unless_present = "chat")]
    model_and_text: Vec<String>,
    /// Leave out the token that begins a text
    #[arg(long, conflicts_with = "chat")]
    no_bos: bool,
    /// Encode a conversation: JSON with `messages` and `tools` as OpenAI's and Mistral's interfaces take them
    #[arg(long, value_name = "FILE")]
    chat: Option<PathBuf>,
    /// Chat format: v1, v2, v3, v7, v11, v13, `gguf` for the file's Jinja templates, the name of one of them (`tool_use`), or a
    /// Jinja file [default: the file's, which are Mistral's where they write the same]
    #[arg(long, value_name = "NAME", requires = "chat")]
    template: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<Outcome> {
    let (model, text) = match (&args.chat, args.model_and_text.as_slice()) {
        (Some(_), [model, text]) => {
            anyhow::bail!("unexpected text {text:?} after {model}: --chat has its own")
        }
        (Some(_), rest) => (rest.first(), ""),
        (None, [text]) => (None, text.as_str()),
        (None, rest) => (rest.first(), rest.last().map_or("", String::as_str)),
    };
    let path = model.map(Path::new);
    let checkpoint = loading::checkpoint(path)?;
    let tokenizer = runtime::tokenizer_of(&checkpoint, path)?;
    let ids = match &args.chat {
        Some(chat) => {
            let named = args.template.as_deref();
            let template = runtime::template(named, path, &checkpoint.metadata, &tokenizer)?;
            encode(chat, &template, &tokenizer)?
        }
        None if args.no_bos => tokenizer.encode(text.as_bytes()),
        None => tokenizer.encode_complete(text.as_bytes()),
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

/// The tokens of the conversation in the file `chat`.
fn encode(chat: &PathBuf, template: &Template, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let json = runtime::read(chat)?;
    ensure!(!json.is_empty(), "{} is empty", chat.display());
    let json = String::from_utf8(json).with_context(|| chat.display().to_string())?;
    let conversation = Conversation::from_json(&json).with_context(|| chat.display().to_string())?;
    Ok(template.encode_conversation(tokenizer, &conversation)?)
}
