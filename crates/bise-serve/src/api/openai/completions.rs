//! `/v1/completions`: what follows a text.

use super::answer::{FinishReason, Heading, Usage, logprob, text};
use super::common::Common;
use super::number::{Limit, Whole};
use super::prompt::{Prompt, Prompts};
use crate::api::aside::aside;
use crate::api::sse;
use crate::fault::Fault;
use crate::gather::{ended_early, gather};
use crate::http::body::{self, Body};
use crate::http::form::Form;
use crate::http::state::App;
use crate::request::{End, Event, Piece, Request, Token, Voice};
use crate::served::{MOST_CHOICES, Served, Wanted};
use axum::Json;
use axum::extract::State;
use axum::response::sse::Event as Sent;
use axum::response::{IntoResponse, Response};
use futures_util::future::try_join_all;
use futures_util::stream::{self, Stream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use utoipa::ToSchema;

/// A text, and what is wanted of what follows it.
#[derive(Debug, ToSchema)]
#[schema(as = openai::CompletionRequest)]
pub struct CompletionRequest {
    #[serde(flatten)]
    completion: Completion,
    #[serde(flatten)]
    common: Common,
}

/// A text that is to go on.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = openai::Completion)]
pub struct Completion {
    /// The text, or its tokens; or several, each of which has `n` answers.
    prompt: Prompts,
    /// What comes after the answer, for models that fill gaps.
    suffix: Option<String>,
    /// Tokens of an answer at most; as many as fit for -1, or where nothing is said.
    #[schema(inline)]
    max_tokens: Option<Limit<0>>,
    /// Whether the answer begins with the prompt.
    echo: Option<bool>,
    /// As many as `n`: all are told.
    #[schema(inline)]
    best_of: Option<Whole<1, { MOST_CHOICES as i64 }>>,
    /// Of how many of the likeliest tokens the probability is told, besides the chosen one's.
    #[schema(inline)]
    logprobs: Option<Whole<0, 20>>,
}

/// Answers, or pieces of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openai::TextCompletion)]
pub struct TextCompletion {
    /// A name of its own, the same in all pieces.
    id: String,
    /// `text_completion`
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    /// The model's name.
    model: String,
    /// What tells the model from others.
    system_fingerprint: String,
    /// Answers `0..n` are of the first prompt, the next `n` of the second, and so on.
    choices: Vec<Choice>,
    /// Numbers of tokens; in pieces only in the last one, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

/// One of several answers, or a piece of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openai::TextChoice)]
pub struct Choice {
    /// Which, from 0.
    index: usize,
    /// What follows the prompt.
    text: String,
    /// Log-probabilities, where they were asked for.
    #[schema(required = true)]
    logprobs: Option<TextLogprobs>,
    /// Why it ended; null before the end.
    #[schema(required = true)]
    finish_reason: Option<FinishReason>,
}

/// Log-probabilities of the tokens of an answer.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = openai::TextLogprobs)]
pub struct TextLogprobs {
    /// Their texts.
    tokens: Vec<String>,
    /// The natural logarithms of their probabilities, by the model alone.
    token_logprobs: Vec<f64>,
    /// The same of the likeliest tokens in their places.
    top_logprobs: Vec<Map<String, Value>>,
    /// Where each begins in the answer's text, in characters.
    text_offset: Vec<usize>,
}

/// Go on with a text
#[utoipa::path(
    post,
    path = "/v1/completions",
    operation_id = "openai_completions",
    tag = "OpenAI",
    request_body = CompletionRequest,
    responses(
        (status = 200, description = "The answers; with `stream`, events of their pieces.",
         content((TextCompletion = "application/json"), (TextCompletion = "text/event-stream"))),
    ),
)]
pub async fn completions(
    State(app): State<App>,
    body: Body<Completion>,
) -> Result<Response, Fault> {
    let served = app.served()?.clone();
    let prepared = aside(move || {
        let asked = CompletionRequest {
            common: body::parse(&body.text)?,
            completion: body.value,
        };
        let (requests, echoes) = asked.requests(&served)?;
        let answers = Answers {
            heading: Heading::new("cmpl", served.name(), served.model.fingerprint()),
            prompts: requests.iter().map(|request| request.prompt.len()).collect(),
            choices: asked.common.choices(),
            logprobs: asked.completion.logprobs.is_some(),
            said: vec![0; echoes.len() * asked.common.choices()],
            echoes,
            usage: Usage::default(),
        };
        let events = requests.into_iter().map(|request| served.submit(request));
        Ok((events.collect::<Result<Vec<_>, _>>()?, answers, asked.common))
    });
    let (events, mut answers, common) = prepared.await?;
    if common.streams() {
        let mut pieces = Pieces {
            open: answers.said.len(),
            answers,
            tells_usage: common.wants_usage(),
            failed: false,
        };
        return Ok(sse::respond(merged(events), move |event| pieces.of(event)));
    }
    let gathered = events.into_iter().map(|events| gather(events, answers.choices));
    let mut choices = Vec::new();
    for (prompt, gathered) in try_join_all(gathered).await?.into_iter().enumerate() {
        answers.begin(prompt, gathered.cached);
        for (choice, (piece, end)) in gathered.answers.into_iter().enumerate() {
            let index = answers.index(prompt, choice);
            let piece = answers.piece(index, piece);
            choices.push(answers.end(piece, &end));
        }
    }
    let usage = std::mem::take(&mut answers.usage);
    Ok(Json(answers.completion(choices, Some(usage))).into_response())
}

