//! What a file says of itself, so that damage can be found and named: three metadata entries that
//! other programs ignore.
//!
//! ```text
//! bise.verify.metadata   for each other key:  "llama.rope.freq_base f32 1000000", long values as "sha256 HEX"
//! bise.verify.tensors    for each tensor:     "blk.0.ffn_up_exps.weight Q4_K 4096x14336x8 HEX HEX .."
//! bise.verify.header     SHA-256 of the header, all that lies before tensor data, with 64 zeros in this value's place
//! ```
//!
//! A tensor has one SHA-256, of its bytes, or, stacked, one for each expert. Everything has a
//! length that is known before a tensor is: the header is laid out with zeros and written again in
//! the end.

use crate::integrity::digest::{Digest, hex, sha256};
use crate::integrity::probe::Probes;
use bise_format::gguf::{Array, GgufError, Layout, Metadata, TensorInfo, TensorSpec, Value};

/// Keys that only bise reads.
pub(crate) const OURS: &str = "bise.";
pub(crate) const METADATA: &str = "bise.verify.metadata";
pub(crate) const TENSORS: &str = "bise.verify.tensors";
pub(crate) const HEADER: &str = "bise.verify.header";

/// Bytes of a value that is written out.
const LONGEST: usize = 64;
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A file's header as it will be, its hashes not known yet.
pub(crate) struct Manifest {
    metadata: Metadata,
    probes: Option<Probes>,
    specs: Vec<TensorSpec>,
    layout: Layout,
}

impl Manifest {
    /// Lays out a file with room for what it will say of itself.
    pub(crate) fn new(
        metadata: &Metadata,
        specs: Vec<TensorSpec>,
        probes: Option<Probes>,
    ) -> Result<Self, GgufError> {
        let theirs = metadata.iter().filter(|(key, _)| !key.starts_with(OURS));
        let mut metadata: Metadata = theirs.map(|(key, value)| (key, value.clone())).collect();
        if let Some(probes) = &probes {
            probes.describe(None, &mut metadata);
        }
        let plain = Layout::new(&metadata, specs.clone())?;
        metadata.insert(METADATA, entries(&metadata));
        let zero =
            |info: &TensorInfo| tensor_entry(info, &vec![[0; 32]; matrices(&info.dims) as usize]);
        metadata.insert(TENSORS, plain.tensors().values().map(zero).collect::<Vec<_>>());
        metadata.insert(HEADER, ZEROS);
        let layout = Layout::new(&metadata, specs.clone())?;
        Ok(Self {
            metadata,
            probes,
            specs,
            layout,
        })
    }

    /// What the file will be probed with.
    pub(crate) fn prompts(&self) -> &[Vec<u32>] {
        self.probes.as_ref().map_or(&[], Probes::prompts)
    }

    /// Where everything lies.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The header, as long as before, when all matrices are known, and what the file says to its
    /// probes if it was run.
    pub(crate) fn close(
        mut self,
        digests: &[Digest],
        replay: Option<(&[Vec<f32>], u32)>,
    ) -> Result<Vec<u8>, GgufError> {
        if let Some(probes) = &self.probes {
            probes.describe(replay, &mut self.metadata);
        }
        let mut digests = digests;
        let tensors = self.layout.tensors().values().map(|info| {
            let (own, rest) = digests.split_at(matrices(&info.dims) as usize);
            digests = rest;
            tensor_entry(info, own)
        });
        self.metadata.insert(TENSORS, tensors.collect::<Vec<_>>());
        let open = Layout::new(&self.metadata, self.specs.clone())?;
        self.metadata.insert(HEADER, hex(&sha256(open.header())));
        let closed = Layout::new(&self.metadata, self.specs)?;
        assert_eq!(
            closed.header().len(),
            self.layout.header().len(),
            "no value changes its length"
        );
        Ok(closed.header().to_vec())
    }
}

/// Matrices in a tensor of these dimensions, each with a hash of its own.
pub(crate) fn matrices(dims: &[u64]) -> u64 {
    dims.iter().skip(2).product()
}

/// What [`METADATA`] says of `metadata`.
pub(crate) fn entries(metadata: &Metadata) -> Vec<String> {
    let theirs = metadata.iter().filter(|(key, _)| !key.starts_with(OURS));
    theirs.map(|(key, value)| metadata_entry(key, value)).collect()
}

