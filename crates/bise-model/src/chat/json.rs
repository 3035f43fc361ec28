//! JSON as Python's `json` module reads and writes it, which is what models have seen in training.
//!
//! A space follows `,` and `:`; characters beyond ASCII stay; whole numbers keep all digits, others
//! are the shortest that read back, `1e+16` and `1e-05` with a sign or a zero; `NaN` and `Infinity`
//! are numbers; of two equal keys the last counts, at the place of the first.

use std::collections::HashMap;
use std::fmt;

use indexmap::IndexMap;

/// Values inside values inside values: what lies deeper is no JSON.
const MAX_DEPTH: usize = 500;

/// A JSON value whose `Display` is Python's `json.dumps(value, ensure_ascii=False)`.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`, `true`, `false`, or a number as Python writes it.
    Plain(String),
    /// A text.
    String(String),
    /// A list.
    Array(Vec<Json>),
    /// Values by key, in order.
    Object(IndexMap<String, Json>),
}

/// How Python's `json.dumps` is asked to write.
#[derive(Debug, Clone)]
pub(super) struct Style {
    /// Between items, and between a key and its value.
    pub separators: (String, String),
    /// What a line begins with for each level that it lies deep; all on one line without.
    pub indent: Option<String>,
    /// Characters that are not printable ASCII as `\u00e9`.
    pub ascii: bool,
    /// Entries in the order of their keys.
    pub sort: bool,
    /// Private characters of a template, of which each stands for another one.
    pub stand_ins: HashMap<char, char>,
}

impl Style {
    /// Python's defaults with this indent; but characters beyond ASCII stay.
    pub fn new(indent: Option<String>) -> Self {
        let item = if indent.is_some() { "," } else { ", " };
        Self {
            separators: (item.to_owned(), ": ".to_owned()),
            indent,
            ascii: false,
            sort: false,
            stand_ins: HashMap::new(),
        }
    }

    /// The character that `c` stands for.
    fn original(&self, c: char) -> char {
        self.stand_ins.get(&c).copied().unwrap_or(c)
    }
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
    pub(super) fn parse_or_string(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|| Self::String(text.to_owned()))
    }

    /// A library's value.
    pub(super) fn from_value(value: &serde_json::Value) -> Self {
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

    /// As `json.dumps` writes it in this style.
    pub(super) fn styled(&self, style: &Style) -> String {
        let mut out = String::new();
        // A text takes whatever is written to it.
        let _ = self.write(style, 0, &mut out);
        out
    }

    fn write(&self, style: &Style, depth: usize, out: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::Plain(text) => out.write_str(text),
            Self::String(text) => quote(text, style, out),
            Self::Array(values) => {
                let item = |value: &Json, out: &mut _| value.write(style, depth + 1, out);
                between(["[", "]"], values.iter(), style, depth, out, item)
            }
            Self::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                if style.sort {
                    let original =
                        |key: &str| key.chars().map(|c| style.original(c)).collect::<String>();
                    entries.sort_by_cached_key(|(key, _)| original(key));
                }
                let entry = |(key, value): (&String, &Json), out: &mut _| {
                    quote(key, style, out)?;
                    fmt::Write::write_str(out, &style.separators.1)?;
                    value.write(style, depth + 1, out)
                };
                between(["{", "}"], entries.into_iter(), style, depth, out, entry)
            }
        }
    }

    /// A number as Python writes it.
    pub(super) fn from_float(value: f64) -> Self {
        Self::Plain(float(value))
    }

    /// An object of these entries.
    pub(super) fn object<const N: usize>(entries: [(&str, Json); N]) -> Self {
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

    /// What lies under these keys, one inside the other.
    pub(super) fn at(&self, keys: &[&str]) -> Option<&Json> {
        keys.iter().try_fold(self, |json, key| json.get(key))
    }

    /// The items, if this is a list.
    pub(super) fn items(&self) -> &[Json] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// Whether this is an object.
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
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

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        Self::from_value(&value)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(&Style::new(None), 0, f)
    }
}

/// Items with what stands around and between them.
fn between<T, W: fmt::Write>(
    [open, close]: [&str; 2],
    items: impl ExactSizeIterator<Item = T>,
    style: &Style,
    depth: usize,
    out: &mut W,
    mut write: impl FnMut(T, &mut W) -> fmt::Result,
) -> fmt::Result {
    let indent = style.indent.as_ref().filter(|_| items.len() > 0);
    let line = |depth: usize, out: &mut W| match indent {
        Some(indent) => write!(out, "\n{}", indent.repeat(depth)),
        None => Ok(()),
    };
    out.write_str(open)?;
    for (i, item) in items.enumerate() {
        out.write_str(if i == 0 { "" } else { &style.separators.0 })?;
        line(depth + 1, out)?;
        write(item, out)?;
    }
    line(depth, out)?;
    out.write_str(close)
}

fn quote(text: &str, style: &Style, out: &mut impl fmt::Write) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match style.original(c) {
            '"' | '\\' => write!(out, "\\{c}")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\u{8}' => out.write_str("\\b")?,
            '\u{c}' => out.write_str("\\f")?,
            original if original < ' ' => write!(out, "\\u{:04x}", original as u32)?,
            original if style.ascii && !(' '..='~').contains(&original) => {
                for unit in original.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
            _ => out.write_char(c)?,
        }
    }
    out.write_char('"')
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

    /// The character of `XXXX` or `XXXX\uXXXX` after `\u`. Half a pair, which Python accepts, is no
    /// text.
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

/// Python's `repr` of a number: the shortest digits that read back, with an exponent below -4 and
/// from 16.
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

    /// Pairs of a text and what Python 3.11's `json.dumps(json.loads(text), ensure_ascii=False)`
    /// gives.
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
