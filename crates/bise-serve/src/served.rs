//! The model that is served, and how requests are made for it.

use crate::fault::Fault;
use crate::request::{Embed, Event, Pooling, Request, Voice};
use crate::scheduler::{Refused, Scheduler, SchedulerOptions};
use axum::http::StatusCode;
use bise_model::chat::{ChatError, Conversation, Template, Version};
use bise_model::constraint::{Constraint, Grammar, TokenTable};
use bise_model::sampler::{Mask, Sampler, SamplerError, SamplerOptions};
use bise_model::tokenizer::Tokenizer;
use bise_model::{Engine, EngineOptions, Model};
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use tokio::sync::mpsc;

/// Answers to one request at most.
pub const MOST_CHOICES: usize = 128;
/// Bytes of a grammar or schema at most: what a parser is given in a server's name.
pub const MOST_GRAMMAR: usize = 256 << 10;

/// A model, its tokenizer and chat format, and the scheduler that runs it.
pub struct Served {
    /// What the model is called, and other names for it.
    pub names: Vec<String>,
    /// When it was loaded.
    pub since: SystemTime,
    /// The model.
    pub model: Model,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Its chat format.
    pub template: Arc<Template>,
    /// Why there is no chat, for a model that is not made for it.
    pub no_chat: Option<String>,
    /// How embeddings are pooled.
    pub pooling: Pooling,
    /// Tokens of a text at most, prompt and answer together.
    pub context: usize,
    /// Answers that are written at a time at most.
    pub sequences: usize,
    /// What is taken where a request says nothing.
    pub sampling: SamplerOptions,
    /// How passes are run.
    pub engine: EngineOptions,
    /// Runs the model.
    pub scheduler: Scheduler,
    /// Made when the first grammar comes.
    pub(crate) table: OnceLock<TokenTable>,
}

/// What is served, and how.
pub struct ServedOptions {
    /// What the model is called, and other names for it.
    pub names: Vec<String>,
    /// Its chat format, or why there is none.
    pub template: Result<Template, String>,
    /// How embeddings are pooled.
    pub pooling: Pooling,
    /// How passes are run.
    pub engine: EngineOptions,
    /// How requests are scheduled.
    pub scheduler: SchedulerOptions,
    /// What is taken where a request says nothing.
    pub sampling: SamplerOptions,
}

impl Served {
    /// Begins to serve `model`, on a thread of its own.
    ///
    /// # Errors
    /// When the system refuses to start a thread.
    pub fn start(model: Model, tokenizer: Tokenizer, options: ServedOptions) -> io::Result<Self> {
        let tokenizer = Arc::new(tokenizer);
        let (template, no_chat) = match options.template {
            Ok(template) => (template, None),
            Err(why) => (Template::Mistral(Version::V1), Some(why)),
        };
        let template = Arc::new(template);
        let engine = Engine::new(&model, options.engine.clone());
        let (tokens, chat) = (tokenizer.clone(), template.clone());
        Ok(Self {
            names: options.names,
            since: SystemTime::now(),
            model,
            tokenizer,
            template,
            no_chat,
            pooling: options.pooling,
            context: options.scheduler.context,
            sequences: options.scheduler.sequences,
            sampling: options.sampling,
            engine: options.engine,
            scheduler: Scheduler::start(engine, tokens, chat, options.scheduler)?,
            table: OnceLock::new(),
        })
    }
}

impl Drop for Served {
    /// Ends the thread that runs the model.
    fn drop(&mut self) {
        self.scheduler.stop();
    }
}

/// What an interface asks for, besides the prompt.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// How tokens are chosen; with a random seed where none is given.
    pub sampling: SamplerOptions,
    /// What the answer must follow.
    pub grammar: Option<Grammar>,
    /// Tokens at most; as many as fit when `None`.
    pub max_tokens: Option<u64>,
    /// Texts that end an answer.
    pub stops: Vec<String>,
    /// Answers; one when `None`.
    pub choices: Option<usize>,
    /// Log-probabilities, and of how many of the likeliest tokens.
    pub logprobs: Option<usize>,
    /// Whether the answer goes on after tokens that end a text.
    pub ignore_end: bool,
    /// Whether the answer is wanted whole: prompts of others may go before its next token.
    pub whole: bool,
}

impl Served {
    /// What the model is called.
    pub fn name(&self) -> &str {
        self.names.first().map_or("model", String::as_str)
    }

