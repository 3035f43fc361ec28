//! What a check finds.

/// What is wrong with a file, as far as that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The file ends too soon.
    Truncated,
    /// The header cannot be read, or is not as it was written.
    Header,
    /// A metadata entry is another.
    Metadata,
    /// The base of rotary frequencies is another.
    RopeBase,
    /// The vocabulary is another.
    Tokenizer,
    /// Bytes of a tensor, or between tensors, are others.
    Bits,
    /// Tensors lie in each other's places.
    SwappedTensors,
    /// Experts of a layer lie in each other's places.
    SwappedExperts,
    /// Values that weights do not have.
    Values,
    /// A part of a tensor was not written, or what belongs elsewhere was.
    Hole,
    /// The model cannot be run, or does not say what it should.
    Probe,
}

impl FaultKind {
    /// A short name, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Header => "header",
            Self::Metadata => "metadata",
            Self::RopeBase => "rope-base",
            Self::Tokenizer => "tokenizer",
            Self::Bits => "bits",
            Self::SwappedTensors => "swapped-tensors",
            Self::SwappedExperts => "swapped-experts",
            Self::Values => "values",
            Self::Hole => "hole",
            Self::Probe => "probe",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Of which kind.
    pub kind: FaultKind,
    /// What was expected where, and what was found.
    pub what: String,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Empty for a good file.
    pub faults: Vec<Fault>,
    /// What is known to be good.
    pub checked: Vec<String>,
    /// What could not be checked, and why.
    pub unchecked: Vec<String>,
}

impl Verdict {
    pub(crate) fn fault(&mut self, kind: FaultKind, what: impl Into<String>) {
        let what = what.into();
        self.faults.push(Fault { kind, what });
    }

    /// Notes what went well when nothing was found since there were `before` faults.
    pub(super) fn good_since(&mut self, before: usize, what: String) {
        if self.faults.len() == before {
            self.checked.push(what);
        }
    }
}
