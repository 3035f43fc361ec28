//! The samplers by name.

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
    /// The default order, that of llama.cpp: likeliness is judged before the temperature changes
    /// it.
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

    /// The sampler of this name. Underscores are as good as hyphens.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let wanted = name.replace('_', "-").to_ascii_lowercase();
        let entry = NAMES.iter().find(|(_, names)| names.contains(&wanted.as_str()));
        entry.map(|(kind, _)| *kind)
    }
}
