//! GGUF files byte by byte, of any version and byte order, by other code than the crate's writer.
#![allow(dead_code)] // each test program uses its part

use bise_format::gguf::{Array, Metadata, Value};
use bise_kernels::block::DType;
use bise_kernels::tensor::Endian;

/// A kind of file: version and byte order.
pub type Kind = (u32, Endian);

/// All kinds that can be read.
pub const KINDS: [Kind; 6] = [
    (1, Endian::Little),
    (1, Endian::Big),
    (2, Endian::Little),
    (2, Endian::Big),
    (3, Endian::Little),
    (3, Endian::Big),
];

/// A tensor: name, dimensions, type and little-endian data.
pub type Tensor = (String, Vec<u64>, DType, Vec<u8>);

pub struct Builder {
    pub bytes: Vec<u8>,
    kind: Kind,
}

impl Builder {
    pub fn new(kind: Kind, tensors: u64, entries: u64) -> Self {
        let mut builder = Self {
            bytes: b"GGUF".to_vec(),
            kind,
        };
        builder.u32(kind.0);
        builder.count(tensors);
        builder.count(entries);
        builder
    }

    /// A number, given lowest byte first.
    fn number(&mut self, mut little: Vec<u8>) {
        if self.kind.1 == Endian::Big {
            little.reverse();
        }
        self.bytes.extend(little);
    }

    pub fn u32(&mut self, v: u32) {
        self.number(v.to_le_bytes().to_vec());
    }

    pub fn u64(&mut self, v: u64) {
        self.number(v.to_le_bytes().to_vec());
    }

    pub fn count(&mut self, v: u64) {
        if self.kind.0 == 1 {
            self.u32(v as u32)
        } else {
            self.u64(v)
        }
    }

    pub fn string(&mut self, v: &str) {
        self.count(v.len() as u64);
        self.bytes.extend(v.as_bytes());
    }

    pub fn entry(&mut self, key: &str, value: &Value) {
        self.string(key);
        self.u32(value.value_type() as u32);
        self.value(value);
    }

    pub fn value(&mut self, value: &Value) {
        match value {
            Value::U8(v) => self.number(v.to_le_bytes().to_vec()),
            Value::I8(v) => self.number(v.to_le_bytes().to_vec()),
            Value::U16(v) => self.number(v.to_le_bytes().to_vec()),
            Value::I16(v) => self.number(v.to_le_bytes().to_vec()),
            Value::U32(v) => self.u32(*v),
            Value::I32(v) => self.number(v.to_le_bytes().to_vec()),
            Value::F32(v) => self.number(v.to_le_bytes().to_vec()),
            Value::Bool(v) => self.bytes.push(*v as u8),
            Value::String(v) => self.string(v),
            Value::Array(v) => self.array(v),
            Value::U64(v) => self.u64(*v),
            Value::I64(v) => self.number(v.to_le_bytes().to_vec()),
            Value::F64(v) => self.number(v.to_le_bytes().to_vec()),
        }
    }

    fn array(&mut self, array: &Array) {
        self.u32(array.element_type() as u32);
        self.count(array.len() as u64);
        macro_rules! each {
            ($values:expr, $variant:ident) => {
                $values
                    .iter()
                    .for_each(|v| self.value(&Value::$variant(v.clone())))
            };
        }
        match array {
            Array::U8(v) => each!(v, U8),
            Array::I8(v) => each!(v, I8),
            Array::U16(v) => each!(v, U16),
            Array::I16(v) => each!(v, I16),
            Array::U32(v) => each!(v, U32),
            Array::I32(v) => each!(v, I32),
            Array::F32(v) => each!(v, F32),
            Array::Bool(v) => each!(v, Bool),
            Array::String(v) => each!(v, String),
            Array::Array(v) => each!(v, Array),
            Array::U64(v) => each!(v, U64),
            Array::I64(v) => each!(v, I64),
            Array::F64(v) => each!(v, F64),
        }
    }

    pub fn tensor(&mut self, name: &str, dims: &[u64], id: u32, offset: u64) {
        self.string(name);
        self.u32(dims.len() as u32);
        dims.iter().for_each(|&d| self.count(d));
        self.u32(id);
        self.u64(offset);
    }

    pub fn pad(&mut self, alignment: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
    }
}

/// A whole file.
pub fn build(kind: Kind, metadata: &Metadata, tensors: &[Tensor]) -> Vec<u8> {
    let alignment = metadata.u64("general.alignment").unwrap().unwrap_or(32) as usize;
    let mut builder = Builder::new(kind, tensors.len() as u64, metadata.len() as u64);
    metadata.iter().for_each(|(key, value)| builder.entry(key, value));
    let mut offset = 0;
    for (name, dims, dtype, data) in tensors {
        builder.tensor(name, dims, dtype.id().unwrap(), offset as u64);
        offset = (offset + data.len()).next_multiple_of(alignment);
    }
    for (_, _, dtype, data) in tensors {
        builder.pad(alignment);
        let mut data = data.clone();
        if kind.1 == Endian::Big {
            dtype.swap_endian(&mut data);
        }
        builder.bytes.extend(data);
    }
    builder.pad(alignment);
    builder.bytes
}

/// The types that a file can have.
pub fn dtypes() -> Vec<DType> {
    DType::ALL
        .iter()
        .copied()
        .filter(|dtype| dtype.id().is_some())
        .collect()
}

/// Metadata with every type, and tensors of every type that a file can have.
pub fn sample() -> (Metadata, Vec<Tensor>) {
    let strings = ["", "a", "é", "\u{2581}the", "\u{1F600}"]
        .map(String::from)
        .to_vec();
    let nested = Array::Array(vec![
        Array::U16(vec![1, 2]),
        Array::String(strings.clone()),
        Array::Array(vec![]),
    ]);
    let metadata = Metadata::from_iter([
        ("general.architecture", Value::from("llama")),
        ("u8", Value::U8(200)),
        ("i8", Value::I8(-100)),
        ("u16", Value::U16(60_000)),
        ("i16", Value::I16(-30_000)),
        ("u32", Value::U32(4_000_000_000)),
        ("i32", Value::I32(-2_000_000_000)),
        ("f32", Value::F32(1.5e-5)),
        ("bool", Value::Bool(true)),
        ("u64", Value::U64(u64::MAX - 1)),
        ("i64", Value::I64(i64::MIN + 1)),
        ("f64", Value::F64(-1e-300)),
        ("tokens", Value::from(strings)),
        ("scores", Value::from(vec![0.0f32, -1.0, -2.5])),
        ("types", Value::from(vec![1i32, -2, 3])),
        ("bytes", Value::from(vec![1u8, 2, 255])),
        ("flags", Value::from(vec![true, false])),
        ("wide", Value::from(vec![-1i64, i64::MAX])),
        ("empty", Value::from(Vec::<f64>::new())),
        ("nested", Value::Array(nested)),
        ("general.alignment", Value::U32(64)),
    ]);
    let tensor = |(i, dtype): (usize, DType)| {
        let dims = vec![dtype.block_len() as u64 * 2, 3, i as u64 % 3 + 1];
        let len = dtype.bytes_for(dims.iter().product()).unwrap();
        let data = (0..len).map(|n| (n as usize * 31 + i) as u8).collect();
        (format!("blk.{i}.{dtype}"), dims, dtype, data)
    };
    let tensors = dtypes().into_iter().enumerate().map(tensor).collect();
    (metadata, tensors)
}
