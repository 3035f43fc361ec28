//! Texts that end the output, wherever tokens begin and end.

/// Lets text through up to the first of some texts, which may come in pieces.
#[derive(Debug, Clone, Default)]
pub struct StopTexts {
    texts: Vec<String>,
    /// What may be the beginning of one of the texts.
    held: String,
    found: Option<usize>,
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
        if self.found.is_some() {
            return String::new();
        }
        self.held.push_str(piece);
        let places = self
            .texts
            .iter()
            .enumerate()
            .filter_map(|(i, text)| Some((self.held.find(text)?, i)));
        if let Some((start, text)) = places.min() {
            self.found = Some(text);
            self.held.truncate(start);
            return std::mem::take(&mut self.held);
        }
        let rest = self.held.split_off(self.certain());
        std::mem::replace(&mut self.held, rest)
    }

    /// Ends the text: what was still held.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The text that was found.
    pub fn found(&self) -> Option<&str> {
        self.found.map(|text| self.texts[text].as_str())
    }

    /// Bytes of what is held that begin none of the texts.
    fn certain(&self) -> usize {
        let begins = |rest: &str| self.texts.iter().any(|text| text.starts_with(rest));
        let starts = self.held.char_indices().map(|(i, _)| i);
        starts
            .into_iter()
            .find(|&i| begins(&self.held[i..]))
            .unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the text is cut, what comes out is all before the first stop text, and what is given early is right.
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
            let places: Vec<usize> = (0..=text.len()).filter(|&i| text.is_char_boundary(i)).collect();
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
}
