//! Texts that end the output, wherever tokens begin and end, and control tokens by their names.

/// Lets text through up to the first of some texts, which may come in pieces.
#[derive(Debug, Clone, Default)]
pub struct StopTexts {
    texts: Vec<String>,
    /// What may be the beginning of one of the texts.
    held: Vec<Unit>,
    found: Option<usize>,
}

/// A character, or the name of a control token, which nobody sees.
#[derive(Debug, Clone)]
enum Unit {
    Shown(char),
    Hidden(String),
}

/// How a stop text and units compare.
#[derive(PartialEq, Eq)]
enum Match {
    Whole,
    Beginning,
    None,
}

impl StopTexts {
    /// Stops at any of `texts`; empty ones count for nothing.
    pub fn new(texts: &[String]) -> Self {
        Self {
            texts: texts.iter().filter(|text| !text.is_empty()).cloned().collect(),
            ..Self::default()
        }
    }

    /// Takes a piece of text, and gives what is certain not to belong to one of the texts.
    pub fn push(&mut self, piece: &str) -> String {
        self.add(piece.chars().map(Unit::Shown))
    }

    /// Takes the name of a control token, which is no text but may be what one of the texts says.
    pub fn push_control(&mut self, name: &str) -> String {
        self.add([Unit::Hidden(name.to_owned())])
    }

    fn add(&mut self, units: impl IntoIterator<Item = Unit>) -> String {
        if self.found.is_some() {
            return String::new();
        }
        self.held.extend(units);
        let mut start = 0;
        while start < self.held.len() {
            let matches: Vec<Match> =
                self.texts.iter().map(|text| self.compare(text, start)).collect();
            if let Some(text) = matches.iter().position(|found| *found == Match::Whole) {
                self.found = Some(text);
                self.held.truncate(start);
                return self.finish();
            }
            if matches.contains(&Match::Beginning) {
                break;
            }
            start += 1;
        }
        shown(self.held.drain(..start))
    }

    fn compare(&self, mut text: &str, start: usize) -> Match {
        for unit in &self.held[start..] {
            let rest = match unit {
                Unit::Shown(c) => text.strip_prefix(*c),
                Unit::Hidden(name) => text.strip_prefix(name.as_str()),
            };
            match rest {
                Some("") => return Match::Whole,
                Some(rest) => text = rest,
                None => return Match::None,
            }
        }
        Match::Beginning
    }

    /// Ends the text: what was still held.
    pub fn finish(&mut self) -> String {
        shown(self.held.drain(..))
    }

    /// The text that was found.
    pub fn found(&self) -> Option<&str> {
        self.found.map(|text| self.texts[text].as_str())
    }
}

fn shown(units: impl Iterator<Item = Unit>) -> String {
    let shown = units.filter_map(|unit| match unit {
        Unit::Shown(c) => Some(c),
        Unit::Hidden(_) => None,
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the text is cut, what comes out is all before the first stop text, and what is given
    /// early is right.
    #[test]
    fn cuts_do_not_matter() {
        let stops = ["</s>", "\n\n", "ab\u{e9}c", ""].map(String::from);
        for (text, expected, found) in [
            ("some text", "some text", None),
            ("some </s> text", "some ", Some("</s>")),
            ("a\n\nb</s>", "a", Some("\n\n")),
            ("a\nb</s", "a\nb</s", None),
            ("xabab\u{e9}cd", "xab", Some("ab\u{e9}c")),
            ("</</s>", "</", Some("</s>")),
        ] {
            let places: Vec<usize> =
                (0..=text.len()).filter(|&i| text.is_char_boundary(i)).collect();
            for &first in &places {
                for &second in places.iter().filter(|&&p| p >= first) {
                    let mut filter = StopTexts::new(&stops);
                    let mut out = String::new();
                    for piece in [&text[..first], &text[first..second], &text[second..]] {
                        out.push_str(&filter.push(piece));
                        assert!(expected.starts_with(&out), "{out}");
                    }
                    out.push_str(&filter.finish());
                    assert_eq!((out.as_str(), filter.found()), (expected, found), "{text}");
                }
            }
        }
    }

    /// A control token stops by its whole name, alone or with text around it, and is never shown.
    #[test]
    fn control_tokens_stop_by_their_names() {
        let run = |stop: &str| {
            let mut filter = StopTexts::new(&[stop.to_owned()]);
            let mut out = filter.push("a<");
            out.push_str(&filter.push_control("[END]"));
            out.push_str(&filter.push("b"));
            out.push_str(&filter.finish());
            (out, filter.found().is_some())
        };
        for (stop, out, found) in [
            ("[END]", "a<", true),
            ("a<[END]b", "", true),
            ("[END]c", "a<b", false),
            ("END", "a<b", false),
            ("]", "a<b", false),
            ("<b", "a<b", false),
            ("b", "a<", true),
        ] {
            assert_eq!(run(stop), (out.to_owned(), found), "{stop}");
        }
    }
}
