//! What the text goes on from.

use super::args::Args;
use super::text::{Conversing, Text};
use crate::{runtime, usage};
use anyhow::{Context as _, Result, ensure};
use bise_model::Model;
use bise_model::chat::{Conversation, Message};
use bise_model::tokenizer::{TokenKind, Tokenizer};
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
        (None, None) if args.sessions.left().is_some() && io::stdin().is_terminal() => {
            Ok(Vec::new())
        }
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

/// The tokens of the prompt, which goes on with the text of the session if there is one; with
/// --chat it is the next message of the conversation, of which the session's text keeps what comes
/// before.
pub fn encode(
    args: &Args,
    prompt: &[u8],
    model: &Model,
    tokenizer: &Tokenizer,
    text: &mut Text<'_, '_>,
) -> Result<Vec<u32>> {
    let session = &mut text.session;
    let goes_on = !session.is_empty();
    let tokens = if let Some(talk) = &mut text.talk {
        let tokens = say(args, prompt, model, tokenizer, talk)?;
        session.keep_common(&tokens);
        tokens[session.len()..].to_vec()
    } else if let Some(suffix) = &args.suffix {
        ensure!(
            !goes_on,
            "--suffix: the session has a text already; name another session"
        );
        tokenizer.encode_infill(prompt, suffix.as_bytes())?
    } else if let Some(&last) = session.tokens().last() {
        match tokenizer.kind(last) {
            // The text before has ended.
            Some(TokenKind::Control) => tokenizer.encode_behind(prompt),
            _ => tokenizer.encode_continuing(prompt),
        }
    } else {
        runtime::prompt(tokenizer, prompt)
    };
    ensure!(
        goes_on || !tokens.is_empty(),
        "the prompt is empty, and the model has no token to begin a text with"
    );
    Ok(tokens)
}

/// Adds the user's message to the conversation, and gives the tokens of all of it.
fn say(
    args: &Args,
    prompt: &[u8],
    model: &Model,
    tokenizer: &Tokenizer,
    talk: &mut Conversing,
) -> Result<Vec<u32>> {
    let (options, path) = (&args.chat_options, args.which.path());
    if let Some(template) = &options.template {
        talk.template = Some(template.clone());
    }
    if let Some(system) = &options.system {
        talk.system.clone_from(system);
    }
    talk.messages.push(Message::user(String::from_utf8_lossy(prompt)));
    let template = runtime::template(talk.template.as_deref(), path, model.metadata(), tokenizer)?;
    let system = Some(Message::system(&talk.system)).filter(|_| !talk.system.is_empty());
    let messages: Vec<_> = system.into_iter().chain(talk.messages.iter().cloned()).collect();
    let conversation =
        Conversation::new(messages, []).with_reasoning_effort(options.reasoning_effort.as_deref());
    Ok(template.encode_conversation(tokenizer, &conversation)?)
}