/// The events of several requests, with their numbers, up to the first that fails: then the others
/// are given up.
fn merged(events: Vec<mpsc::Receiver<Event>>) -> impl Stream<Item = (usize, Event)> {
    let numbered = |(i, events)| sse::received(events).map(move |event| (i, event));
    let all = stream::select_all(events.into_iter().enumerate().map(numbered));
    stream::unfold(Some(all), |all| async {
        let mut all = all?;
        let (i, event) = all.next().await?;
        let failed = matches!(event, Event::Failed { .. });
        Some(((i, event), (!failed).then_some(all)))
    })
}

impl CompletionRequest {
    /// What the scheduler is asked for each prompt, and the texts that its answers begin with.
    fn requests(&self, served: &Served) -> Result<(Vec<Request>, Vec<String>), Fault> {
        let Self { completion, common } = self;
        served.check_name(common.model.as_deref())?;
        completion.check(common.choices())?;
        let asked = common.asked()?;
        let wanted = Wanted {
            grammar: asked.as_ref().map(|asked| asked.grammar.clone()),
            max_tokens: completion.max_tokens.and_then(|limit| limit.0),
            logprobs: completion.logprobs.map(|n| n.0 as usize),
            ..common.wanted(served)?
        };
        let (mut requests, mut echoes) = (Vec::new(), Vec::new());
        for prompt in &completion.prompt.0 {
            let ids = completion.tokens(served, prompt)?;
            let request = served.request(ids, Voice::Continuation, wanted.clone());
            requests.push(request.map_err(|fault| match (fault.param.as_deref(), &asked) {
                (Some("response_format"), Some(asked)) => fault.at(asked.param),
                (Some("messages"), _) => fault.at("prompt"),
                _ => fault,
            })?);
            echoes.push(match completion.echo {
                Some(true) => prompt.text(served),
                _ => String::new(),
            });
        }
        Ok((requests, echoes))
    }
}

impl Completion {
    /// Refuses what is too much, or not done here.
    fn check(&self, choices: usize) -> Result<(), Fault> {
        let prompts = self.prompt.0.len();
        if prompts * choices > MOST_CHOICES {
            let message = format!(
                "there are {prompts} prompts with {choices} answers each; expected at \
                 most {MOST_CHOICES} answers"
            );
            return Err(Fault::bad(message).at("prompt"));
        }
        if let Some(best_of) = self.best_of.filter(|n| n.0 as usize != choices) {
            let best_of = best_of.0;
            let message =
                format!("best_of is {best_of}; expected n, {choices}: all answers are told");
            return Err(Fault::bad(message).at("best_of"));
        }
        if self.echo == Some(true) && self.logprobs.is_some() {
            let message =
                "echo is true, and logprobs are told of answers alone; expected one of both";
            return Err(Fault::bad(message).at("echo"));
        }
        Ok(())
    }

    /// The tokens of a prompt, or of one with a gap.
    fn tokens(&self, served: &Served, prompt: &Prompt) -> Result<Vec<u32>, Fault> {
        let suffix = self.suffix.as_ref().map(String::as_bytes);
        match (prompt, suffix) {
            (Prompt::Tokens(ids), None) => Ok(ids.clone()),
            (Prompt::Text(text), None) => Ok(served.text_prompt(text)),
            (Prompt::Text(text), Some(suffix)) => {
                let ids = served.tokenizer.encode_infill(text.as_bytes(), suffix);
                ids.map_err(|error| Fault::bad(error.to_string()).at("suffix"))
            }
            (Prompt::Tokens(_), Some(_)) => {
                let message = "the prompt of a suffix is given as tokens; expected a text";
                Err(Fault::bad(message).at("prompt"))
            }
        }
    }
}

