//! Lines of an answer that end between words, on a terminal. The answer comes piece by piece; a
//! word is held back until it is whole.

use unicode_width::UnicodeWidthChar;

/// Breaks lines of so many columns.
#[derive(Debug, Default)]
pub struct Wrap {
    /// Columns of a line; 0 for lines of any length.
    columns: usize,
    /// Columns that are taken of the line.
    at: usize,
    /// Spaces and a word that are not shown yet.
    spaces: String,
    word: String,
}

impl Wrap {
    /// For lines of `columns`.
    pub fn new(columns: usize) -> Self {
        Self {
            columns,
            ..Self::default()
        }
    }

    /// What can be shown after `piece` has come.
    pub fn push(&mut self, piece: &str) -> String {
        if self.columns == 0 {
            return piece.to_owned();
        }
        let mut out = String::new();
        for c in piece.chars() {
            match c {
                '\n' => {
                    self.take_word(&mut out);
                    self.spaces.clear();
                    out.push(c);
                    self.at = 0;
                }
                ' ' | '\t' => {
                    self.take_word(&mut out);
                    self.spaces.push(c);
                }
                // Ideographs are words of their own.
                c if c.width() == Some(2) => {
                    self.take_word(&mut out);
                    self.word.push(c);
                    self.take_word(&mut out);
                }
                c => self.word.push(c),
            }
        }
        out
    }

    /// The rest, at the end of the answer.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        self.take_word(&mut out);
        (self.at, self.spaces) = (0, String::new());
        out
    }

    /// Shows the word, in the next line where it does not fit.
    fn take_word(&mut self, out: &mut String) {
        if self.word.is_empty() {
            return;
        }
        let columns = |text: &str| {
            text.chars()
                .filter_map(|c| if c == '\t' { Some(8) } else { c.width() })
                .sum::<usize>()
        };
        let (spaces, word) = (columns(&self.spaces), columns(&self.word));
        if self.at > 0 && self.at + spaces + word > self.columns {
            out.push('\n');
            self.at = 0;
        } else {
            out.push_str(&self.spaces);
            self.at += spaces;
        }
        out.push_str(&self.word);
        self.spaces.clear();
        self.word.clear();
        // A word that is longer than a line is broken by the terminal.
        self.at = match self.at + word {
            at if at > self.columns => (at - 1) % self.columns + 1,
            at => at,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` in pieces of every length gives the same.
    fn wrapped(columns: usize, text: &str) -> String {
        let characters: Vec<char> = text.chars().collect();
        let mut all = (1..=characters.len().max(1)).map(|len| {
            let mut wrap = Wrap::new(columns);
            let mut out = String::new();
            for piece in characters.chunks(len) {
                out.push_str(&wrap.push(&piece.iter().collect::<String>()));
            }
            out + &wrap.finish()
        });
        let first = all.next().unwrap();
        assert!(all.all(|other| other == first));
        first
    }

    #[test]
    fn lines_end_between_words() {
        assert_eq!(wrapped(10, "one two three four"), "one two\nthree four");
        assert_eq!(wrapped(10, "one two th"), "one two th");
        assert_eq!(wrapped(7, "one two"), "one two");
        assert_eq!(wrapped(5, "one\n  two"), "one\n  two");
        assert_eq!(wrapped(5, "a longerword b"), "a\nlongerword\nb");
        assert_eq!(wrapped(0, "any  length\tof line"), "any  length\tof line");
        assert_eq!(
            wrapped(6, "\u{65e5}\u{672c}\u{8a9e}\u{6587}"),
            "\u{65e5}\u{672c}\u{8a9e}\n\u{6587}"
        );
        assert_eq!(wrapped(8, "a  b"), "a  b");
        assert_eq!(wrapped(8, ""), "");
    }
}
