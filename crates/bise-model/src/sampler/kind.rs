//! The samplers by name.

use super::SamplerError;

/// A step that a chain can have, in the default order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SamplerKind {
    /// [`Penalties`](super::Penalties)
    Penalties,
    /// [`Dry`](super::Dry)
    Dry,
    /// [`TopK`](super::TopK)
    TopK,
    /// [`Typical`](super::Typical)
    Typical,
    /// [`TopP`](super::TopP)
    TopP,
    /// [`MinP`](super::MinP)
    MinP,
    /// [`Xtc`](super::Xtc)
    Xtc,
    /// [`Temperature`](super::Temperature), or [`Greedy`](super::Greedy) where it is 0
    Temperature,
    /// [`Mirostat`](super::Mirostat)
    Mirostat,
}

/// Each sampler with its name, and after it other names that are in use.
const NAMES: [(SamplerKind, &[&str]); 9] = [
    (SamplerKind::Penalties, &["penalties"]),
    (SamplerKind::Dry, &["dry"]),
    (SamplerKind::TopK, &["top-k"]),
    (SamplerKind::Typical, &["typical", "typ-p", "typical-p"]),
    (SamplerKind::TopP, &["top-p", "nucleus"]),
    (SamplerKind::MinP, &["min-p"]),
    (SamplerKind::Xtc, &["xtc"]),
    (SamplerKind::Temperature, &["temperature", "temp"]),
    (SamplerKind::Mirostat, &["mirostat"]),
];

impl SamplerKind {
    /// The default order, that of llama.cpp: likeliness is judged before the temperature changes it.
    pub const DEFAULT: [Self; 8] = [
        Self::Penalties,
        Self::Dry,
        Self::TopK,
        Self::Typical,
        Self::TopP,
        Self::MinP,
        Self::Xtc,
        Self::Temperature,
    ];
    /// Mirostat takes the place of all that takes candidates away.
    pub const MIROSTAT: [Self; 4] = [Self::Penalties, Self::Dry, Self::Temperature, Self::Mirostat];

    /// Its name.
    pub fn name(self) -> &'static str {
        let entry = NAMES.iter().find(|(kind, _)| *kind == self);
        entry.expect("all kinds are listed").1[0]
    }

    /// The names of all, separated by semicolons.
    pub fn names() -> String {
        NAMES.map(|(_, names)| names[0]).join(";")
    }

    /// Reads names separated by semicolons or commas, such as `top-k;top-p;temperature`. Underscores are as good as
    /// hyphens. No names at all are an empty chain.
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
            let wanted = name.replace('_', "-").to_ascii_lowercase();
            let entry = NAMES.iter().find(|(_, names)| names.contains(&wanted.as_str()));
            let (kind, _) = entry.ok_or_else(|| SamplerError::Kind {
                found: name.to_owned(),
            })?;
            kinds.push(*kind);
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