/// Answers to all prompts, as they come.
#[derive(Debug)]
struct Answers {
    heading: Heading,
    /// Tokens of each prompt.
    prompts: Vec<usize>,
    /// Answers to each.
    choices: usize,
    logprobs: bool,
    /// What the answers to each prompt begin with.
    echoes: Vec<String>,
    /// Characters of each answer so far.
    said: Vec<usize>,
    usage: Usage,
}

impl Answers {
    fn index(&self, prompt: usize, choice: usize) -> usize {
        prompt * self.choices + choice
    }

    fn begin(&mut self, prompt: usize, cached: usize) {
        self.usage.prompt(self.prompts[prompt], cached);
    }

    /// A piece of an answer; the first one begins with what is repeated of the prompt.
    fn piece(&mut self, index: usize, piece: Piece) -> Choice {
        let echo = match self.said[index] {
            0 => self.echoes[index / self.choices].as_str(),
            _ => "",
        };
        let text = echo.to_owned() + &piece.text;
        let from = self.said[index];
        self.said[index] += text.chars().count();
        Choice {
            index,
            text,
            logprobs: self.logprobs.then(|| TextLogprobs::new(&piece.tokens, from)),
            finish_reason: None,
        }
    }

    fn end(&mut self, last: Choice, end: &End) -> Choice {
        self.usage.answer(end);
        Choice {
            finish_reason: Some((&end.finish).into()),
            ..last
        }
    }

    fn completion(&self, choices: Vec<Choice>, usage: Option<Usage>) -> TextCompletion {
        let heading = &self.heading;
        TextCompletion {
            id: heading.id.clone(),
            object: "text_completion",
            created: heading.created,
            model: heading.model.clone(),
            system_fingerprint: heading.fingerprint.clone(),
            choices,
            usage,
        }
    }
}

impl TextLogprobs {
    /// Of `tokens`, the first of which begins at the character `at`.
    fn new(tokens: &[Token], mut at: usize) -> Self {
        let mut all = Self::default();
        for token in tokens {
            let said = text(&token.bytes);
            all.text_offset.push(at);
            at += said.chars().count();
            all.tokens.push(said);
            all.token_logprobs.push(logprob(token.logprob));
            let top = token.top.iter();
            let top = top.map(|(_, bytes, natural)| (text(bytes), logprob(*natural).into()));
            all.top_logprobs.push(top.collect());
        }
        all
    }
}

/// Makes pieces of what comes.
#[derive(Debug)]
struct Pieces {
    answers: Answers,
    tells_usage: bool,
    /// Answers that have not ended.
    open: usize,
    failed: bool,
}

impl Pieces {
    /// What is sent for the event of a prompt's request, or at the end of all.
    fn of(&mut self, event: Option<(usize, Event)>) -> Vec<Sent> {
        let answers = &mut self.answers;
        let choice = match event {
            Some((prompt, Event::Begun { cached })) => {
                answers.begin(prompt, cached);
                return Vec::new();
            }
            Some((prompt, Event::Piece { choice, piece })) => {
                answers.piece(answers.index(prompt, choice), piece)
            }
            Some((prompt, Event::Ended { choice, end })) => {
                self.open -= 1;
                let last = answers.piece(answers.index(prompt, choice), Piece::default());
                answers.end(last, &end)
            }
            Some((_, Event::Failed { problem })) => return self.fail(&Fault::internal(problem)),
            None if self.failed => return Vec::new(),
            None if self.open > 0 => return self.fail(&ended_early()),
            None => return self.finish(),
        };
        vec![sse::data(&answers.completion(vec![choice], None))]
    }

    fn fail(&mut self, fault: &Fault) -> Vec<Sent> {
        self.failed = true;
        vec![sse::data(&Form::OpenAi.error(fault))]
    }

    fn finish(&mut self) -> Vec<Sent> {
        let usage = std::mem::take(&mut self.answers.usage);
        let usage = self
            .tells_usage
            .then(|| self.answers.completion(Vec::new(), Some(usage)));
        let done = Sent::default().data("[DONE]");
        usage.iter().map(sse::data).chain([done]).collect()
    }
}
