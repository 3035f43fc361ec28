//! Metadata: an ordered map from keys to typed values.

use super::GgufError;
use indexmap::IndexMap;
use std::borrow::Cow;
use std::fmt;

/// Declares the types from lines `Variant(rust type) = id, "name"`.
macro_rules! types {
    ($($variant:ident($rust:ty) = $id:literal, $name:literal;)*) => {
        /// The type of a metadata value, as numbered by GGUF.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum ValueType {
            $(#[doc = $name] $variant = $id,)*
        }

        /// A metadata value.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Value {
            $(#[doc = $name] $variant($rust),)*
        }

        /// A metadata array: values of one type.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Array {
            $(#[doc = concat!("of ", $name)] $variant(Vec<$rust>),)*
        }

        impl ValueType {
            /// The type that GGUF numbers `id`.
            pub fn from_id(id: u32) -> Option<Self> {
                match id { $($id => Some(Self::$variant),)* _ => None }
            }

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }

        impl Value {
            /// The value's type.
            pub fn value_type(&self) -> ValueType {
                match self { $(Self::$variant(_) => ValueType::$variant),* }
            }
        }

        impl Array {
            /// The type of the elements.
            pub fn element_type(&self) -> ValueType {
                match self { $(Self::$variant(_) => ValueType::$variant),* }
            }

            /// Elements in the array.
            pub fn len(&self) -> usize {
                match self { $(Self::$variant(v) => v.len()),* }
            }

            /// Whether there are none.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// The elements as values of their own.
            pub fn values(&self) -> Vec<Value> {
                match self { $(Self::$variant(v) => v.iter().cloned().map(Value::$variant).collect()),* }
            }
        }

        $(
            impl From<$rust> for Value {
                fn from(value: $rust) -> Self {
                    Self::$variant(value)
                }
            }

            impl From<Vec<$rust>> for Value {
                fn from(values: Vec<$rust>) -> Self {
                    Self::Array(Array::$variant(values))
                }
            }
        )*
    };
}

types! {
    U8(u8) = 0, "u8";
    I8(i8) = 1, "i8";
    U16(u16) = 2, "u16";
    I16(i16) = 3, "i16";
    U32(u32) = 4, "u32";
    I32(i32) = 5, "i32";
    F32(f32) = 6, "f32";
    Bool(bool) = 7, "bool";
    String(String) = 8, "string";
    Array(Array) = 9, "array";
    U64(u64) = 10, "u64";
    I64(i64) = 11, "i64";
    F64(f64) = 12, "f64";
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl Value {
    fn describe(&self) -> String {
        match self {
            Value::Array(array) => format!("array of {}", array.element_type()),
            other => other.value_type().to_string(),
        }
    }

    /// An integer of any type.
    pub(crate) fn integer(&self) -> Option<i128> {
        Some(match *self {
            Value::U8(v) => v.into(),
            Value::I8(v) => v.into(),
            Value::U16(v) => v.into(),
            Value::I16(v) => v.into(),
            Value::U32(v) => v.into(),
            Value::I32(v) => v.into(),
            Value::U64(v) => v.into(),
            Value::I64(v) => v.into(),
            _ => return None,
        })
    }
}

/// As it would be written in a message: long texts and arrays are cut.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Array(array) => write!(f, "{array}"),
            Value::String(text) => write!(f, "{:?}", text.chars().take(40).collect::<String>()),
            Value::Bool(v) => write!(f, "{v}"),
            Value::F32(v) => write!(f, "{v}"),
            Value::F64(v) => write!(f, "{v}"),
            other => write!(f, "{}", other.integer().unwrap_or_default()),
        }
    }
}

impl fmt::Display for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 6;
        let some: Vec<String> = self.values().iter().take(SHOWN).map(Value::to_string).collect();
        let more = if self.len() > SHOWN { ", .." } else { "" };
        write!(f, "[{}{more}]", some.join(", "))
    }
}

impl Array {
    /// Integers of any type.
    fn integers(&self) -> Option<Vec<i128>> {
        Some(match self {
            Array::U8(v) => v.iter().map(|&v| v.into()).collect(),
            Array::I8(v) => v.iter().map(|&v| v.into()).collect(),
            Array::U16(v) => v.iter().map(|&v| v.into()).collect(),
            Array::I16(v) => v.iter().map(|&v| v.into()).collect(),
            Array::U32(v) => v.iter().map(|&v| v.into()).collect(),
            Array::I32(v) => v.iter().map(|&v| v.into()).collect(),
            Array::U64(v) => v.iter().map(|&v| v.into()).collect(),
            Array::I64(v) => v.iter().map(|&v| v.into()).collect(),
            _ => return None,
        })
    }
}

/// Metadata in the order of the file.
///
/// The typed getters return `None` for a key that is absent and an error for a value of another
/// type. Files disagree on integer types, so integer getters take any integer that fits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata(pub(super) IndexMap<String, Value>);

