//! A template's source in the words of minijinja: what Jinja2 and transformers read otherwise is
//! written anew.
//!
//! | Jinja2 and transformers | here |
//! | --- | --- |
//! | lines end with LF, CR LF or CR | with LF |
//! | `'...'` has the escapes of Python's texts | is written out |
//! | `{% generation %}..{% endgeneration %}`, a scope of its own | `{% with %}..{% endwith %}` |
//! | `'word' in text` | `word` as the text has it: see [`inert`](super::inert) |
//!
//! Lines stay where they are, so that errors name the right one.

/// The source of a template for minijinja; `inert` writes a word as texts of messages have it.
pub(super) fn prepare(source: &str, inert: impl Fn(&str) -> String) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut scanner = Scanner {
        rest: &source,
        out: String::with_capacity(source.len()),
    };
    while !scanner.rest.is_empty() {
        scanner.data();
        if scanner.rest.starts_with("{#") {
            scanner.past("#}");
        } else if let Some(end) = end_of_raw(scanner.rest) {
            scanner.copy(end);
        } else if !scanner.rest.is_empty() {
            scanner.tag(&inert);
        }
    }
    scanner.out
}

struct Scanner<'s> {
    rest: &'s str,
    out: String,
}

impl<'s> Scanner<'s> {
    fn copy(&mut self, len: usize) {
        let (copied, rest) = self.rest.split_at(len);
        self.out.push_str(copied);
        self.rest = rest;
    }

    /// Copies to the end of the next `mark`.
    fn past(&mut self, mark: &str) {
        let len = self.rest.find(mark).map_or(self.rest.len(), |at| at + mark.len());
        self.copy(len);
    }

    /// Copies what stands outside of tags.
    fn data(&mut self) {
        let marks = ["{{", "{%", "{#"].map(|mark| self.rest.find(mark));
        let len = marks.into_iter().flatten().min().unwrap_or(self.rest.len());
        self.copy(len);
    }

    /// A tag from `{{` or `{%` to its end, which is not in a text or a bracket.
    fn tag(&mut self, inert: &impl Fn(&str) -> String) {
        let statement = self.rest.starts_with("{%");
        let end = if statement { "%}" } else { "}}" };
        self.copy(2);
        let (mut depth, mut first) = (0, statement);
        while let Some(c) = self.rest.chars().next() {
            match c {
                '\'' | '"' => self.text(c, inert),
                _ if depth == 0 && self.rest.starts_with(end) => return self.copy(2),
                'a'..='z' | 'A'..='Z' | '_' => {
                    self.word(first);
                    first = false;
                }
                _ => {
                    depth = match c {
                        '(' | '[' | '{' => depth + 1,
                        ')' | ']' | '}' => (depth - 1).max(0),
                        _ => depth,
                    };
                    self.copy(c.len_utf8());
                }
            }
        }
    }

    /// A name; the first of a statement may be one that only transformers know.
    fn word(&mut self, first: bool) {
        let end = |c: char| !(c.is_alphanumeric() || c == '_');
        let len = self.rest.find(end).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(len);
        self.out.push_str(match word {
            "generation" if first => "with",
            "endgeneration" if first => "endwith",
            _ => word,
        });
        self.rest = rest;
    }

    /// A text in quotes, with the escapes that minijinja reads as Python reads these.
    fn text(&mut self, quote: char, inert: &impl Fn(&str) -> String) {
        let Some((text, rest)) = unescaped(&self.rest[1..], quote) else {
            return self.copy(self.rest.len());
        };
        let lines = self.rest[..self.rest.len() - rest.len()].matches('\n').count();
        self.rest = rest;
        let text = if looks_for(rest) { inert(&text) } else { text };
        self.out.push('\'');
        for c in text.chars() {
            match c {
                '\\' | '\'' => self.out.extend(['\\', c]),
                '\n' => self.out.push_str("\\n"),
                c => self.out.push(c),
            }
        }
        self.out.push('\'');
        self.out.extend(std::iter::repeat_n('\n', lines));
    }
}

/// Whether `in` comes next, or `not in`.
fn looks_for(rest: &str) -> bool {
    let mut words = rest.split_whitespace();
    let next = words.next();
    next == Some("in") || (next == Some("not") && words.next() == Some("in"))
}

/// Where `{% raw %}..{% endraw %}` ends, if `source` begins with it.
fn end_of_raw(source: &str) -> Option<usize> {
    let tag = |text: &str, name: &str| {
        let inner = text.strip_prefix("{%")?;
        let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner).trim_start();
        let inner = inner.strip_prefix(name)?.trim_start();
        let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
        Some(text.len() - inner.strip_prefix("%}")?.len())
    };
    let start = tag(source, "raw")?;
    let tags = source[start..].match_indices("{%");
    let mut ends =
        tags.filter_map(|(at, _)| Some(start + at + tag(&source[start + at..], "endraw")?));
    Some(ends.next().unwrap_or(source.len()))
}

/// The text up to `quote` as Python reads it, and what follows.
fn unescaped(source: &str, quote: char) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut rest = source;
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        if c == quote {
            return Some((text, rest));
        }
        if c != '\\' {
            text.push(c);
            continue;
        }
        let escape = rest.chars().next()?;
        rest = &rest[escape.len_utf8()..];
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        match escape {
            '\n' => {}
            '\\' | '\'' | '"' => text.push(escape),
            'a' => text.push('\u{7}'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'v' => text.push('\u{b}'),
            '0'..='7' => {
                let octal = |c: char| c.is_digit(8);
                let more = rest.chars().take(2).take_while(|&c| octal(c)).count();
                let code = u32::from_str_radix(&format!("{escape}{}", &rest[..more]), 8).ok()?;
                text.push(char::from_u32(code)?);
                rest = &rest[more..];
            }
            _ if digits > 0 => {
                let code = rest.get(..digits)?;
                text.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
                rest = &rest[digits..];
            }
            _ => text.extend(['\\', escape]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::prepare;

    #[test]
    fn sources_are_written_in_minijinjas_words() {
        for (source, expected) in [
            ("a\r\nb\rc", "a\nb\nc"),
            ("{{ 'a\\\nb' }}\\\n", "{{ 'ab'\n }}\\\n"),
            (
                "{{ \"it's\" + 'x\\d\\x41\\u00e9\\101' }}",
                "{{ 'it\\'s' + 'x\\\\dAéA' }}",
            ),
            (
                "{%- generation -%}x{%+ endgeneration %}",
                "{%- with -%}x{%+ endwith %}",
            ),
            (
                "{{ generation }}{% if generation %}",
                "{{ generation }}{% if generation %}",
            ),
            ("{# {% generation %} ' #}'\\d'", "{# {% generation %} ' #}'\\d'"),
            (
                "{% raw %}{% generation %}{{ '\\d' {%- endraw %}",
                "{% raw %}{% generation %}{{ '\\d' {%- endraw %}",
            ),
            ("{{ {'a': {'b': '}}'}} }}'", "{{ {'a': {'b': '}}'}} }}'"),
            (
                "{% if '<a>' in x or '<b>' not in y or '<c>' == z %}",
                "{% if '(a)' in x or '(b)' not in y or '<c>' == z %}",
            ),
            ("{{ 'open", "{{ 'open"),
            ("{{", "{{"),
            ("{% raw %}", "{% raw %}"),
        ] {
            let inert = |text: &str| text.replace('<', "(").replace('>', ")");
            assert_eq!(prepare(source, inert), expected, "{source}");
        }
    }
}
