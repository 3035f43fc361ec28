//! The writer: the header is laid out first, then tensor data streams through.

use super::error::{GgufError, Place};
use super::header::TensorInfo;
use super::limits::{MAGIC, MAX_DEPTH, MAX_KEY, MAX_TENSOR_NAME};
use super::sizes;
use super::value::{Array, Metadata, Value};
use bise_kernels::block::DType;
use indexmap::IndexMap;
use std::io::Write;

const VERSION: u32 = 3;

/// A tensor to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The tensor's name, 1 to 255 bytes; llama.cpp reads names of at most 63.
    pub name: String,
    /// 1 to 4 dimensions, the fastest first.
    pub dims: Vec<u64>,
    /// The type of the elements.
    pub dtype: DType,
}

/// A whole file but for the tensors' data: where every byte will lie, known before any is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    header: Vec<u8>,
    tensors: IndexMap<String, TensorInfo>,
    alignment: u64,
}

impl Layout {
    /// Lays out a little-endian file of version 3; tensors keep their order.
    ///
    /// The alignment is that of `general.alignment`, else 32.
    ///
    /// # Errors
    /// When [`Gguf::parse`](super::Gguf::parse) would not accept the result, or a type is none that
    /// a file can have.
    pub fn new(
        metadata: &Metadata,
        tensors: impl IntoIterator<Item = TensorSpec>,
    ) -> Result<Self, GgufError> {
        let alignment = sizes::alignment(metadata)?;
        let tensors = place_tensors(tensors, alignment)?;
        let mut header = Vec::new();
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        put_count(&mut header, tensors.len());
        put_count(&mut header, metadata.len());
        for (key, value) in metadata.iter() {
            check_name(Place::Key(key.to_owned()), key, MAX_KEY)?;
            put_string(&mut header, key);
            header.extend_from_slice(&(value.value_type() as u32).to_le_bytes());
            put_value(&mut header, key, value)?;
        }
        for info in tensors.values() {
            put_string(&mut header, &info.name);
            header.extend_from_slice(&(info.dims.len() as u32).to_le_bytes());
            info.dims
                .iter()
                .for_each(|d| header.extend_from_slice(&d.to_le_bytes()));
            let id = info.dtype.id().ok_or_else(|| GgufError::NotOfGguf {
                tensor: info.name.clone(),
                dtype: info.dtype,
            })?;
            header.extend_from_slice(&id.to_le_bytes());
            header.extend_from_slice(&info.offset.to_le_bytes());
        }
        header.resize(header.len().next_multiple_of(alignment as usize), 0);
        Ok(Self {
            header,
            tensors,
            alignment,
        })
    }

    /// The file up to the data of the first tensor.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// The tensors, in the order in which they are written.
    pub fn tensors(&self) -> &IndexMap<String, TensorInfo> {
        &self.tensors
    }

    /// Where tensor data starts, in bytes from the start of the file.
    pub fn data_offset(&self) -> u64 {
        self.header.len() as u64
    }

    /// Size of the whole file in bytes.
    pub fn file_len(&self) -> u64 {
        let end = self.tensors.last().map_or(0, |(_, info)| info.offset + info.len);
        self.data_offset() + end.next_multiple_of(self.alignment)
    }
}

fn place_tensors(
    specs: impl IntoIterator<Item = TensorSpec>,
    alignment: u64,
) -> Result<IndexMap<String, TensorInfo>, GgufError> {
    let mut tensors = IndexMap::new();
    let mut offset = 0u64;
    for TensorSpec { name, dims, dtype } in specs {
        check_name(Place::Tensor(name.clone()), &name, MAX_TENSOR_NAME)?;
        let len = sizes::tensor_len(&name, &dims, dtype, 0)?;
        let info = TensorInfo {
            name: name.clone(),
            dims,
            dtype,
            offset,
            len,
        };
        let end = offset
            .checked_add(len)
            .and_then(|end| end.checked_next_multiple_of(alignment));
        offset =
            end.filter(|&end| i64::try_from(end).is_ok())
                .ok_or_else(|| GgufError::Invalid {
                    place: Place::Tensor(name.clone()),
                    what: "the place",
                    offset,
                    found: format!("{len} bytes long").into(),
                    expected: "a file of less than 2^63 bytes".into(),
                })?;
        if tensors.insert(name.clone(), info).is_some() {
            return Err(GgufError::Duplicate {
                place: Place::Tensor(name),
                offset: 0,
            });
        }
    }
    Ok(tensors)
}

