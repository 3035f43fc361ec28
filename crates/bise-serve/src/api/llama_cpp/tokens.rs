//! `/tokenize`, `/detokenize`, `/apply-template`

use super::prompt::{begin, encode, spell};
use crate::api::aside::aside;
use crate::api::openai::message::{self, Message};
use crate::api::openai::tool::{Tool, functions};
use crate::fault::Fault;
use crate::http::body::Body;
use crate::http::state::App;
use axum::Json;
use axum::extract::State;
use bise_model::tokenizer::{TokenKind, Tokenizer};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A text whose tokens are wanted.
#[derive(Deserialize, ToSchema)]
#[schema(as = llama_cpp::Tokenize)]
pub struct Tokenize {
    content: String,
    /// Whether the tokens stand between those that begin and end a text, where the vocabulary asks
    /// for them.
    add_special: Option<bool>,
    /// Whether the names of control tokens are these; they are text unless this is true.
    parse_special: Option<bool>,
    /// Whether each token comes with its text.
    with_pieces: Option<bool>,
}

/// Tokens of a text.
#[derive(Serialize, ToSchema)]
#[schema(as = llama_cpp::Tokens)]
pub struct Tokens {
    tokens: Vec<Token>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = llama_cpp::Token)]
#[serde(untagged)]
enum Token {
    Id(u32),
    WithPiece { id: u32, piece: Piece },
}

/// The text of a token, or its bytes where they are none.
#[derive(Serialize, ToSchema)]
#[schema(as = llama_cpp::Piece)]
#[serde(untagged)]
enum Piece {
    Text(String),
    Bytes(Vec<u8>),
}

impl Piece {
    fn of(tokenizer: &Tokenizer, id: u32) -> Self {
        if tokenizer.kind(id) == Some(TokenKind::Control) {
            return Self::Text(tokenizer.piece(id).to_owned());
        }
        match String::from_utf8(tokenizer.bytes(id).into_owned()) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Bytes(error.into_bytes()),
        }
    }
}

/// The tokens of a text
#[utoipa::path(post, path = "/tokenize", tag = "llama.cpp", request_body = Tokenize, responses(
    (status = 200, description = "Its tokens.", body = Tokens),
))]
pub async fn tokenize(
    State(app): State<App>,
    Body { value, .. }: Body<Tokenize>,
) -> Result<Json<Tokens>, Fault> {
    let served = app.served()?.clone();
    let tokens = aside(move || {
        let tokenizer = &served.tokenizer;
        let mut ids = encode(tokenizer, &value.content, value.parse_special == Some(true));
        if value.add_special == Some(true) {
            let vocabulary = tokenizer.vocabulary();
            begin(tokenizer, &mut ids);
            ids.extend(vocabulary.eos.filter(|_| vocabulary.add_eos));
        }
        let token = |id| match value.with_pieces {
            Some(true) => Token::WithPiece {
                id,
                piece: Piece::of(tokenizer, id),
            },
            _ => Token::Id(id),
        };
        Ok(ids.into_iter().map(token).collect())
    });
    Ok(Json(Tokens {
        tokens: tokens.await?,
    }))
}

/// Tokens whose text is wanted.
#[derive(Deserialize, ToSchema)]
#[schema(as = llama_cpp::Detokenize)]
pub struct Detokenize {
    tokens: Vec<u32>,
}

/// A text.
#[derive(Serialize, ToSchema)]
#[schema(as = llama_cpp::Content)]
pub struct Content {
    content: String,
}

/// The text of tokens, with the names of control tokens
#[utoipa::path(post, path = "/detokenize", tag = "llama.cpp", request_body = Detokenize, responses(
    (status = 200, description = "Their text.", body = Content),
))]
pub async fn detokenize(
    State(app): State<App>,
    Body { value, .. }: Body<Detokenize>,
) -> Result<Json<Content>, Fault> {
    let served = app.served()?;
    let most = served.tokenizer.vocabulary().len();
    if let Some(at) = value.tokens.iter().position(|&id| id as usize >= most) {
        let found = value.tokens[at];
        let message = format!("tokens[{at}] is {found}, expected a token below {most}");
        return Err(Fault::bad(message).at(format!("tokens[{at}]")));
    }
    let content = spell(&served.tokenizer, &value.tokens);
    Ok(Json(Content { content }))
}

/// A conversation.
#[derive(Deserialize, ToSchema)]
#[schema(as = llama_cpp::Conversation)]
pub struct Conversation {
    /// At least one.
    #[schema(min_items = 1)]
    messages: Vec<Message>,
    /// What the model may call.
    tools: Option<Vec<Tool>>,
    /// How much the model is to think, where its chat format can say so.
    reasoning_effort: Option<String>,
}

/// A conversation as a text.
#[derive(Serialize, ToSchema)]
#[schema(as = llama_cpp::Prompt)]
pub struct Prompt {
    prompt: String,
}

/// A conversation as the model sees it, with the names of control tokens
#[utoipa::path(
    post, path = "/apply-template", tag = "llama.cpp", request_body = Conversation, responses(
    (status = 200, description = "The conversation up to where the answer begins.", body = Prompt),
))]
pub async fn apply_template(
    State(app): State<App>,
    Body { value, text }: Body<Conversation>,
) -> Result<Json<Prompt>, Fault> {
    let served = app.served()?.clone();
    let prompt = aside(move || {
        let tools = functions(value.tools.as_deref().unwrap_or_default())?;
        let effort = value.reasoning_effort.as_deref();
        let ids = message::prompt(&served, &text, &value.messages, !tools.is_empty(), effort)?;
        Ok(spell(&served.tokenizer, &ids))
    });
    Ok(Json(Prompt {
        prompt: prompt.await?,
    }))
}