impl Metadata {
    /// No metadata.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Sets `key`: in its old place if it has one, else at the end. Returns the old value.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(key.into(), value.into())
    }

    /// Adds what it lacks.
    pub(crate) fn set_default(&mut self, key: &str, value: Option<Value>) {
        if let (None, Some(value)) = (self.get(key), value) {
            self.insert(key, value);
        }
    }

    /// Removes `key`; the others keep their order.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.0.shift_remove(key)
    }

    /// Removes the entries whose keys `keep` refuses; the others keep their order.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|key, _| keep(key));
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The integer of `key`.
    ///
    /// # Errors
    /// When the value is no integer or does not fit.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.integer(key, "u32")
    }

    /// The integer of `key`.
    ///
    /// # Errors
    /// When the value is no integer or does not fit.
    pub fn u64(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.integer(key, "u64")
    }

    /// The integer of `key`, or the one that an array of it holds for each layer.
    ///
    /// # Errors
    /// When the value is no integer or does not fit, or differs between layers.
    pub fn of_all_layers(&self, key: &str) -> Result<Option<u64>, GgufError> {
        let Some(Value::Array(array)) = self.get(key) else {
            return self.u64(key);
        };
        let values = self.integers::<u64>(key, "array of u64")?.unwrap_or_default();
        match values.first() {
            Some(first) if values.iter().all(|value| value == first) => Ok(Some(*first)),
            _ => Err(GgufError::Layers {
                key: key.to_owned(),
                found: array.to_string(),
            }),
        }
    }

    /// The floating-point number of `key`, rounded to f32.
    ///
    /// # Errors
    /// When the value is of another type.
    pub fn f32(&self, key: &str) -> Result<Option<f32>, GgufError> {
        self.find(key, "f32", |value| match value {
            Value::F32(v) => Some(*v),
            Value::F64(v) => Some(*v as f32),
            _ => None,
        })
    }

    /// The truth value of `key`.
    ///
    /// # Errors
    /// When the value is of another type.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.find(key, "bool", |value| {
            if let Value::Bool(v) = value {
                Some(*v)
            } else {
                None
            }
        })
    }

    /// The text of `key`.
    ///
    /// # Errors
    /// When the value is of another type.
    pub fn str(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.find(key, "string", |value| {
            if let Value::String(v) = value {
                Some(v.as_str())
            } else {
                None
            }
        })
    }

    /// The texts of `key`.
    ///
    /// # Errors
    /// When the value is of another type.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>, GgufError> {
        self.find(key, "array of string", |value| match value {
            Value::Array(Array::String(v)) => Some(v.as_slice()),
            _ => None,
        })
    }

    /// The f32 values of `key`.
    ///
    /// # Errors
    /// When the value is of another type.
    pub fn f32s(&self, key: &str) -> Result<Option<&[f32]>, GgufError> {
        self.find(key, "array of f32", |value| match value {
            Value::Array(Array::F32(v)) => Some(v.as_slice()),
            _ => None,
        })
    }

    /// The integers of `key`, without a copy when the file has them as i32.
    ///
    /// # Errors
    /// When the value is no array of integers or one does not fit.
    pub fn i32s(&self, key: &str) -> Result<Option<Cow<'_, [i32]>>, GgufError> {
        match self.get(key) {
            Some(Value::Array(Array::I32(v))) => Ok(Some(Cow::Borrowed(v))),
            _ => Ok(self.integers(key, "array of i32")?.map(Cow::Owned)),
        }
    }

    /// The integers of `key`, without a copy when the file has them as u32.
    ///
    /// # Errors
    /// When the value is no array of integers or one does not fit.
    pub fn u32s(&self, key: &str) -> Result<Option<Cow<'_, [u32]>>, GgufError> {
        match self.get(key) {
            Some(Value::Array(Array::U32(v))) => Ok(Some(Cow::Borrowed(v))),
            _ => Ok(self.integers(key, "array of u32")?.map(Cow::Owned)),
        }
    }

    fn find<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        pick: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        pick(value).map(Some).ok_or_else(|| GgufError::WrongType {
            key: key.to_owned(),
            expected,
            found: value.describe(),
        })
    }

    fn integer<T: TryFrom<i128>>(
        &self,
        key: &str,
        expected: &'static str,
    ) -> Result<Option<T>, GgufError> {
        let value = self.find(key, expected, Value::integer)?;
        value.map(|v| narrow(key, expected, v)).transpose()
    }

    fn integers<T: TryFrom<i128>>(
        &self,
        key: &str,
        expected: &'static str,
    ) -> Result<Option<Vec<T>>, GgufError> {
        let values = self.find(key, expected, |value| {
            if let Value::Array(array) = value {
                array.integers()
            } else {
                None
            }
        })?;
        values
            .map(|v| v.into_iter().map(|v| narrow(key, expected, v)).collect())
            .transpose()
    }
}

fn narrow<T: TryFrom<i128>>(
    key: &str,
    expected: &'static str,
    value: i128,
) -> Result<T, GgufError> {
    T::try_from(value).map_err(|_| GgufError::OutOfRange {
        key: key.to_owned(),
        expected,
        found: value.to_string(),
    })
}

impl<K: Into<String>> FromIterator<(K, Value)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(entries: I) -> Self {
        Self(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    }
}
