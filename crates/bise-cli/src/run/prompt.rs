//! What the text goes on from.

use super::Args;
use crate::{runtime, usage};
use anyhow::{Context as _, Result, ensure};
use bise_model::chat::Message;
use bise_model::tokenizer::{TokenKind, Tokenizer};
use bise_model::{Model, Session};
use std::io::{self, IsTerminal, Read};

/// The prompt as it was given: of -p, of a file, or of standard input.
pub fn read(args: &Args) -> Result<Vec<u8>> {
    if let Some(text) = args.which.text() {
        ensure!(
            args.prompt.is_none() && args.file.is_none(),
            usage::Misuse("the text is given twice: after the model, and with -p or -f".to_owned())
        );
        return Ok(text.into_owned().into_bytes());
    }
    match (&args.prompt, &args.file) {
        (Some(text), _) => Ok(text.clone().into_bytes()),
        (None, Some(path)) => runtime::read(path),
        (None, None) if args.sessions.left().is_some() && io::stdin().is_terminal() => Ok(Vec::new()),
        (None, None) => read_stdin(),
    }
}

fn read_stdin() -> Result<Vec<u8>> {
    ensure!(
        !io::stdin().is_terminal(),
        "no prompt: give it after the model, as -p TEXT or -f FILE, or pipe it in"
    );
    let mut text = Vec::new();
    io::stdin()
        .read_to_end(&mut text)
        .context("cannot read the prompt from standard input")?;
    Ok(text)
}

/// The tokens of the prompt, which goes on with the text of `session` if there is one; with --chat those of a conversation
/// of which it is the first message.
pub fn encode(
    args: &Args,
    prompt: &[u8],
    model: &Model,
    tokenizer: &Tokenizer,
    session: &Session<'_>,
) -> Result<Vec<u32>> {
    let goes_on = !session.is_empty();
    let tokens = if args.chat_options.chat {
        ensure!(
            !goes_on,
            "--chat begins a conversation, and the session has a text already"
        );
        let (named, path) = (args.chat_options.template.as_deref(), args.which.path());
        let template = runtime::template(named, path, model.metadata(), tokenizer)?;
        let user = Message::user(String::from_utf8_lossy(prompt));
        let messages: Vec<_> = args
            .chat_options
            .system
            .as_deref()
            .map(Message::system)
            .into_iter()
            .chain([user])
            .collect();
        template.encode(tokenizer, &messages, &[])?
    } else if let Some(&last) = session.tokens().last() {
        match tokenizer.kind(last) {
            // The text before has ended.
            Some(TokenKind::Control) => tokenizer.encode(prompt),
            _ => tokenizer.encode_continuing(prompt),
        }
    } else {
        tokenizer.encode_prompt(prompt)
    };
    ensure!(
        goes_on || !tokens.is_empty(),
        "the prompt is empty, and the model has no token to begin a text with"
    );
    Ok(tokens)
}
