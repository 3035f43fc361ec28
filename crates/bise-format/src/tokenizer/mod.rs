//! Tokenizers: `tokenizer.json` or `tokenizer.model`, as the metadata that GGUF's `llama`
//! tokenizers have, and `tekken.json` or a `tokenizer.json` of bytes, as that of its `gpt2`
//! tokenizers.
//!
//! Where several stand side by side, `tokenizer.json` counts, as in transformers: newer tokens are
//! written into it alone. A `tekken.json` of the same tokens counts before it, as it also tells how
//! conversations are written.
//!
//! What GGUF's keys cannot say (flags of added tokens, normalizer, pre-tokenizer, pairs that merge)
//! stands in keys `tokenizer.rules.*` beside them.

mod bpe_json;
mod chat_templates;
mod sentencepiece;
mod settings;
mod tekken;
#[cfg(test)]
mod tests;
mod vocabulary;
mod words;

use crate::error::OpenError;
use crate::gguf::Metadata;
use crate::hf::SpecialTokens;
use settings::Settings;
use std::path::{Path, PathBuf};
use tekken::Tekken;
use vocabulary::{Token, Vocabulary, complete, file_name};

/// A tokenizer that is as long as the model's vocabulary.
pub(crate) struct Tokenizer {
    kind: Kind,
    settings: Settings,
}

enum Kind {
    /// Tokens, what the file says beside them, and the flags of added tokens: id after id with its
    /// bits.
    Pieces(Vec<Token>, Vocabulary, Vec<u32>),
    Tekken(Tekken, u64),
}

/// Reads the tokenizer in `directory`, if there is one.
pub(crate) fn read(directory: &Path, vocab_size: u64) -> Result<Option<Tokenizer>, OpenError> {
    let settings = Settings::read(directory, vocab_size)?;
    let tekken = Some(directory.join("tekken.json")).filter(|path| path.exists());
    let model = sentencepiece_model(directory);
    let json = Some(directory.join("tokenizer.json")).filter(|path| path.exists());
    let json = match &json {
        Some(path) => Some(bpe_json::read(path, vocab_size).map_err(|error| {
            match tekken.as_ref().or(model.as_ref()) {
                Some(other) => error.beside(other),
                None => error,
            }
        })?),
        None => None,
    };
    let mut vocabulary = match (json, model, tekken) {
        (Some(mut json), Some(path), _) => {
            let model = sentencepiece::read(&path, vocab_size)?;
            json.compare_pieces(&model.tokens, &path);
            json
        }
        (json, None, Some(path)) => {
            let tekken = tekken::read(&path, Some(vocab_size))?;
            match json {
                Some(mut json) if !tekken.has_tokens_of(&json) => {
                    json.notes.push(format!(
                        "tokenizer.json has other tokens than {}: it counts, as it does for transformers",
                        file_name(&path)
                    ));
                    json
                }
                _ => {
                    let kind = Kind::Tekken(tekken, vocab_size);
                    return Ok(Some(Tokenizer { kind, settings }));
                }
            }
        }
        (Some(json), None, None) => json,
        (None, Some(path), _) => {
            let mut model = sentencepiece::read(&path, vocab_size)?;
            if settings.configured {
                model.follow_transformers(&settings);
            }
            model
        }
        (None, None, None) => return Ok(None),
    };
    vocabulary.added.extend(settings.added.iter().cloned());
    vocabulary.add_named(&settings.named, vocab_size);
    let flags = vocabulary.flags(vocab_size);
    let tokens = complete(&mut vocabulary, vocab_size);
    let kind = Kind::Pieces(tokens, vocabulary, flags);
    Ok(Some(Tokenizer { kind, settings }))
}

/// The metadata that a `tekken.json` becomes.
///
/// # Errors
/// When the file cannot be read, is damaged, or is of a kind that GGUF cannot say.
pub fn tekken_metadata(path: &Path) -> Result<Metadata, OpenError> {
    let mut metadata = Metadata::new();
    tekken::read(path, None)?.describe(0, &mut metadata);
    Ok(metadata)
}

