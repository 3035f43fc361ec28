//! Text, token by token.

use crate::context::Context;
use crate::error::GenerateError;
use crate::sampler::Sampler;
use std::ops::ControlFlow;

/// When generation ends by itself.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// Tokens to generate at most.
    pub max_tokens: usize,
    /// Tokens that end the text; they are not handed out.
    pub end: &'a [u32],
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model ended the text.
    EndOfText,
    /// [`Limits::max_tokens`] were generated.
    Length,
    /// The receiver asked to stop.
    Asked,
}

/// Processes `prompt`, then samples tokens and hands each to `receive`, until a limit or `receive` stops it.
///
/// # Errors
/// When the prompt, or a generated token, does not fit the context, or logits are no numbers.
///
/// # Panics
/// When nothing precedes the first sampled token: `prompt` and `context` are both empty.
pub fn generate(
    context: &mut Context<'_>,
    prompt: &[u32],
    limits: Limits<'_>,
    sampler: &mut Sampler,
    mut receive: impl FnMut(u32) -> ControlFlow<()>,
) -> Result<Stop, GenerateError> {
    assert!(!prompt.is_empty(), "a prompt of no tokens");
    let mut history = Vec::with_capacity(prompt.len() + limits.max_tokens.min(1 << 16));
    history.extend_from_slice(prompt);
    if limits.max_tokens == 0 {
        context.forward(prompt)?;
    }
    let mut fed = 0;
    for _ in 0..limits.max_tokens {
        let logits = context.forward(&history[fed..])?;
        fed = history.len();
        let token = sampler.sample(logits, &history)?;
        if limits.end.contains(&token) {
            return Ok(Stop::EndOfText);
        }
        if receive(token).is_break() {
            return Ok(Stop::Asked);
        }
        history.push(token);
    }
    Ok(Stop::Length)
}
