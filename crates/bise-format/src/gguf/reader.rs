//! The parser: a cursor that cannot leave the file, and one function for each part of the header.

use super::error::{GgufError, Place};
use super::header::{Gguf, TensorInfo};
use super::limits::{MAGIC, MAX_DEPTH, MAX_DIMS, MAX_KEY, MAX_TENSOR_NAME, MEMORY, SPARE};
use super::sizes;
use super::value::{Array, Metadata, Value, ValueType};
use crate::foreign::Foreign;
use bise_kernels::block::DType;
use bise_kernels::tensor::Endian;
use indexmap::IndexMap;

impl Gguf {
    /// Reads the header of `file`, a whole GGUF file of version 1 to 3 in either byte order.
    ///
    /// The tensors' ranges are proven to lie inside the file, at aligned offsets, without overlap.
    ///
    /// # Errors
    /// When anything in the header is malformed, or tensor data is missing.
    pub fn parse(file: &[u8]) -> Result<Gguf, GgufError> {
        let mut cursor = Cursor::new(file)?;
        let tensor_count = cursor.count()?;
        let entry_count = cursor.count()?;
        let metadata = cursor.metadata(entry_count)?;
        let alignment = sizes::alignment(&metadata)?;
        let mut tensors = cursor.tensors(tensor_count)?;
        let data_offset = (cursor.at as u64).next_multiple_of(alignment);
        place_tensors(&mut tensors, file.len() as u64, data_offset, alignment)?;
        Ok(Gguf {
            version: cursor.version,
            endian: cursor.endian,
            alignment,
            metadata,
            tensors,
            data_offset,
        })
    }
}

/// Proves that every tensor is aligned, inside the file, and apart from the others, and that
/// nothing else is there.
fn place_tensors(
    tensors: &mut IndexMap<String, TensorInfo>,
    file_len: u64,
    data_offset: u64,
    alignment: u64,
) -> Result<(), GgufError> {
    let available = file_len.saturating_sub(data_offset);
    for info in tensors.values() {
        if !info.offset.is_multiple_of(alignment) {
            return Err(GgufError::Invalid {
                place: Place::Tensor(info.name.clone()),
                what: "the data's place",
                offset: data_offset.saturating_add(info.offset),
                found: format!("{} bytes into the data", info.offset).into(),
                expected: format!("a multiple of the alignment {alignment}").into(),
            });
        }
        if info
            .offset
            .checked_add(info.len)
            .is_none_or(|end| end > available)
        {
            return Err(GgufError::Truncated {
                place: Place::Tensor(info.name.clone()),
                offset: data_offset.saturating_add(info.offset),
                needed: info.len,
                left: available.saturating_sub(info.offset),
            });
        }
    }
    let mut order: Vec<u32> = (0..tensors.len() as u32).collect();
    order.sort_unstable_by_key(|&i| tensors[i as usize].offset);
    let aligned = |end: u64| end.next_multiple_of(alignment);
    let mut before: Option<&TensorInfo> = None;
    for i in order {
        let info = &tensors[i as usize];
        let end = before.map_or(0, |before| before.offset + before.len);
        if let Some(before) = before.filter(|_| end > info.offset) {
            return Err(GgufError::Overlap {
                first: before.name.clone(),
                second: info.name.clone(),
                offset: data_offset + info.offset,
            });
        }
        if aligned(end) != info.offset {
            return Err(GgufError::Gap {
                tensor: info.name.clone(),
                offset: data_offset + aligned(end),
                bytes: info.offset - aligned(end),
            });
        }
        before = Some(info);
    }
    let end = aligned(before.map_or(0, |last| last.offset + last.len));
    if available > end {
        return Err(GgufError::Trailing {
            offset: data_offset + end,
            bytes: available - end,
        });
    }
    Ok(())
}

/// A place in the file, and what is being read there; names borrow from the file.
struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
    version: u32,
    endian: Endian,
    place: At<'a>,
    /// Bytes of memory that may still be taken.
    budget: u64,
}

/// [`Place`] without the copies.
#[derive(Clone, Copy)]
enum At<'a> {
    Header,
    Entry(u64),
    Key(&'a str),
    TensorEntry(u64),
    Tensor(&'a str),
}

impl From<At<'_>> for Place {
    fn from(at: At<'_>) -> Place {
        match at {
            At::Header => Place::Header,
            At::Entry(n) => Place::Entry(n),
            At::Key(key) => Place::Key(key.to_owned()),
            At::TensorEntry(n) => Place::TensorEntry(n),
            At::Tensor(name) => Place::Tensor(name.to_owned()),
        }
    }
}

/// Numbers of a fixed size.
macro_rules! numbers {
    ($($name:ident: $type:ty;)*) => {
        $(
            fn $name(&mut self) -> Result<$type, GgufError> {
                let bytes = self.array()?;
                Ok(match self.endian {
                    Endian::Little => <$type>::from_le_bytes(bytes),
                    Endian::Big => <$type>::from_be_bytes(bytes),
                })
            }
        )*
    };
}