    /// The Jinja template of chats, or the name of Mistral's format.
    pub fn template_text(&self) -> String {
        let source = self.model.metadata().str("tokenizer.chat_template");
        match (&*self.template, source) {
            (Template::Jinja(_), Ok(Some(source))) => source.to_owned(),
            _ => self.template.describe(),
        }
    }

    /// Refuses a request for another model. No name, or an empty one, means the one that there is.
    ///
    /// # Errors
    /// 404, with the names that there are.
    pub fn check_name(&self, asked: Option<&str>) -> Result<(), Fault> {
        let asked = asked.unwrap_or_default();
        let known = |name: &String| name == asked || asked.strip_suffix(":latest") == Some(name);
        if asked.is_empty() || self.names.iter().any(known) {
            return Ok(());
        }
        let there = self.names.join(", ");
        let message = format!("model '{asked}' not found; this server has {there}");
        let fault = Fault::new(StatusCode::NOT_FOUND, "invalid_request_error", message);
        Err(fault.code("model_not_found").at("model"))
    }

    /// The tokens of a conversation up to where the answer begins.
    ///
    /// # Errors
    /// When the chat format does not allow it, or there is none.
    pub fn chat_prompt(&self, conversation: &Conversation) -> Result<Vec<u32>, Fault> {
        if let Some(why) = &self.no_chat {
            return Err(Fault::bad(why.clone()).at("messages"));
        }
        if conversation.messages().is_empty() {
            return Err(Fault::bad("there are no messages; expected at least one").at("messages"));
        }
        let ids = self.template.encode_conversation(&self.tokenizer, conversation);
        ids.map_err(|error| Fault::bad(error.to_string()).at(place_of(&error)))
    }

    /// The tokens of a text that is to go on.
    pub fn text_prompt(&self, text: &str) -> Vec<u32> {
        self.tokenizer.encode_prompt(text.as_bytes())
    }

    /// The tokens of a text whose embedding is wanted: it is complete.
    pub fn embedding_prompt(&self, text: &str) -> Vec<u32> {
        self.tokenizer.encode_complete(text.as_bytes())
    }

    /// A request for what follows `prompt`.
    ///
    /// # Errors
    /// When the prompt is empty or too long, an option is out of its range, or the grammar is none.
    pub fn request(
        &self,
        prompt: Vec<u32>,
        voice: Voice,
        wanted: Wanted,
    ) -> Result<Request, Fault> {
        self.check_prompt(&prompt)?;
        let room = self.context - prompt.len();
        let asked = wanted
            .max_tokens
            .map_or(room, |n| usize::try_from(n).unwrap_or(room));
        let choices = wanted.choices.unwrap_or(1);
        if !(1..=MOST_CHOICES).contains(&choices) {
            let message = format!("n is {choices}; expected 1 to {MOST_CHOICES}");
            return Err(Fault::bad(message).at("n"));
        }
        let mut sampling = wanted.sampling;
        let vocabulary = self.model.vocabulary_size();
        if let Some((token, _)) = sampling
            .logit_bias
            .iter()
            .find(|(id, _)| *id as usize >= vocabulary)
        {
            let message = format!(
                "logit_bias names token {token}; expected one below {vocabulary}, the size of the vocabulary"
            );
            return Err(Fault::bad(message).at("logit_bias"));
        }
        let sampler = |sampling: &SamplerOptions| {
            let sampler = Sampler::new(sampling.clone());
            sampler.map_err(|error| Fault::bad(error.to_string()).at(option_of(&error)))
        };
        let mut samplers = vec![sampler(&sampling)?];
        let seed = samplers[0].seed();
        for choice in 1..choices {
            sampling.seed = Some(seed.wrapping_add(choice as u64));
            samplers.push(sampler(&sampling)?);
        }
        if wanted.grammar.is_some() && wanted.ignore_end {
            let message = "ignore_eos: an answer that follows a grammar ends where that lets it; \
                           expected one of the two";
            return Err(Fault::bad(message).at("ignore_eos"));
        }
        let constraints = match &wanted.grammar {
            Some(grammar) => self.constraints(grammar, choices)?,
            None => Vec::new(),
        };
        // What may come first is found out here: the scheduler need not wait for it, and a grammar
        // of no text at all is refused.
        for (sampler, mut constraint) in samplers.iter_mut().zip(constraints) {
            let first = constraint.look(&prompt);
            first.map_err(|error| Fault::bad(error.to_string()).at("response_format"))?;
            sampler.set_mask(Some(Box::new(constraint)));
        }
        Ok(Request {
            prompt,
            voice,
            samplers,
            max_tokens: asked.min(room),
            ignore_end: wanted.ignore_end,
            stops: wanted.stops,
            logprobs: wanted.logprobs,
            whole: wanted.whole,
        })
    }

