//! How PEFT finds modules by texts of its configuration, in Python:
//!
//! ```text
//! patterns of ranks and alphas    re.match(rf"(.*\.)?({pattern})$", module), the first that does
//! target_modules, a list          module == name, or module ends with "." + name
//! target_modules, a text          re.fullmatch(text, module)
//! ```

use regex::{Regex, RegexBuilder};

/// A pattern that ends a module's path, from its start or after a point.
pub(super) enum Pattern {
    /// One of letters, digits, `_`, `-` and points: these stand for any character.
    Plain(String),
    /// Another regular expression.
    Regex(Regex),
}

impl Pattern {
    /// `None` for a regular expression that only Python has, or one that takes much memory.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if pattern.bytes().all(plain) {
            return Some(Self::Plain(pattern.to_owned()));
        }
        whole(&format!("(?:.*\\.)?(?:{pattern})"), 1 << 17).map(Self::Regex)
    }

    /// Whether it is a regular expression, which takes more memory than its text.
    pub(super) fn is_regex(&self) -> bool {
        matches!(self, Self::Regex(_))
    }

    pub(super) fn matches(&self, module: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(module),
            Self::Plain(pattern) => {
                let Some(at) = module.len().checked_sub(pattern.len()) else {
                    return false;
                };
                let (before, end) = module.as_bytes().split_at(at);
                let same = |(found, wanted): (&u8, u8)| wanted == b'.' || *found == wanted;
                (before.is_empty() || before.ends_with(b"."))
                    && end.iter().zip(pattern.bytes()).all(same)
            }
        }
    }
}

/// The modules that something is for.
pub(super) enum Modules {
    /// Those of these names.
    Names(Vec<String>),
    /// Those whose whole path fits.
    Regex(Regex),
}

impl Modules {
    /// `None` for a regular expression that only Python has, or one that takes much memory.
    pub(super) fn regex(pattern: &str) -> Option<Self> {
        whole(&format!("(?:{pattern})"), 1 << 20).map(Self::Regex)
    }

    pub(super) fn contains(&self, module: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(module),
            Self::Names(names) => names.iter().any(|name| {
                let before = module.strip_suffix(name.as_str());
                before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }),
        }
    }
}

/// `pattern` for a whole text, in at most so many bytes.
fn whole(pattern: &str, bytes: usize) -> Option<Regex> {
    let mut builder = RegexBuilder::new(&format!("^(?:{pattern})$"));
    builder.size_limit(bytes).dfa_size_limit(1 << 16).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &str = "model.layers.1.self_attn.q_proj";

    /// As Python's `re.match(rf"(.*\.)?({pattern})$", QUERY)`.
    #[test]
    fn patterns_as_in_python() {
        for (pattern, expected) in [
            ("q_proj", true),
            ("proj", false),
            ("self_attn.q_proj", true),
            ("self_attn-q_proj", false),
            ("1.self_attn.q_proj", true),
            ("layers.1.self.attn.q.proj", true),
            (QUERY, true),
            ("^model.layers.1.self_attn.q_proj", true),
            ("^q_proj", false),
            ("[qk]_proj", true),
            (r"layers\.\d+\.self_attn\.(q|v)_proj", true),
            (r"layers\.[02]\..*", false),
            (".*", true),
            ("k_proj|q_proj", true),
        ] {
            let found = Pattern::new(pattern).expect(pattern);
            assert_eq!(found.matches(QUERY), expected, "{pattern}");
        }
        assert!(Pattern::new("(?!x)q_proj").is_none());
    }

    #[test]
    fn modules_as_in_python() {
        let names = |names: &[&str]| Modules::Names(names.iter().map(|&s| s.to_owned()).collect());
        assert!(names(&["k_proj", "q_proj"]).contains(QUERY));
        assert!(names(&[QUERY]).contains(QUERY));
        assert!(!names(&["proj", "q_proj.x", "layers.1"]).contains(QUERY));
        let regex = |pattern| Modules::regex(pattern).unwrap();
        assert!(regex(r".*\.q_proj").contains(QUERY));
        assert!(!regex("q_proj").contains(QUERY));
        assert!(!regex("x|model").contains(QUERY));
    }
}