impl<'a> Cursor<'a> {
    /// Behind the version, whose byte order tells that of the file.
    fn new(file: &'a [u8]) -> Result<Self, GgufError> {
        let start = &file[..file.len().min(MAGIC.len())];
        if start != MAGIC {
            if let Some(foreign) = Foreign::of(file) {
                return Err(foreign.into());
            }
            return Err(GgufError::Magic {
                found: start.to_vec(),
            });
        }
        let mut cursor = Self {
            file,
            at: MAGIC.len(),
            version: 0,
            endian: Endian::Little,
            place: At::Header,
            budget: MEMORY * file.len() as u64 + SPARE,
        };
        let little = cursor.u32()?;
        let big = little.swap_bytes();
        (cursor.version, cursor.endian) = match (little, big) {
            (1..=3, _) => (little, Endian::Little),
            (_, 1..=3) => (big, Endian::Big),
            _ => return Err(GgufError::Version { found: little }),
        };
        Ok(cursor)
    }

    fn left(&self) -> u64 {
        (self.file.len() - self.at) as u64
    }

    fn truncated(&self, needed: u64) -> GgufError {
        GgufError::Truncated {
            place: self.place.into(),
            offset: self.at as u64,
            needed,
            left: self.left(),
        }
    }

    /// An error about a number that ends here.
    fn invalid(
        &self,
        what: &'static str,
        size: usize,
        found: impl ToString,
        expected: &str,
    ) -> GgufError {
        GgufError::Invalid {
            place: self.place.into(),
            what,
            offset: (self.at - size) as u64,
            found: found.to_string().into(),
            expected: expected.into(),
        }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], GgufError> {
        if len > self.left() {
            return Err(self.truncated(len));
        }
        let bytes = &self.file[self.at..][..len as usize];
        self.at += len as usize;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let bytes = self.take(N as u64)?;
        Ok(*bytes.as_array().expect("N bytes"))
    }

    numbers! {
        u8: u8;
        i8: i8;
        u16: u16;
        i16: i16;
        u32: u32;
        i32: i32;
        f32: f32;
        u64: u64;
        i64: i64;
        f64: f64;
    }

