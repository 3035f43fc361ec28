//! Lists of samplers.

use super::error::SamplerError;
use super::kind::SamplerKind;

impl SamplerKind {
    /// Reads names separated by semicolons or commas, such as `top-k;top-p;temperature`.
    /// Underscores are as good as hyphens. No names at all are an empty chain.
    ///
    /// # Errors
    /// When there is no sampler of a name, one is named twice, or one follows mirostat.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, SamplerError> {
        let mut kinds: Vec<Self> = Vec::new();
        for name in list
            .split([';', ','])
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            let kind = Self::from_name(name).ok_or_else(|| SamplerError::Kind {
                found: name.to_owned(),
            })?;
            kinds.push(kind);
        }
        check_order(&kinds)?;
        Ok(kinds)
    }
}

/// Each sampler once, and mirostat last.
pub(super) fn check_order(kinds: &[SamplerKind]) -> Result<(), SamplerError> {
    for (i, kind) in kinds.iter().enumerate() {
        let sampler = kind.name();
        if kinds[..i].contains(kind) {
            return Err(SamplerError::Order {
                sampler,
                problem: "is named twice",
            });
        }
        if *kind == SamplerKind::Mirostat && i + 1 < kinds.len() {
            return Err(SamplerError::Order {
                sampler,
                problem: "must be the last sampler",
            });
        }
    }
    Ok(())
}