    /// Refuses a prompt that leaves no room, or says nothing.
    fn check_prompt(&self, prompt: &[u32]) -> Result<(), Fault> {
        let (tokens, context) = (prompt.len(), self.context);
        if prompt.is_empty() {
            return Err(Fault::bad("the prompt is empty").at("prompt"));
        }
        if let Some(token) = prompt
            .iter()
            .find(|id| **id as usize >= self.model.vocabulary_size())
        {
            let message = format!("token {token} is not in the vocabulary");
            return Err(Fault::bad(message).at("prompt"));
        }
        if tokens >= context {
            let message = format!(
                "the prompt is too long (prompt is too long): {tokens} tokens, and the context of {context} must hold \
                 the answer too; shorten it, or start with a larger context (--ctx)"
            );
            return Err(Fault::bad(message).code("context_length_exceeded").at("messages"));
        }
        Ok(())
    }

    /// Constraints for `count` answers.
    ///
    /// # Errors
    /// When the grammar is none; the fault's `param` is `response_format`.
    pub(crate) fn constraints(
        &self,
        grammar: &Grammar,
        count: usize,
    ) -> Result<Vec<Constraint>, Fault> {
        let fault = |problem: String| Fault::bad(problem).at("response_format");
        let len = match grammar {
            Grammar::JsonObject => 0,
            Grammar::JsonSchema(text)
            | Grammar::Regex(text)
            | Grammar::Lark(text)
            | Grammar::Gbnf(text) => text.len(),
        };
        if len > MOST_GRAMMAR {
            let message = format!("the grammar has {len} bytes; expected at most {MOST_GRAMMAR}");
            return Err(fault(message));
        }
        let table = match self.table.get() {
            Some(table) => table,
            None => {
                let made = TokenTable::new(&self.tokenizer);
                let made = made.map_err(|error| fault(error.to_string()))?;
                self.table.get_or_init(|| made)
            }
        };
        let one = |_| Constraint::new(table, grammar).map_err(|error| fault(error.to_string()));
        (0..count).map(one).collect()
    }

    /// Hands a request to the scheduler.
    ///
    /// # Errors
    /// 429 when too many wait, 503 when the server is about to end.
    pub fn submit(&self, request: Request) -> Result<mpsc::Receiver<Event>, Fault> {
        self.scheduler.submit(request).map_err(refused)
    }

    /// The embedding of a text, `[dim]` values of length 1.
    ///
    /// # Errors
    /// When the text is empty or too long, or as for [`submit`](Self::submit).
    pub async fn embed(&self, tokens: Vec<u32>) -> Result<Vec<f32>, Fault> {
        if tokens.is_empty() {
            return Err(Fault::bad("the text is empty").at("input"));
        }
        if tokens.len() > self.context {
            let (tokens, context) = (tokens.len(), self.context);
            let message = format!(
                "the input is too long (prompt is too long): {tokens} tokens, and the context holds {context}"
            );
            return Err(Fault::bad(message).code("context_length_exceeded").at("input"));
        }
        let pooling = self.pooling;
        let result = self.scheduler.embed(Embed { tokens, pooling }).map_err(refused)?;
        let mut values = result
            .await
            .map_err(|_| refused(Refused::Ending))?
            .map_err(|error| Fault::internal(error.to_string()))?;
        normalize(&mut values);
        Ok(values)
    }
}

/// The field of a request that a chat format's error is about.
fn place_of(error: &ChatError) -> String {
    match error {
        ChatError::Message { number, .. } => format!("messages[{}]", number - 1),
        ChatError::Tool { number, .. } => format!("tools[{}]", number - 1),
        ChatError::Effort { .. } => "reasoning_effort".to_owned(),
        _ => "messages".to_owned(),
    }
}

/// Makes the length 1.
pub fn normalize(values: &mut [f32]) {
    let square: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    if square > 0.0 {
        let length = square.sqrt();
        values
            .iter_mut()
            .for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
}

/// The field of a request that a sampler's error is about.
fn option_of(error: &SamplerError) -> &'static str {
    match error {
        SamplerError::Option { option, .. } => option,
        _ => "samplers",
    }
}

pub(crate) fn refused(refused: Refused) -> Fault {
    let message = refused.to_string();
    match refused {
        Refused::Full { .. } => {
            let fault = Fault::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message);
            fault.code("queue_full").retry_after(1)
        }
        Refused::Ending => {
            let fault = Fault::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message);
            fault.code("shutting_down").retry_after(1)
        }
    }
}
