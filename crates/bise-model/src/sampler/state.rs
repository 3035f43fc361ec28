//! What a sampler knows, to go on from later.

use super::SamplerError;

/// What a sampler knows besides its options: with it another sampler goes on as this one would
/// have.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerState {
    /// The seed of the text.
    pub seed: u64,
    /// Tokens drawn so far.
    pub draws: u64,
    /// What filters have learnt, in the order of the chain: mirostat's `mu`.
    pub memories: Vec<f64>,
}

impl SamplerState {
    /// The state as bytes, integers and floats with the lowest byte first:
    ///
    /// ```text
    /// seed u64 | draws u64 | number of memories u32 | each memory f64
    /// ```
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(20 + 8 * self.memories.len());
        bytes.extend(self.seed.to_le_bytes());
        bytes.extend(self.draws.to_le_bytes());
        bytes.extend((self.memories.len() as u32).to_le_bytes());
        bytes.extend(self.memories.iter().flat_map(|m| m.to_le_bytes()));
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// When there are more or fewer bytes than that, or a memory is no finite number.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SamplerError> {
        let damaged = || SamplerError::State {
            problem: format!("{} bytes are no sampler's state", bytes.len()),
        };
        let (seed, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let (draws, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let (count, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let (memories, tail) = rest.as_chunks::<8>();
        if !tail.is_empty() || memories.len() as u64 != u64::from(u32::from_le_bytes(*count)) {
            return Err(damaged());
        }
        let memories: Vec<f64> = memories.iter().map(|m| f64::from_le_bytes(*m)).collect();
        if memories.iter().any(|m| !m.is_finite()) {
            return Err(damaged());
        }
        Ok(Self {
            seed: u64::from_le_bytes(*seed),
            draws: u64::from_le_bytes(*draws),
            memories,
        })
    }
}
