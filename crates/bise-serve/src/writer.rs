//! From the tokens of an answer to its text, thoughts and calls of tools, as they come.

use crate::request::{End, Finish, Piece, Token, Voice};
use bise_model::StopTexts;
use bise_model::chat::{self, Message, Template};
use bise_model::sampler::Logprobs;
use bise_model::tokenizer::{Detokenizer, TokenKind, Tokenizer};

/// Reads an answer token by token.
pub struct Writer<'t> {
    tokenizer: &'t Tokenizer,
    template: &'t Template,
    detokenizer: Detokenizer<'t>,
    stops: StopTexts,
    voice: chat::Voice,
    /// Whether thoughts are told apart.
    answers: bool,
    /// The token after which tools are called, where calls are looked for.
    calls_token: Option<u32>,
    /// The tokens from the first call on; none before one.
    calls: Vec<u32>,
    tokens: usize,
    /// Tokens that no piece has said yet.
    silent: Vec<u32>,
    thought_tokens: usize,
    thinks: bool,
}

impl<'t> Writer<'t> {
    /// At the beginning of an answer.
    pub fn new(
        tokenizer: &'t Tokenizer,
        template: &'t Template,
        voice: Voice,
        stops: &[String],
    ) -> Self {
        let tools = matches!(voice, Voice::Answer { tools: true });
        let answers = voice != Voice::Continuation;
        Self {
            tokenizer,
            template,
            detokenizer: match answers {
                true => Detokenizer::new(tokenizer),
                false => Detokenizer::continuing(tokenizer),
            },
            stops: StopTexts::new(stops),
            voice: chat::Voice::new(tokenizer),
            answers,
            calls_token: template.tool_calls_token(tokenizer).filter(|_| tools),
            calls: Vec::new(),
            tokens: 0,
            silent: Vec::new(),
            thought_tokens: 0,
            thinks: false,
        }
    }

    /// What `token` adds.
    pub fn push(&mut self, token: u32, logprobs: Option<Logprobs>) -> Piece {
        self.silent.push(token);
        let mut piece = self.add(token, logprobs);
        if !piece.is_empty() {
            piece.ids = std::mem::take(&mut self.silent);
        }
        piece
    }

    fn add(&mut self, token: u32, logprobs: Option<Logprobs>) -> Piece {
        self.tokens += 1;
        let mut piece = Piece {
            tokens: logprobs.into_iter().map(|all| self.describe(all)).collect(),
            ..Piece::default()
        };
        if !self.calls.is_empty() || Some(token) == self.calls_token {
            if self.calls.is_empty() {
                // No stop text reaches into a call.
                self.end_text(&mut piece);
            }
            self.calls.push(token);
            return piece;
        }
        let thinks = self.answers && self.voice.hears(token);
        if thinks != self.thinks {
            self.end_text(&mut piece);
            self.thinks = thinks;
        }
        self.thought_tokens += usize::from(thinks);
        let text = self.detokenizer.push(token).to_owned();
        match thinks {
            true => piece.thought.push_str(&text),
            false => {
                piece.text.push_str(&self.stops.push(&text));
                if self.tokenizer.kind(token) == Some(TokenKind::Control) {
                    let name = self.tokenizer.piece(token);
                    piece.text.push_str(&self.stops.push_control(name));
                }
            }
        }
        piece
    }

    /// Whether a stop text came.
    pub fn is_stopped(&self) -> bool {
        self.stops.found().is_some()
    }

    /// What is left of the answer, and how it ends after `finish`; `ended` says whether the model
    /// chose a token that ends it, which was not pushed.
    pub fn finish(mut self, finish: Finish, ended: bool) -> (Piece, End) {
        let mut piece = Piece {
            ids: std::mem::take(&mut self.silent),
            ..Piece::default()
        };
        self.end_text(&mut piece);
        let mut finish = match self.stops.found() {
            Some(text) => Finish::Stop(text.to_owned()),
            None => finish,
        };
        let mut calls = Vec::new();
        if !self.calls.is_empty() {
            match self.template.parse_answer(self.tokenizer, &self.calls) {
                Ok(Message::Assistant { tool_calls, .. }) if !tool_calls.is_empty() => {
                    calls = tool_calls;
                    if finish == Finish::End {
                        finish = Finish::Calls;
                    }
                }
                // What is no call is shown as it is.
                _ => piece.text.push_str(&self.tokenizer.decode(&self.calls)),
            }
        }
        let end = End {
            finish,
            tokens: self.tokens + usize::from(ended),
            ids: Vec::new(),
            by_token: ended,
            thought_tokens: self.thought_tokens,
            calls,
            prompt_seconds: 0.0,
            answer_seconds: 0.0,
        };
        (piece, end)
    }

    /// Hands out what waits for more.
    fn end_text(&mut self, piece: &mut Piece) {
        let text = self.detokenizer.finish().to_owned();
        match self.thinks {
            true => piece.thought.push_str(&text),
            false => {
                piece.text.push_str(&self.stops.push(&text));
                piece.text.push_str(&self.stops.finish());
            }
        }
    }

    fn describe(&self, all: Logprobs) -> Token {
        let bytes = |id| self.tokenizer.bytes(id).into_owned();
        Token {
            id: all.token,
            bytes: bytes(all.token),
            logprob: all.logprob,
            top: all
                .top
                .into_iter()
                .map(|(id, logprob)| (id, bytes(id), logprob))
                .collect(),
        }
    }
}
