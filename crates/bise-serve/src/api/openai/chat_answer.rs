//! Answers in conversations, whole or in pieces.

use super::answer::{FinishReason, Heading, Logprobs, Usage};
use super::message::Kind;
use crate::api::sse;
use crate::gather::{Gathered, ended_early};
use crate::http::form::Form;
use crate::request::{End, Event, Piece};
use axum::response::sse::Event as Sent;
use bise_model::chat::ToolCall;
use serde::Serialize;
use utoipa::ToSchema;

/// What an answer does not say of itself.
#[derive(Debug)]
pub struct Asked {
    /// What all answers have in common.
    pub heading: Heading,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Answers to it.
    pub choices: usize,
    /// Whether each token's probability is told.
    pub logprobs: bool,
    /// Whether several tools may be called at a time.
    pub many_calls: bool,
    /// What the answers go on from; it is shown as a part of them, as Mistral does.
    pub prefix: String,
}

/// A chat's answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openai::ChatCompletion)]
pub struct ChatCompletion {
    /// A name of its own.
    id: String,
    /// `chat.completion`
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    /// The model's name.
    model: String,
    /// What tells the model from others.
    system_fingerprint: String,
    /// The answers.
    choices: Vec<Choice>,
    /// Numbers of tokens.
    usage: Usage,
}

/// One of several answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openai::ChatChoice)]
pub struct Choice {
    /// Which, from 0.
    index: usize,
    /// What is said.
    message: Answer,
    /// Log-probabilities, where they were asked for.
    #[schema(required = true)]
    logprobs: Option<Logprobs>,
    /// Why it ended.
    finish_reason: FinishReason,
}

/// What is said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openai::Answer)]
pub struct Answer {
    /// `assistant`
    role: &'static str,
    /// The text; null in an answer that only calls tools.
    #[schema(required = true)]
    content: Option<String>,
    /// There are no refusals.
    #[schema(value_type = Option<String>, required = true)]
    refusal: (),
    /// What was thought before.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    /// Calls of tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<Call>>,
}

/// A call of a tool.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = openai::AnsweredCall)]
pub struct Call {
    /// Which of several, in a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// Ties the result to the call.
    id: String,
    /// There are only functions.
    r#type: Kind,
    /// What is called.
    function: Called,
}

/// What is called.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = openai::AnsweredFunction)]
pub struct Called {
    /// The tool.
    name: String,
    /// JSON.
    arguments: String,
}

/// A piece of a chat's answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openai::ChatChunk)]
pub struct ChatChunk {
    /// A name of its own, the same in all pieces.
    id: String,
    /// `chat.completion.chunk`
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    /// The model's name.
    model: String,
    /// What tells the model from others.
    system_fingerprint: String,
    /// What is new; nothing in the piece that tells the numbers of tokens.
    choices: Vec<ChunkChoice>,
    /// Numbers of tokens, in the last piece, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

/// A piece of one of several answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openai::ChunkChoice)]
pub struct ChunkChoice {
    /// Which, from 0.
    index: usize,
    /// What is new.
    delta: Delta,
    /// Log-probabilities, where they were asked for.
    #[schema(required = true)]
    logprobs: Option<Logprobs>,
    /// Why it ended; null before the end.
    #[schema(required = true)]
    finish_reason: Option<FinishReason>,
}

/// What is new in an answer.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = openai::Delta)]
pub struct Delta {
    /// `assistant`, in the first piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    /// More text.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    /// More of a thought.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    /// Calls of tools, whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<Call>>,
}

/// All answers at once.
pub fn whole(asked: Asked, gathered: Gathered) -> ChatCompletion {
    let mut usage = Usage::default();
    usage.prompt(asked.prompt, gathered.cached);
    let choice = |(index, (piece, end)): (usize, (Piece, End))| {
        usage.answer(&end);
        let finish_reason = FinishReason::from(&end.finish);
        let tool_calls = calls(end.calls, asked.many_calls, false);
        let says = !piece.text.is_empty() || tool_calls.is_none();
        Choice {
            index,
            message: Answer {
                role: "assistant",
                content: says.then(|| asked.prefix.clone() + &piece.text),
                refusal: (),
                reasoning_content: Some(piece.thought).filter(|thought| !thought.is_empty()),
                tool_calls,
            },
            logprobs: asked.logprobs.then(|| piece.tokens.into()),
            finish_reason,
        }
    };
    let choices = gathered.answers.into_iter().enumerate().map(choice).collect();
    ChatCompletion {
        id: asked.heading.id,
        object: "chat.completion",
        created: asked.heading.created,
        model: asked.heading.model,
        system_fingerprint: asked.heading.fingerprint,
        choices,
        usage,
    }
}

/// Calls as clients know them; the first alone unless `many` may be there.
fn calls(calls: Vec<ToolCall>, many: bool, numbered: bool) -> Option<Vec<Call>> {
    let most = if many { usize::MAX } else { 1 };
    let call = |(i, call): (usize, ToolCall)| Call {
        index: numbered.then_some(i),
        id: call.id.unwrap_or_default(),
        r#type: Kind::Function,
        function: Called {
            name: call.name,
            arguments: call.arguments,
        },
    };
    let calls: Vec<Call> = calls.into_iter().take(most).enumerate().map(call).collect();
    (!calls.is_empty()).then_some(calls)
}

/// Makes pieces of what comes.
#[derive(Debug)]
pub struct Pieces {
    asked: Asked,
    /// Whether the last piece tells the numbers of tokens.
    tells_usage: bool,
    usage: Usage,
    /// Answers that have not ended.
    open: usize,
    failed: bool,
}

impl Pieces {
    /// Before the first piece.
    pub fn new(asked: Asked, tells_usage: bool) -> Self {
        Self {
            open: asked.choices,
            asked,
            tells_usage,
            usage: Usage::default(),
            failed: false,
        }
    }

