//! What the user types: one line, or several.
//!
//! A line that ends with a backslash goes on in the next one. From `"""` to the next `"""`
//! everything belongs to one entry, line ends included.

/// Opens and closes an entry of several lines.
const FENCE: &str = "\"\"\"";

/// What has been typed so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// All of it: fences and the backslashes of continued lines are gone.
    Whole(String),
    /// There is more to come.
    Unfinished,
}

impl Entry {
    /// Looks at `typed`, lines separated by line feeds.
    pub fn of(typed: &str) -> Self {
        let typed = typed.strip_suffix('\n').unwrap_or(typed);
        if let Some(rest) = typed.trim_start().strip_prefix(FENCE) {
            return match rest.trim_end().strip_suffix(FENCE) {
                Some(text) => {
                    Self::Whole(text.strip_prefix('\n').unwrap_or(text).trim_end().to_owned())
                }
                None => Self::Unfinished,
            };
        }
        if typed.ends_with('\\') {
            return Self::Unfinished;
        }
        Self::Whole(typed.replace("\\\n", "\n"))
    }

    /// As [`Entry::of`], when nothing more will come.
    pub fn at_end(typed: &str) -> String {
        match Self::of(typed) {
            Self::Whole(text) => text,
            Self::Unfinished => {
                let open = typed.trim_start().strip_prefix(FENCE).unwrap_or(typed);
                open.trim_end_matches('\\').trim_end().replace("\\\n", "\n")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_fences() {
        let whole = |text: &str| Entry::Whole(text.to_owned());
        assert_eq!(Entry::of("hello"), whole("hello"));
        assert_eq!(Entry::of(""), whole(""));
        assert_eq!(Entry::of("a \\"), Entry::Unfinished);
        assert_eq!(Entry::of("a \\\nb"), whole("a \nb"));
        assert_eq!(Entry::of("\"\"\"a\nb"), Entry::Unfinished);
        assert_eq!(Entry::of("\"\"\"\na\n\nb\\\n\"\"\""), whole("a\n\nb\\"));
        assert_eq!(Entry::of("\"\"\"a\"\"\""), whole("a"));
        assert_eq!(Entry::of("\"\"\""), Entry::Unfinished);
        assert_eq!(Entry::of("say \"\"\" so"), whole("say \"\"\" so"));
    }

    #[test]
    fn the_end_closes_what_is_open() {
        assert_eq!(Entry::at_end("\"\"\"a\nb"), "a\nb");
        assert_eq!(Entry::at_end("a\\"), "a");
        assert_eq!(Entry::at_end("a"), "a");
    }
}