fn check_name(place: Place, name: &str, longest: u64) -> Result<(), GgufError> {
    if (1..=longest).contains(&(name.len() as u64)) {
        return Ok(());
    }
    Err(GgufError::Invalid {
        place,
        what: "the length of the name",
        offset: 0,
        found: name.len().to_string().into(),
        expected: format!("1 to {longest}").into(),
    })
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u64).to_le_bytes());
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, key: &str, value: &Value) -> Result<(), GgufError> {
    match value {
        Value::U8(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I8(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::U16(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I16(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::U32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::F32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::String(v) => put_string(out, v),
        Value::Array(v) => put_array(out, key, v, 1)?,
        Value::U64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::F64(v) => out.extend_from_slice(&v.to_le_bytes()),
    }
    Ok(())
}

fn put_array(out: &mut Vec<u8>, key: &str, array: &Array, depth: u32) -> Result<(), GgufError> {
    if depth > MAX_DEPTH {
        return Err(GgufError::Invalid {
            place: Place::Key(key.to_owned()),
            what: "the nesting of arrays",
            offset: out.len() as u64,
            found: depth.to_string().into(),
            expected: format!("at most {MAX_DEPTH} levels").into(),
        });
    }
    out.extend_from_slice(&(array.element_type() as u32).to_le_bytes());
    put_count(out, array.len());
    match array {
        Array::U8(v) => out.extend_from_slice(v),
        Array::I8(v) => v.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
        Array::U16(v) => v.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
        Array::I16(v) => v.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
        Array::U32(v) => v.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
        Array::I32(v) => v.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
        Array::F32(v) => v.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
        Array::Bool(v) => v.iter().for_each(|v| out.push(u8::from(*v))),
        Array::String(v) => v.iter().for_each(|v| put_string(out, v)),
        Array::Array(v) => v.iter().try_for_each(|v| put_array(out, key, v, depth + 1))?,
        Array::U64(v) => v.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
        Array::I64(v) => v.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
        Array::F64(v) => v.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
    }
    Ok(())
}

/// Writes the tensors of a [`Layout`] in order, a whole tensor or a part at a time.
///
/// ```
/// use bise_kernels::block::DType;
/// use bise_format::gguf::{Gguf, GgufWriter, Metadata, TensorSpec};
///
/// let mut metadata = Metadata::default();
/// metadata.insert("general.name", "two numbers");
/// let tensor = TensorSpec { name: "x".into(), dims: vec![2], dtype: DType::F32 };
/// let mut writer = GgufWriter::new(Vec::new(), &metadata, [tensor])?;
/// writer.write_tensor("x", &[1.5f32, -2.0].map(f32::to_le_bytes).concat())?;
/// let file = writer.finish()?;
/// assert_eq!(Gguf::parse(&file)?.metadata.str("general.name")?, Some("two numbers"));
/// # Ok::<(), bise_format::gguf::GgufError>(())
/// ```
pub struct GgufWriter<W> {
    out: W,
    layout: Layout,
    /// The tensor to be written next, and how many of its bytes have been.
    next: usize,
    done: u64,
}

impl<W: Write> GgufWriter<W> {
    /// Writes the header of a file of these tensors to `out`.
    ///
    /// # Errors
    /// As [`Layout::new`], or when writing fails.
    pub fn new(
        out: W,
        metadata: &Metadata,
        tensors: impl IntoIterator<Item = TensorSpec>,
    ) -> Result<Self, GgufError> {
        Self::with_layout(out, Layout::new(metadata, tensors)?)
    }

    /// Writes the header of `layout` to `out`.
    ///
    /// # Errors
    /// When writing fails.
    pub fn with_layout(mut out: W, layout: Layout) -> Result<Self, GgufError> {
        out.write_all(layout.header())?;
        Ok(Self {
            out,
            layout,
            next: 0,
            done: 0,
        })
    }

    /// What is being written.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Writes all data of the next tensor, which is `name`.
    ///
    /// # Errors
    /// When another tensor is due, the length is not the tensor's, or writing fails.
    pub fn write_tensor(&mut self, name: &str, bytes: &[u8]) -> Result<(), GgufError> {
        let expected = self.due(name)?.len;
        let found = self.done + bytes.len() as u64;
        if found != expected {
            return Err(GgufError::TensorLength {
                tensor: name.to_owned(),
                expected,
                found,
            });
        }
        self.write_part(name, bytes)
    }

    /// Writes some more data of the tensor that is due, which is `name`; when it is complete the
    /// next is due.
    ///
    /// # Errors
    /// When another tensor is due, the tensor would become too long, or writing fails.
    pub fn write_part(&mut self, name: &str, bytes: &[u8]) -> Result<(), GgufError> {
        let expected = self.due(name)?.len;
        let found = self.done + bytes.len() as u64;
        if found > expected {
            return Err(GgufError::TensorLength {
                tensor: name.to_owned(),
                expected,
                found,
            });
        }
        self.out.write_all(bytes)?;
        self.done = found;
        if found == expected {
            let padding = expected.next_multiple_of(self.layout.alignment) - expected;
            std::io::copy(
                &mut std::io::Read::take(std::io::repeat(0), padding),
                &mut self.out,
            )?;
            self.next += 1;
            self.done = 0;
        }
        Ok(())
    }

    /// Ends the file and returns what it was written to.
    ///
    /// # Errors
    /// When tensors are missing or flushing fails.
    pub fn finish(mut self) -> Result<W, GgufError> {
        if let Some((first, _)) = self.layout.tensors.get_index(self.next) {
            let count = self.layout.tensors.len() - self.next;
            return Err(GgufError::MissingTensors {
                count,
                first: first.clone(),
            });
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn due(&self, name: &str) -> Result<&TensorInfo, GgufError> {
        match self.layout.tensors.get_index(self.next) {
            Some((expected, info)) if expected == name => Ok(info),
            other => Err(GgufError::TensorOrder {
                expected: other.map_or("the end of the file", |(name, _)| name).to_owned(),
                found: name.to_owned(),
            }),
        }
    }
}