    fn bool(&mut self) -> Result<bool, GgufError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.invalid("a truth value", 1, other, "0 or 1")),
        }
    }

    /// Bytes of a count, length or dimension.
    fn count_size(&self) -> usize {
        if self.version == 1 { 4 } else { 8 }
    }

    fn count(&mut self) -> Result<u64, GgufError> {
        if self.version == 1 {
            self.u32().map(u64::from)
        } else {
            self.u64()
        }
    }

    /// A count of items that take at least `least` bytes each: checked against what is left of the
    /// file.
    fn count_of(&mut self, least: usize) -> Result<usize, GgufError> {
        let count = self.count()?;
        self.check_count(count, least)
    }

    fn check_count(&self, count: u64, least: usize) -> Result<usize, GgufError> {
        match count.checked_mul(least as u64) {
            Some(needed) if needed <= self.left() => Ok(count as usize),
            needed => Err(self.truncated(needed.unwrap_or(u64::MAX))),
        }
    }

    fn str(&mut self) -> Result<&'a str, GgufError> {
        let len = self.count()?;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|e| GgufError::Utf8 {
            place: self.place.into(),
            offset: (self.at - bytes.len() + e.valid_up_to()) as u64,
        })
    }

    fn string(&mut self) -> Result<String, GgufError> {
        let text = self.str()?;
        self.charge(text.len() as u64)?;
        Ok(text.to_owned())
    }

    /// Takes `bytes` of the memory that the header may take.
    fn charge(&mut self, bytes: u64) -> Result<(), GgufError> {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(GgufError::Memory {
                place: self.place.into(),
                offset: self.at as u64,
            }),
        }
    }

    /// Takes the memory of a map of `count` values of type `T` by name: an entry, and a place in a
    /// table that may be more than half empty.
    fn charge_map<T>(&mut self, count: usize) -> Result<(), GgufError> {
        let entry = size_of::<(usize, String, T)>() + 3 * size_of::<usize>();
        self.charge(count as u64 * entry as u64)
    }

    /// A key or tensor name.
    fn name(&mut self, longest: u64) -> Result<&'a str, GgufError> {
        let name = self.str()?;
        if (1..=longest).contains(&(name.len() as u64)) {
            Ok(name)
        } else {
            let size = name.len() + self.count_size();
            Err(self.invalid(
                "the length of the name",
                size,
                name.len(),
                &format!("1 to {longest}"),
            ))
        }
    }

    fn metadata(&mut self, count: u64) -> Result<Metadata, GgufError> {
        // key length, a byte of key, type, a byte of value
        let count = self.check_count(count, self.count_size() + 1 + 4 + 1)?;
        self.charge_map::<Value>(count)?;
        let mut entries = IndexMap::with_capacity(count);
        for n in 0..count {
            self.place = At::Entry(n as u64);
            let offset = self.at as u64;
            let key = self.name(MAX_KEY)?;
            self.place = At::Key(key);
            let value_type = self.value_type()?;
            let value = self.value(value_type)?;
            self.charge(key.len() as u64)?;
            if entries.insert(key.to_owned(), value).is_some() {
                return Err(GgufError::Duplicate {
                    place: self.place.into(),
                    offset,
                });
            }
        }
        Ok(Metadata(entries))
    }

    fn value_type(&mut self) -> Result<ValueType, GgufError> {
        let id = self.u32()?;
        ValueType::from_id(id).ok_or_else(|| self.invalid("the value type", 4, id, "0 to 12"))
    }

    fn value(&mut self, value_type: ValueType) -> Result<Value, GgufError> {
        Ok(match value_type {
            ValueType::U8 => Value::U8(self.u8()?),
            ValueType::I8 => Value::I8(self.i8()?),
            ValueType::U16 => Value::U16(self.u16()?),
            ValueType::I16 => Value::I16(self.i16()?),
            ValueType::U32 => Value::U32(self.u32()?),
            ValueType::I32 => Value::I32(self.i32()?),
            ValueType::F32 => Value::F32(self.f32()?),
            ValueType::Bool => Value::Bool(self.bool()?),
            ValueType::String => Value::String(self.string()?),
            ValueType::Array => Value::Array(self.elements(1)?),
            ValueType::U64 => Value::U64(self.u64()?),
            ValueType::I64 => Value::I64(self.i64()?),
            ValueType::F64 => Value::F64(self.f64()?),
        })
    }

    /// An array nested in `depth - 1` others.
    fn elements(&mut self, depth: u32) -> Result<Array, GgufError> {
        if depth > MAX_DEPTH {
            return Err(self.invalid("the nesting of arrays", 0, depth, "at most 4 levels"));
        }
        Ok(match self.value_type()? {
            ValueType::U8 => Array::U8(self.list(1, Self::u8)?),
            ValueType::I8 => Array::I8(self.list(1, Self::i8)?),
            ValueType::U16 => Array::U16(self.list(2, Self::u16)?),
            ValueType::I16 => Array::I16(self.list(2, Self::i16)?),
            ValueType::U32 => Array::U32(self.list(4, Self::u32)?),
            ValueType::I32 => Array::I32(self.list(4, Self::i32)?),
            ValueType::F32 => Array::F32(self.list(4, Self::f32)?),
            ValueType::Bool => Array::Bool(self.list(1, Self::bool)?),
            ValueType::String => Array::String(self.list(self.count_size(), Self::string)?),
            ValueType::Array => {
                Array::Array(self.list(4 + self.count_size(), |cursor| cursor.elements(depth + 1))?)
            }
            ValueType::U64 => Array::U64(self.list(8, Self::u64)?),
            ValueType::I64 => Array::I64(self.list(8, Self::i64)?),
            ValueType::F64 => Array::F64(self.list(8, Self::f64)?),
        })
    }

    /// A count, then as many items of at least `least` bytes.
    fn list<T>(
        &mut self,
        least: usize,
        read: impl Fn(&mut Self) -> Result<T, GgufError>,
    ) -> Result<Vec<T>, GgufError> {
        let count = self.count_of(least)?;
        self.charge(count as u64 * size_of::<T>() as u64)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    fn tensors(&mut self, count: u64) -> Result<IndexMap<String, TensorInfo>, GgufError> {
        self.place = At::TensorEntry(0);
        // name length, a byte of name, one dimension, type, offset
        let count =
            self.check_count(count, self.count_size() + 1 + 4 + self.count_size() + 4 + 8)?;
        self.charge_map::<TensorInfo>(count)?;
        let mut tensors = IndexMap::with_capacity(count);
        for n in 0..count {
            self.place = At::TensorEntry(n as u64);
            let offset = self.at as u64;
            let info = self.tensor()?;
            let place = self.place;
            if tensors.insert(info.name.clone(), info).is_some() {
                return Err(GgufError::Duplicate {
                    place: place.into(),
                    offset,
                });
            }
        }
        Ok(tensors)
    }

    fn dimensions(&mut self, count: usize) -> Result<Vec<u64>, GgufError> {
        let mut dims = Vec::with_capacity(count);
        for _ in 0..count {
            dims.push(self.count()?);
        }
        Ok(dims)
    }

    fn tensor(&mut self) -> Result<TensorInfo, GgufError> {
        let name = self.name(MAX_TENSOR_NAME)?;
        self.place = At::Tensor(name);
        let start = self.at as u64;
        let dims = self.u32()? as usize;
        if !(1..=MAX_DIMS).contains(&dims) {
            return Err(self.invalid("the number of dimensions", 4, dims, "1 to 4"));
        }
        // The name twice, the dimensions, and a place in the order of the data.
        self.charge(2 * name.len() as u64 + 8 * dims as u64 + 4)?;
        let dims = self.dimensions(dims)?;
        let id = self.u32()?;
        let dtype = DType::from_id(id).ok_or_else(|| GgufError::TensorType {
            place: self.place.into(),
            id,
            offset: (self.at - 4) as u64,
        })?;
        let offset = self.u64()?;
        let len = sizes::tensor_len(name, &dims, dtype, start)?;
        Ok(TensorInfo {
            name: name.to_owned(),
            dims,
            dtype,
            offset,
            len,
        })
    }
}
