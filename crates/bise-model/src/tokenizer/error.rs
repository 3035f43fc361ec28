//! What can be wrong with a vocabulary.

use bise_format::gguf::GgufError;

/// Why a vocabulary is refused. Texts never are: every byte string has an encoding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A metadata key is missing or of another type.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// The model comes without a vocabulary.
    #[error(
        "the model has no tokenizer\nget tokenizer.model, tokenizer.json or tekken.json from where the weights come from, \
         and convert the model again if it is a GGUF file"
    )]
    Absent,
    /// The file's vocabulary is of another kind.
    #[error(
        "metadata `{key}` is {found:?}, expected \"llama\" (SentencePiece) or \"gpt2\" (byte-level BPE)"
    )]
    Model {
        /// The metadata key.
        key: &'static str,
        /// Its value.
        found: String,
    },
    /// A byte-level vocabulary cuts text into words by rules that are not known here.
    #[error(
        "metadata `{key}` is {found:?}, expected \"tekken\", the only byte-level vocabularies supported"
    )]
    Pre {
        /// The metadata key.
        key: &'static str,
        /// Its value.
        found: String,
    },
    /// A number that stands for no kind of token.
    #[error("metadata `{key}` says {found} for token {id}, expected 1 to 6")]
    Kind {
        /// The metadata key.
        key: &'static str,
        /// The token.
        id: usize,
        /// Its type.
        found: i32,
    },
    /// Texts with a gap need tokens that the vocabulary does not have.
    #[error(
        "the vocabulary has no control token {piece:?}, which filling a gap needs: the model is not made for it"
    )]
    Infill {
        /// The token's text.
        piece: &'static str,
    },
    /// There are no tokens at all.
    #[error("the vocabulary has no tokens")]
    Empty,
    /// Pieces, scores and kinds must be of one length.
    #[error("the vocabulary has {found} {what} for {expected} tokens")]
    Length {
        /// Which list.
        what: &'static str,
        /// The number of tokens.
        expected: usize,
        /// The length of the list.
        found: usize,
    },
    /// A special token lies outside the vocabulary.
    #[error("the {what} token has id {found}, but there are {tokens} tokens")]
    SpecialOutOfRange {
        /// Which special token: beginning of sequence, end of sequence, unknown.
        what: &'static str,
        /// Its id.
        found: u32,
        /// The number of tokens.
        tokens: usize,
    },
    /// A score is NaN, so merges have no order.
    #[error("the score of token {id} ({piece:?}) is not a number")]
    Score {
        /// The token.
        id: usize,
        /// Its text.
        piece: String,
    },
    /// A byte token must be written `<0x00>` to `<0xFF>`.
    #[error("token {id} is marked as a byte, but its text is {piece:?}, expected <0x00> to <0xFF>")]
    BytePiece {
        /// The token.
        id: usize,
        /// Its text.
        piece: String,
    },
    /// Characters without a piece could not be encoded.
    #[error(
        "the vocabulary has neither an unknown token nor all byte tokens (found {found} of 256)"
    )]
    Incomplete {
        /// How many of the 256 byte tokens there are.
        found: usize,
    },
    /// A piece of a byte-level vocabulary must be in GPT-2's alphabet of bytes.
    #[error("token {id} ({piece:?}) has a character that stands for no byte")]
    Alphabet {
        /// The token.
        id: usize,
        /// Its text.
        piece: String,
    },
    /// A byte-level vocabulary must be able to spell every text.
    #[error("the byte-level vocabulary has tokens for {found} of 256 bytes")]
    Bytes {
        /// How many bytes have a token.
        found: usize,
    },
    /// The parts of a merge, and what it makes, must be tokens.
    #[error("merge {index} ({merge}) is not of two tokens that make a third")]
    Merge {
        /// The place in the list of merges.
        index: usize,
        /// The merge.
        merge: String,
    },
    /// A part of a `tokenizer.json` that is not applied here.
    #[error("the tokenizer's {what} is not one that can be applied: {found}")]
    Rule {
        /// `normalizer` or `pre_tokenizer`.
        what: &'static str,
        /// What it is, or what is wrong with it.
        found: String,
    },
    /// Rules of a later program.
    #[error(
        "the tokenizer's rules are of version {found} (tokenizer.rules.version), expected 1: a newer bise has written the file"
    )]
    RulesVersion {
        /// The version.
        found: u32,
    },
    /// A list of rules that is not what it should be.
    #[error("metadata `{key}` is not a list of pairs as the vocabulary allows them")]
    Pairs {
        /// The metadata key.
        key: &'static str,
    },
}