fn metadata_entry(key: &str, value: &Value) -> String {
    format!("{key} {}", describe(value))
}

/// A value's type and the value, or what stands for a long one.
pub(crate) fn describe(value: &Value) -> String {
    let (name, text) = match value {
        Value::Array(array) => {
            let name = format!("array of {} {}", array.len(), array.element_type());
            return format!("{name} sha256 {}", hex(&sha256(&bytes_of(array))));
        }
        Value::String(v) if v.len() > LONGEST => {
            return format!("string sha256 {}", hex(&sha256(v.as_bytes())));
        }
        Value::String(v) => ("string", format!("{v:?}")),
        Value::U8(v) => ("u8", v.to_string()),
        Value::I8(v) => ("i8", v.to_string()),
        Value::U16(v) => ("u16", v.to_string()),
        Value::I16(v) => ("i16", v.to_string()),
        Value::U32(v) => ("u32", v.to_string()),
        Value::I32(v) => ("i32", v.to_string()),
        Value::U64(v) => ("u64", v.to_string()),
        Value::I64(v) => ("i64", v.to_string()),
        Value::F32(v) => ("f32", v.to_string()),
        Value::F64(v) => ("f64", v.to_string()),
        Value::Bool(v) => ("bool", v.to_string()),
    };
    format!("{name} {text}")
}

/// The elements one after the other, texts with their lengths, so that no two arrays of a type have
/// the same bytes.
fn bytes_of(array: &Array) -> Vec<u8> {
    match array {
        Array::U8(v) => v.clone(),
        Array::I8(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Array::U16(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Array::I16(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Array::U32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Array::I32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Array::U64(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Array::I64(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Array::F32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Array::F64(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Array::Bool(v) => v.iter().map(|v| u8::from(*v)).collect(),
        Array::String(v) => {
            let text = |s: &String| [&(s.len() as u64).to_le_bytes()[..], s.as_bytes()].concat();
            v.iter().flat_map(text).collect()
        }
        Array::Array(v) => {
            let nested = |a: &Array| {
                let bytes = bytes_of(a);
                let head = [a.element_type() as u64, a.len() as u64, bytes.len() as u64];
                [&head.map(u64::to_le_bytes).concat()[..], &bytes].concat()
            };
            v.iter().flat_map(nested).collect()
        }
    }
}

fn tensor_entry(info: &TensorInfo, digests: &[Digest]) -> String {
    let hashes: Vec<String> = digests.iter().map(|digest| hex(digest)).collect();
    format!("{} {}", tensor_facts(info), hashes.join(" "))
}

/// A tensor's name, type and shape.
pub(crate) fn tensor_facts(info: &TensorInfo) -> String {
    let dims: Vec<String> = info.dims.iter().map(u64::to_string).collect();
    format!("{} {} {}", info.name, info.dtype, dims.join("x"))
}

/// The hash that [`HEADER`] should have in a file with this header, which states `stated`.
pub(crate) fn header_digest(header: &[u8], stated: &str) -> Digest {
    let mut open = header.to_vec();
    if stated.len() == ZEROS.len()
        && let Some(at) = header
            .windows(ZEROS.len())
            .rposition(|window| window == stated.as_bytes())
    {
        open[at..at + ZEROS.len()].copy_from_slice(ZEROS.as_bytes());
    }
    sha256(&open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_that_differ_have_bytes_that_differ() {
        let texts = |v: &[&str]| Array::String(v.iter().map(|s| (*s).to_owned()).collect());
        assert_ne!(bytes_of(&texts(&["ab", "c"])), bytes_of(&texts(&["a", "bc"])));
        let nested = |v: &[&[u8]]| Array::Array(v.iter().map(|v| Array::U8(v.to_vec())).collect());
        assert_ne!(
            bytes_of(&nested(&[&[1], &[2, 3]])),
            bytes_of(&nested(&[&[1, 2], &[3]]))
        );
    }

    #[test]
    fn values_as_people_read_them() {
        assert_eq!(describe(&Value::F32(1e6)), "f32 1000000");
        assert_eq!(describe(&"llama".into()), "string \"llama\"");
        assert!(
            describe(&vec![1u32, 2].into()).starts_with("array of 2 u32 sha256 34fb5c82"),
            "{}",
            describe(&vec![1u32, 2].into())
        );
    }
}