    /// What is sent for `event`, or at the end of all.
    pub fn of(&mut self, event: Option<Event>) -> Vec<Sent> {
        match event {
            Some(Event::Begun { cached }) => self.begin(cached),
            Some(Event::Piece { choice, piece }) => vec![self.piece(choice, piece)],
            Some(Event::Ended { choice, end }) => self.end(choice, end),
            Some(Event::Failed { problem }) => self.fail(crate::Fault::internal(problem)),
            None if self.failed => Vec::new(),
            None if self.open > 0 => self.fail(ended_early()),
            None => self.finish(),
        }
    }

    /// Who speaks is said once of each answer.
    fn begin(&mut self, cached: usize) -> Vec<Sent> {
        self.usage.prompt(self.asked.prompt, cached);
        let begin = |choice| {
            let delta = Delta {
                role: Some("assistant"),
                content: Some(self.asked.prefix.clone()),
                ..Delta::default()
            };
            self.chunk(choice, delta, None, None)
        };
        (0..self.asked.choices).map(begin).collect()
    }

    fn piece(&self, choice: usize, piece: Piece) -> Sent {
        let thinks = !piece.thought.is_empty();
        let delta = Delta {
            content: (!piece.text.is_empty() || !thinks).then_some(piece.text),
            reasoning_content: thinks.then_some(piece.thought),
            ..Delta::default()
        };
        let logprobs = self.asked.logprobs.then(|| piece.tokens.into());
        self.chunk(choice, delta, logprobs, None)
    }

    fn end(&mut self, choice: usize, end: End) -> Vec<Sent> {
        self.open -= 1;
        self.usage.answer(&end);
        let finish = FinishReason::from(&end.finish);
        let calls = calls(end.calls, self.asked.many_calls, true).map(|calls| Delta {
            tool_calls: Some(calls),
            ..Delta::default()
        });
        let calls = calls.map(|delta| self.chunk(choice, delta, None, None));
        let last = self.chunk(choice, Delta::default(), None, Some(finish));
        calls.into_iter().chain([last]).collect()
    }

    fn fail(&mut self, fault: crate::Fault) -> Vec<Sent> {
        self.failed = true;
        vec![sse::data(&Form::OpenAi.error(&fault))]
    }

    fn finish(&mut self) -> Vec<Sent> {
        let done = Sent::default().data("[DONE]");
        let usage = std::mem::take(&mut self.usage);
        let usage = self.tells_usage.then(|| self.send(Vec::new(), Some(usage)));
        usage.into_iter().chain([done]).collect()
    }

    fn chunk(
        &self,
        index: usize,
        delta: Delta,
        logprobs: Option<Logprobs>,
        finish_reason: Option<FinishReason>,
    ) -> Sent {
        let choice = ChunkChoice {
            index,
            delta,
            logprobs,
            finish_reason,
        };
        self.send(vec![choice], None)
    }

    fn send(&self, choices: Vec<ChunkChoice>, usage: Option<Usage>) -> Sent {
        let heading = &self.asked.heading;
        sse::data(&ChatChunk {
            id: heading.id.clone(),
            object: "chat.completion.chunk",
            created: heading.created,
            model: heading.model.clone(),
            system_fingerprint: heading.fingerprint.clone(),
            choices,
            usage,
        })
    }
}
