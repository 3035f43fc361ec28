//! The keys of a JSON text in progress.

use std::sync::Arc;

/// Which objects are open, which keys each has, and where in them the text is. The text is known to
/// be JSON.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    open: Vec<Open>,
    place: Place,
    /// What is written of the key in progress.
    key: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Open {
    Array,
    Object(Arc<Vec<Key>>),
}

#[derive(Debug)]
pub(super) struct Key {
    /// As the text writes it, without quotes.
    pub written: Vec<u8>,
    name: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// Between strings: numbers, words, punctuation.
    #[default]
    Plain,
    /// Where a key comes next, if the object does not end.
    BeforeKey,
    Key,
    KeyEscape,
    Text,
    TextEscape,
}

impl Keys {
    /// Goes past `bytes`; false when a key comes twice in an object.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().all(|&byte| self.step(byte))
    }

    fn step(&mut self, byte: u8) -> bool {
        self.place = match (self.place, byte) {
            (Place::Key, b'"') => {
                if !self.end_key() {
                    return false;
                }
                Place::Plain
            }
            (Place::Key | Place::KeyEscape, _) => {
                self.key.push(byte);
                match (self.place, byte) {
                    (Place::Key, b'\\') => Place::KeyEscape,
                    _ => Place::Key,
                }
            }
            (Place::Text, b'"') => Place::Plain,
            (Place::Text, b'\\') => Place::TextEscape,
            (Place::Text | Place::TextEscape, _) => Place::Text,
            (Place::BeforeKey, b'"') => {
                self.key.clear();
                Place::Key
            }
            (Place::Plain, b'"') => Place::Text,
            (_, b'{') => {
                self.open.push(Open::Object(Arc::default()));
                Place::BeforeKey
            }
            (_, b'[') => {
                self.open.push(Open::Array);
                Place::Plain
            }
            (_, b'}' | b']') => {
                self.open.pop();
                Place::Plain
            }
            (Place::Plain, b',') if matches!(self.open.last(), Some(Open::Object(_))) => {
                Place::BeforeKey
            }
            (place, _) => place,
        };
        true
    }

    /// Adds the key that ends here to its object; false when it has it already.
    fn end_key(&mut self) -> bool {
        let quoted = [b"\"", &self.key[..], b"\""].concat();
        let name = serde_json::from_slice(&quoted);
        let name = name.unwrap_or_else(|_| String::from_utf8_lossy(&self.key).into_owned());
        let written = std::mem::take(&mut self.key);
        match self.open.last_mut() {
            Some(Open::Object(keys)) if keys.iter().any(|key| key.name == name) => false,
            Some(Open::Object(keys)) => {
                let mut more: Vec<Key> = keys.iter().map(Key::again).collect();
                more.push(Key { written, name });
                *keys = Arc::new(more);
                true
            }
            _ => true,
        }
    }

    /// Where the text is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Objects and arrays around the place.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// What is written of the key in progress.
    pub fn key(&self) -> &[u8] {
        match self.place {
            Place::Key | Place::KeyEscape => &self.key,
            _ => &[],
        }
    }

    /// The keys that the innermost object has.
    pub fn used(&self) -> &[Key] {
        match self.open.last() {
            Some(Open::Object(keys)) => keys,
            _ => &[],
        }
    }

    /// Whether any open object has a key.
    pub fn any(&self) -> bool {
        let has = |open: &Open| matches!(open, Open::Object(keys) if !keys.is_empty());
        self.open.iter().any(has)
    }
}

impl Key {
    fn again(&self) -> Self {
        Self {
            written: self.written.clone(),
            name: self.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_come_twice_are_found_wherever_the_text_is_cut() {
        for (text, good) in [
            (r#"{"a":1,"b":[{"a":2},{"a":"a"}],"c":{"a":{"a":3}}}"#, true),
            (r#"{"a":"\"b\":1,\"b\"","b":",\"a\""}"#, true),
            (r#"[{"a":1},{"a":1}]"#, true),
            (r#"{"a":1 , "a":2}"#, false),
            (r#"{"a":1,"\u0061":2}"#, false),
            (r#"{"a\"":1,"a\\":2,"a\"":3}"#, false),
            (r#"{"x":{"a":1},"y":[1,{"b":1,"c":{},"b":2}]}"#, false),
            ("{\"\u{e9}\":1,\"\\u00e9\":2}", false),
            (r#"{"":1,"":2}"#, false),
        ] {
            for cut in 0..=text.len() {
                let mut keys = Keys::default();
                let (a, b) = text.as_bytes().split_at(cut);
                assert_eq!(keys.push(a) && keys.push(b), good, "{text} cut at {cut}");
            }
        }
    }
}