/// The metadata that the tokenizer in `directory` becomes, of a model of `vocab_size` tokens, and
/// what is to be known of it; `None` where there is no tokenizer.
///
/// # Errors
/// When a file cannot be read, is damaged, or is of a kind that GGUF cannot say.
pub fn tokenizer_metadata(
    directory: &Path,
    vocab_size: u64,
) -> Result<Option<(Metadata, Vec<String>)>, OpenError> {
    let (mut metadata, mut notes) = (Metadata::new(), Vec::new());
    Ok(read(directory, vocab_size)?.map(|tokenizer| {
        tokenizer.describe(&SpecialTokens::default(), &mut metadata, &mut notes);
        (metadata, notes)
    }))
}

/// The newest of the SentencePiece models in `directory`: Mistral's own directories have the
/// version in the name.
fn sentencepiece_model(directory: &Path) -> Option<PathBuf> {
    const NAMES: [&str; 5] = [
        "tokenizer.model",
        "tokenizer.model.v7",
        "tokenizer.model.v3",
        "tokenizer.model.v2",
        "tokenizer.model.v1",
    ];
    let mut paths = NAMES.iter().map(|name| directory.join(name));
    paths.find(|path| path.exists())
}

impl Tokenizer {
    /// Adds the tokenizer to `metadata`, keys as llama.cpp's converter writes them; `special` are
    /// the configuration's tokens, for when the tokenizer names none.
    pub(crate) fn describe(
        self,
        special: &SpecialTokens,
        metadata: &mut Metadata,
        notes: &mut Vec<String>,
    ) {
        let Self { kind, settings } = self;
        let (tokens, vocabulary, flags) = match kind {
            Kind::Pieces(tokens, vocabulary, flags) => (tokens, vocabulary, flags),
            Kind::Tekken(tekken, vocab_size) => {
                tekken.describe(vocab_size, metadata);
                return chat_templates::describe(settings.chat_templates, metadata);
            }
        };
        let named = |text: &Option<String>| {
            let text = text.as_ref()?;
            tokens
                .iter()
                .position(|token| token.text == *text)
                .map(|id| id as u32)
        };
        let bos = named(&settings.bos).or(vocabulary.bos).or(special.bos);
        let eos = named(&settings.eos).or(vocabulary.eos).or(special.eos);
        let pad = named(&settings.pad);
        let of_model = settings.add_prefix_space.filter(|_| vocabulary.rules.is_none());
        let add_prefix = of_model.unwrap_or(vocabulary.add_space_prefix);
        let pre = vocabulary.rules.as_ref().and_then(|rules| rules.pre);
        if let Some(rules) = vocabulary.rules {
            rules.describe(&tokens, flags, metadata);
        }
        let mut set = |key: &str, value| metadata.set_default(&format!("tokenizer.{key}"), value);
        set(
            "ggml.model",
            Some(if pre.is_some() { "gpt2" } else { "llama" }.into()),
        );
        set("ggml.pre", Some(pre.unwrap_or("default").into()));
        set(
            "ggml.scores",
            Some(tokens.iter().map(|t| t.score).collect::<Vec<f32>>().into()),
        );
        set(
            "ggml.token_type",
            Some(tokens.iter().map(|t| t.kind as i32).collect::<Vec<i32>>().into()),
        );
        set("ggml.bos_token_id", bos.map(Into::into));
        set("ggml.eos_token_id", eos.map(Into::into));
        set("ggml.unknown_token_id", vocabulary.unk.map(Into::into));
        set("ggml.padding_token_id", pad.map(Into::into));
        set(
            "ggml.add_bos_token",
            Some(settings.add_bos.unwrap_or(vocabulary.add_bos).into()),
        );
        set(
            "ggml.add_eos_token",
            Some(settings.add_eos.unwrap_or(false).into()),
        );
        set("ggml.add_space_prefix", pre.is_none().then(|| add_prefix.into()));
        set(
            "ggml.remove_extra_whitespaces",
            vocabulary.remove_extra_whitespaces.then_some(true.into()),
        );
        let texts: Vec<String> = tokens.into_iter().map(|t| t.text).collect();
        set("ggml.tokens", Some(texts.into()));
        chat_templates::describe(settings.chat_templates, metadata);
        notes.extend(vocabulary.notes);
    }
}
