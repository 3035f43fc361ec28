//! A vocabulary as GGUF files carry it.

use bise_tensor::gguf::{GgufError, Metadata};

use super::{TokenKind, TokenizerError, Vocabulary};

const MODEL: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const UNK: &str = "tokenizer.ggml.unknown_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const ADD_SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";

impl Vocabulary {
    /// The SentencePiece vocabulary (model `llama`) of a GGUF file.
    ///
    /// Keys that older converters left out have their usual meaning for such vocabularies: tokens 0, 1 and 2
    /// are unknown, beginning and end; prompts begin with the beginning token and a space, and have no end
    /// token.
    ///
    /// # Errors
    /// For another kind of vocabulary, and for keys that are missing, of another type or inconsistent.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, TokenizerError> {
        let model = required(metadata.str(MODEL)?, MODEL)?;
        if model != "llama" {
            return Err(TokenizerError::Model {
                key: MODEL,
                found: model.to_owned(),
            });
        }
        let types = required(metadata.i32s(TYPES)?, TYPES)?;
        let kinds = types.iter().enumerate().map(|(id, &found)| {
            TokenKind::from_number(found).ok_or(TokenizerError::Kind {
                key: TYPES,
                id,
                found,
            })
        });
        let vocabulary = Self {
            pieces: required(metadata.strings(TOKENS)?, TOKENS)?.to_vec(),
            scores: required(metadata.f32s(SCORES)?, SCORES)?.to_vec(),
            kinds: kinds.collect::<Result<_, _>>()?,
            bos: Some(metadata.u32(BOS)?.unwrap_or(1)),
            eos: Some(metadata.u32(EOS)?.unwrap_or(2)),
            unk: Some(metadata.u32(UNK)?.unwrap_or(0)),
            add_bos: metadata.bool(ADD_BOS)?.unwrap_or(true),
            add_eos: metadata.bool(ADD_EOS)?.unwrap_or(false),
            add_space_prefix: metadata.bool(ADD_SPACE_PREFIX)?.unwrap_or(true),
        };
        vocabulary.validate()?;
        Ok(vocabulary)
    }
}

fn required<T>(value: Option<T>, key: &str) -> Result<T, TokenizerError> {
    Ok(value.ok_or_else(|| GgufError::MissingKey { key: key.to_owned() })?)
}
