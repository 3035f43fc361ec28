//! How tekken cuts text into words before merging.
//!
//! The pattern that `tekken.json` files give is, alternatives in order of preference:
//!
//! ```text
//! [^\r\n\p{L}\p{N}]? upper* lower+   a word, with one character in front that is neither letter nor digit
//! [^\r\n\p{L}\p{N}]? upper+ lower*
//! \p{N}                              each digit by itself
//!  ?[^\s\p{L}\p{N}]+[\r\n/]*         symbols, with a space in front
//! \s*[\r\n]+                         line ends
//! \s+(?!\S)                          white space, without its last character where a word follows
//! \s+
//! ```
//!
//! The look-ahead only shortens a run of white space, so it is done here by hand: the rest is a
//! regular expression in the strict sense, matched in linear time whatever the text says.

use std::sync::LazyLock;

use regex::Regex;

/// Without the look-ahead.
static WORD: LazyLock<Regex> = LazyLock::new(|| {
    const UPPER: &str = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]";
    const LOWER: &str = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";
    const FRONT: &str = r"[^\r\n\p{L}\p{N}]?";
    let pattern = format!(
        r"{FRONT}{UPPER}*{LOWER}+|{FRONT}{UPPER}+{LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+"
    );
    Regex::new(&pattern).expect("the pattern is valid")
});

/// The words of `text`, in order; together they are the text.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at == text.len() {
            return None;
        }
        // Every character begins a match: letters and marks, numbers, white space, and all others.
        let end = WORD.find_at(text, at).map_or(text.len(), |found| found.end());
        let word = &text[at..end];
        let word = match end < text.len() && is_blank(word) {
            true => without_last(word),
            false => word,
        };
        at += word.len();
        Some(word)
    })
}

/// Whether the last alternative made this word: white space that does not end a line.
fn is_blank(word: &str) -> bool {
    !word.ends_with(['\r', '\n']) && word.chars().all(char::is_whitespace)
}

/// All but the last character, if that leaves any.
fn without_last(word: &str) -> &str {
    match word.char_indices().next_back() {
        Some((at, _)) if at > 0 => &word[..at],
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn the_pattern_in_examples() {
        for (text, expected) in [
            ("", vec![]),
            ("Hello world", vec!["Hello", " world"]),
            ("HelloWorld", vec!["Hello", "World"]),
            ("don't", vec!["don", "'t"]),
            ("1234", vec!["1", "2", "3", "4"]),
            ("a   b", vec!["a", "  ", " b"]),
            ("a   ", vec!["a", "   "]),
            ("a  1", vec!["a", " ", " ", "1"]),
            ("a \n\n  b", vec!["a", " \n\n", " ", " b"]),
            (" ... //\n/x", vec![" ...", " //\n/", "x"]),
            ("\t\u{a0}é\u{301}", vec!["\t", "\u{a0}é\u{301}"]),
        ] {
            assert_eq!(words(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }
}
