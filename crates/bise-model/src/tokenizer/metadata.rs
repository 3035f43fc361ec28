//! A vocabulary as GGUF files carry it.

use bise_format::gguf::{GgufError, Metadata};

use super::rules::Added;
use super::vocabulary::parse_byte;
use super::{Algorithm, Reasoning, Rules, TokenKind, TokenizerError, Vocabulary};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const UNK: &str = "tokenizer.ggml.unknown_token_id";
/// Kept by `bise quantize`: how much a model of Mistral's format v15 can be asked to think, and
/// what is usual.
const EFFORTS: &str = "tokenizer.mistral.reasoning_efforts";
const EFFORT: &str = "tokenizer.mistral.reasoning_effort";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const ADD_SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";

/// What bise quantize keeps of a tokenizer's rules, beyond what llama.cpp's keys can say.
const RULES: &str = "tokenizer.rules.version";
const NORMALIZER: &str = "tokenizer.rules.normalizer";
const PRE_TOKENIZER: &str = "tokenizer.rules.pre_tokenizer";
const ADDED: &str = "tokenizer.rules.added";
const PAIRS: &str = "tokenizer.rules.merges";
const FUSE_UNK: &str = "tokenizer.rules.fuse_unk";
const IGNORE_MERGES: &str = "tokenizer.rules.ignore_merges";

impl Vocabulary {
    /// The vocabulary of a GGUF file: SentencePiece (model `llama`), or byte-level (model `gpt2`)
    /// with tekken's words.
    ///
    /// Keys that older converters left out have their usual meaning for such vocabularies: tokens
    /// 0, 1 and 2 are unknown, beginning and end; prompts begin with the beginning token, in
    /// SentencePiece vocabularies also with a space, and have no end token; scores are zero, and
    /// tokens are text.
    ///
    /// # Errors
    /// For another kind of vocabulary, and for keys that are missing, of another type or
    /// inconsistent.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, TokenizerError> {
        let model = metadata.str(MODEL)?;
        if matches!(model, None | Some("none")) && metadata.get(TOKENS).is_none() {
            return Err(TokenizerError::Absent);
        }
        let sentencepiece = match required(model, MODEL)? {
            "llama" => true,
            "gpt2" => false,
            found => {
                return Err(TokenizerError::Model {
                    key: MODEL,
                    found: found.to_owned(),
                });
            }
        };
        let pieces = required(metadata.strings(TOKENS)?, TOKENS)?.to_vec();
        let scores = match metadata.f32s(SCORES)? {
            Some(scores) => scores.to_vec(),
            None if sentencepiece => vec![0.0; pieces.len()],
            None => Vec::new(),
        };
        let mut vocabulary = Self {
            algorithm: Algorithm::SentencePiece,
            kinds: kinds(metadata, &pieces)?,
            pieces,
            scores,
            bos: Some(metadata.u32(BOS)?.unwrap_or(1)),
            eos: Some(metadata.u32(EOS)?.unwrap_or(2)),
            ends: Vec::new(),
            unk: Some(metadata.u32(UNK)?.unwrap_or(0)),
            add_bos: metadata.bool(ADD_BOS)?.unwrap_or(true),
            add_eos: metadata.bool(ADD_EOS)?.unwrap_or(false),
            add_space_prefix: metadata.bool(ADD_SPACE_PREFIX)?.unwrap_or(sentencepiece)
                && sentencepiece,
            rules: rules(metadata)?,
            reasoning: reasoning(metadata)?,
        };
        vocabulary.read_ends(metadata)?;
        if !sentencepiece {
            if vocabulary.rules.is_none() {
                tekken(metadata)?;
            }
            // The merges speak of pieces, whose kinds must be there.
            vocabulary.algorithm = Algorithm::Tekken { merges: Vec::new() };
            vocabulary.validate()?;
            vocabulary.algorithm =
                vocabulary.parse_merges(required(metadata.strings(MERGES)?, MERGES)?)?;
        }
        vocabulary.validate()?;
        Ok(vocabulary)
    }
}

fn kinds(metadata: &Metadata, pieces: &[String]) -> Result<Vec<TokenKind>, TokenizerError> {
    let Some(types) = metadata.i32s(TYPES)? else {
        // As llama.cpp has it: all are text, and bytes are known by their names.
        let kind = |piece: &String| match parse_byte(piece) {
            Some(_) => TokenKind::Byte,
            None => TokenKind::Normal,
        };
        let named = metadata.str(MODEL)? == Some("llama");
        return Ok(pieces
            .iter()
            .map(|piece| if named { kind(piece) } else { TokenKind::Normal })
            .collect());
    };
    let kinds = types.iter().enumerate().map(|(id, &found)| {
        TokenKind::from_number(found).ok_or(TokenizerError::Kind {
            key: TYPES,
            id,
            found,
        })
    });
    kinds.collect()
}

fn rules(metadata: &Metadata) -> Result<Option<Rules>, TokenizerError> {
    match metadata.u32(RULES)? {
        None => return Ok(None),
        Some(1) => {}
        Some(found) => return Err(TokenizerError::RulesVersion { found }),
    }
    let part = |key| Ok::<_, TokenizerError>(metadata.str(key)?.unwrap_or("null").to_owned());
    let added = pairs(metadata, ADDED)?.unwrap_or_default();
    let added = added.into_iter().map(|(id, bits)| Added::from_bits(id, bits));
    Ok(Some(Rules {
        normalizer: part(NORMALIZER)?,
        pre_tokenizer: part(PRE_TOKENIZER)?,
        added: added
            .collect::<Option<_>>()
            .ok_or(TokenizerError::Pairs { key: ADDED })?,
        merges: pairs(metadata, PAIRS)?,
        fuse_unk: metadata.bool(FUSE_UNK)?.unwrap_or(false),
        ignore_merges: metadata.bool(IGNORE_MERGES)?.unwrap_or(false),
    }))
}

/// Numbers two by two.
fn pairs(
    metadata: &Metadata,
    key: &'static str,
) -> Result<Option<Vec<(u32, u32)>>, TokenizerError> {
    let Some(numbers) = metadata.u32s(key)? else {
        return Ok(None);
    };
    let (pairs, []) = numbers.as_chunks::<2>() else {
        return Err(TokenizerError::Pairs { key });
    };
    Ok(Some(pairs.iter().map(|&[a, b]| (a, b)).collect()))
}

fn reasoning(metadata: &Metadata) -> Result<Option<Reasoning>, TokenizerError> {
    let efforts = metadata.strings(EFFORTS)?.map(<[String]>::to_vec);
    let usual = metadata.str(EFFORT)?.map(str::to_owned);
    Ok(efforts.map(|efforts| Reasoning { efforts, usual }))
}

/// Whether text is cut into words as tekken does it.
fn tekken(metadata: &Metadata) -> Result<(), TokenizerError> {
    match required(metadata.str(PRE)?, PRE)? {
        "tekken" => Ok(()),
        found => Err(TokenizerError::Pre {
            key: PRE,
            found: found.to_owned(),
        }),
    }
}

fn required<T>(value: Option<T>, key: &str) -> Result<T, TokenizerError> {
    Ok(value.ok_or_else(|| GgufError::MissingKey {
        key: key.to_owned(),
    })?)
}
