//! How embeddings are made of the states of all tokens.

use anyhow::Result;
use bise_format::gguf::Metadata;
use bise_serve::request::Pooling;
use clap::ValueEnum;

/// How one vector is made of a vector for each token.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum How {
    /// The last token's
    Last,
    /// The mean
    Mean,
    /// The first token's
    Cls,
}

/// What was `asked` for, or else what the model's file says, or else the last token's.
pub fn pooling(asked: Option<How>, metadata: &Metadata) -> Result<Pooling> {
    Ok(match asked {
        Some(How::Last) => Pooling::Last,
        Some(How::Mean) => Pooling::Mean,
        Some(How::Cls) => Pooling::Cls,
        None => Pooling::of_metadata(metadata)?.unwrap_or(Pooling::Last),
    })
}
