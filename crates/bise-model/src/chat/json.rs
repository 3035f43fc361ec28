//! JSON as Python's `json` module reads and writes it, which is what models have seen in training.
//!
//! A space follows `,` and `:`; characters beyond ASCII stay; whole numbers keep all digits, others are the
//! shortest that read back, `1e+16` and `1e-05` with a sign or a zero; `NaN` and `Infinity` are numbers; of two
//! equal keys the last counts, at the place of the first.

use std::fmt;

use indexmap::IndexMap;

/// Values inside values inside values: what lies deeper is no JSON.
const MAX_DEPTH: usize = 500;

/// A JSON value whose `Display` is Python's `json.dumps(value, ensure_ascii=False)`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    /// `null`, `true`, `false`, or a number as Python writes it.
    Plain(String),
    String(String),
    Array(Vec<Json>),
    Object(IndexMap<String, Json>),
}

impl Json {
    /// What `text` says; `None` if it is no JSON.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value(0)?;
        parser.blanks();
        (parser.at == text.len()).then_some(value)
    }

    /// What `text` says, or `text` as a string.
    pub fn parse_or_string(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|| Self::String(text.to_owned()))
    }

    /// A library's value.
    pub fn from_value(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::String(text) => Self::String(text.clone()),
            Value::Array(values) => Self::Array(values.iter().map(Self::from_value).collect()),
            Value::Object(map) => Self::Object(
                map.iter()
                    .map(|(key, value)| (key.clone(), Self::from_value(value)))
                    .collect(),
            ),
            plain => {
                let text = plain.to_string();
                Self::parse(&text).unwrap_or(Self::Plain(text))
            }
        }
    }

    /// Over several lines, `indent` spaces deeper for each level.
    pub fn indented(&self, indent: usize) -> String {
        let mut out = String::new();
        self.indent(indent, 0, &mut out);
        out
    }

    fn indent(&self, indent: usize, depth: usize, out: &mut String) {
        let line = |depth: usize, out: &mut String| {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        };
        match self {
            Self::Array(values) if !values.is_empty() => {
                for (i, value) in values.iter().enumerate() {
                    out.push(if i == 0 { '[' } else { ',' });
                    line(depth + 1, out);
                    value.indent(indent, depth + 1, out);
                }
                line(depth, out);
                out.push(']');
            }
            Self::Object(map) if !map.is_empty() => {
                for (i, (key, value)) in map.iter().enumerate() {
                    out.push(if i == 0 { '{' } else { ',' });
                    line(depth + 1, out);
                    out.push_str(&Self::String(key.clone()).to_string());
                    out.push_str(": ");
                    value.indent(indent, depth + 1, out);
                }
                line(depth, out);
                out.push('}');
            }
            plain => out.push_str(&plain.to_string()),
        }
    }

    /// A number.
    pub fn from_float(value: f64) -> Self {
        Self::Plain(float(value))
    }

    /// An object of these entries.
    pub fn object<const N: usize>(entries: [(&str, Json); N]) -> Self {
        Self::Object(
            entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    /// The value of `key`, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Self::Object(map) => map.get(key),
            _ => None,
        }
    }

    /// The string that this is.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.write_str(text),
            Self::String(text) => quote(text, f),
            Self::Array(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    value.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Object(map) => {
                f.write_str("{")?;
                for (i, (key, value)) in map.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    quote(key, f)?;
                    write!(f, ": {value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

fn quote(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write;
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\u{8}' => f.write_str("\\b")?,
            '\u{c}' => f.write_str("\\f")?,
            c if c < ' ' => write!(f, "\\u{:04x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        self.at += self.rest().bytes().take_while(|b| b" \t\n\r".contains(b)).count();
    }

    /// Whether `word` comes next; if so, goes past it.
    fn eat(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.blanks();
        match self.rest().bytes().next()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => Some(Json::String(self.string()?)),
            _ => self.plain(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        let mut map = IndexMap::new();
        self.at += 1;
        self.blanks();
        if self.eat("}") {
            return Some(Json::Object(map));
        }
        loop {
            self.blanks();
            let key = self.string()?;
            self.blanks();
            let value = self.eat(":").then(|| self.value(depth + 1))??;
            map.insert(key, value);
            self.blanks();
            if self.eat("}") {
                return Some(Json::Object(map));
            }
            self.eat(",").then_some(())?;
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        let mut values = Vec::new();
        self.at += 1;
        self.blanks();
        if self.eat("]") {
            return Some(Json::Array(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            self.blanks();
            if self.eat("]") {
                return Some(Json::Array(values));
            }
            self.eat(",").then_some(())?;
        }
    }

    fn string(&mut self) -> Option<String> {
        self.eat("\"").then_some(())?;
        let mut text = String::new();
        loop {
            let plain = self.rest().find(|c| c == '"' || c == '\\' || c < ' ')?;
            text.push_str(&self.rest()[..plain]);
            self.at += plain;
            if self.eat("\"") {
                return Some(text);
            }
            self.eat("\\").then_some(())?;
            let escape = self.rest().chars().next()?;
            self.at += escape.len_utf8();
            text.push(match escape {
                '"' | '\\' | '/' => escape,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => self.unicode()?,
                _ => return None,
            });
        }
    }

    /// The character of `XXXX` or `XXXX\uXXXX` after `\u`. Half a pair, which Python accepts, is no text.
    fn unicode(&mut self) -> Option<char> {
        let high = self.hex()?;
        match high {
            0xd800..=0xdbff if self.eat("\\u") => {
                let low = self.hex().filter(|low| (0xdc00..=0xdfff).contains(low))?;
                char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
            }
            _ => char::from_u32(high),
        }
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4)?;
        self.at += 4;
        let all = digits.bytes().all(|b| b.is_ascii_hexdigit());
        all.then(|| u32::from_str_radix(digits, 16).ok())?
    }

    fn plain(&mut self) -> Option<Json> {
        for word in ["null", "true", "false", "NaN", "Infinity", "-Infinity"] {
            if self.eat(word) {
                return Some(Json::Plain(word.to_owned()));
            }
        }
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let text = self.rest();
        let sign = usize::from(text.starts_with('-'));
        let whole = match text[sign..].starts_with('0') {
            true => 1,
            false => digits(&text[sign..]),
        };
        (whole > 0).then_some(())?;
        let integer = sign + whole;
        let mut end = integer;
        if text[end..].starts_with('.') {
            let fraction = digits(&text[end + 1..]);
            end += if fraction > 0 { 1 + fraction } else { 0 };
        }
        if text[end..].starts_with(['e', 'E']) {
            let signed = 1 + usize::from(text[end + 1..].starts_with(['+', '-']));
            let exponent = digits(&text[end + signed..]);
            end += if exponent > 0 { signed + exponent } else { 0 };
        }
        self.at += end;
        let number = &text[..end];
        Some(Json::Plain(match number {
            "-0" => "0".to_owned(),
            _ if end == integer => number.to_owned(),
            _ => float(number.parse().ok()?),
        }))
    }
}

/// Python's `repr` of a number: the shortest digits that read back, with an exponent below -4 and from 16.
fn float(value: f64) -> String {
    if !value.is_finite() {
        let sign = if value < 0.0 { "-" } else { "" };
        return sign.to_owned() + if value.is_nan() { "NaN" } else { "Infinity" };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or(0) {
        -4..=15 if value.fract() == 0.0 => format!("{value}.0"),
        -4..=15 => format!("{value}"),
        exponent => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    /// Pairs of a text and what Python 3.11's `json.dumps(json.loads(text), ensure_ascii=False)` gives.
    #[test]
    fn texts_come_out_as_from_python() {
        for (text, expected) in [
            (
                r#" {"b":1,"a" : [ true,null ] } "#,
                r#"{"b": 1, "a": [true, null]}"#,
            ),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a": 3, "b": 2}"#),
            (
                "[-0,-0.0,1.0,1E5,1e16,1e22,123456789012345678901234567890]",
                "[0, -0.0, 1.0, 100000.0, 1e+16, 1e+22, 123456789012345678901234567890]",
            ),
            (
                "[0.0001,0.00001,1.5e-7,9999999999999998.0,0.1,1e400,-1e400]",
                "[0.0001, 1e-05, 1.5e-07, 9999999999999998.0, 0.1, Infinity, -Infinity]",
            ),
            ("[NaN,Infinity,-Infinity]", "[NaN, Infinity, -Infinity]"),
            (
                r#""\u00e9\ud83d\ude00\/\b\u0001\u007f""#,
                "\"é😀/\\b\\u0001\u{7f}\"",
            ),
            ("{}", "{}"),
            ("[]", "[]"),
            ("\t3\n", "3"),
        ] {
            assert_eq!(
                Json::parse(text).map(|json| json.to_string()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn other_texts_are_no_json() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            " ",
            "a",
            "{",
            "[1,]",
            "{\"a\":}",
            "{a:1}",
            "01",
            "1.",
            "1.e5",
            "-",
            "+1",
            "\"\n\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "1 2",
            "\u{feff}1",
            "\u{a0}1",
            "nul",
            &deep,
        ] {
            assert_eq!(Json::parse(text), None, "{text:.20}");
        }
    }
}
