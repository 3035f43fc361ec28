//! Files written by PyPI gguf (`tools/fixtures/gguf_vectors.py`) hold what its own reader finds in
//! them.

use bise_format::gguf::{Array, Gguf, GgufWriter, TensorInfo, TensorSpec, Value};
use bise_kernels::mmap::FileBytes;
use bise_kernels::tensor::Endian;
use serde_json::{Value as Json, json};
use std::path::Path;

/// A value as the script writes it: type names, then the value, floating-point numbers as text.
fn describe(value: &Value) -> Json {
    fn float(v: f64) -> Json {
        json!(format!("{v:e}"))
    }
    fn scalar(value: &Value) -> (&'static str, Json) {
        match value {
            Value::U8(v) => ("UINT8", json!(v)),
            Value::I8(v) => ("INT8", json!(v)),
            Value::U16(v) => ("UINT16", json!(v)),
            Value::I16(v) => ("INT16", json!(v)),
            Value::U32(v) => ("UINT32", json!(v)),
            Value::I32(v) => ("INT32", json!(v)),
            Value::F32(v) => ("FLOAT32", float((*v).into())),
            Value::Bool(v) => ("BOOL", json!(v)),
            Value::String(v) => ("STRING", json!(v)),
            Value::U64(v) => ("UINT64", json!(v)),
            Value::I64(v) => ("INT64", json!(v)),
            Value::F64(v) => ("FLOAT64", float(*v)),
            Value::Array(_) => unreachable!("nested"),
        }
    }
    let items: Vec<Value> = match value {
        Value::Array(Array::U8(v)) => v.iter().copied().map(Value::from).collect(),
        Value::Array(Array::I8(v)) => v.iter().copied().map(Value::from).collect(),
        Value::Array(Array::U16(v)) => v.iter().copied().map(Value::from).collect(),
        Value::Array(Array::I16(v)) => v.iter().copied().map(Value::from).collect(),
        Value::Array(Array::U32(v)) => v.iter().copied().map(Value::from).collect(),
        Value::Array(Array::I32(v)) => v.iter().copied().map(Value::from).collect(),
        Value::Array(Array::F32(v)) => v.iter().copied().map(Value::from).collect(),
        Value::Array(Array::Bool(v)) => v.iter().copied().map(Value::from).collect(),
        Value::Array(Array::String(v)) => v.iter().cloned().map(Value::from).collect(),
        Value::Array(Array::U64(v)) => v.iter().copied().map(Value::from).collect(),
        Value::Array(Array::I64(v)) => v.iter().copied().map(Value::from).collect(),
        Value::Array(Array::F64(v)) => v.iter().copied().map(Value::from).collect(),
        other => {
            let (name, value) = scalar(other);
            return json!({"types": [name], "value": value});
        }
    };
    let items: Vec<_> = items.iter().map(scalar).collect();
    json!({"types": ["ARRAY", items[0].0], "value": items.iter().map(|i| &i.1).collect::<Vec<_>>()})
}

/// Brings Python's floating-point texts into Rust's form.
fn normalise(value: &mut Json) {
    let is_float = value["types"]
        .as_array()
        .unwrap()
        .iter()
        .any(|t| t.as_str().unwrap().starts_with("FLOAT"));
    if is_float {
        let fix =
            |v: &mut Json| *v = json!(format!("{:e}", v.as_str().unwrap().parse::<f64>().unwrap()));
        match &mut value["value"] {
            Json::Array(values) => values.iter_mut().for_each(fix),
            value => fix(value),
        }
    }
}

fn check(name: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/gguf");
    let file = FileBytes::map(&directory.join(format!("{name}.gguf"))).unwrap();
    let expected = std::fs::read(directory.join(format!("{name}.json"))).unwrap();
    let mut expected: Json = serde_json::from_slice(&expected).unwrap();
    let gguf = Gguf::parse(&file).unwrap();

    assert_eq!(gguf.version, 3);
    assert_eq!(expected["big_endian"], gguf.endian == Endian::Big);
    assert_eq!(expected["alignment"], gguf.alignment);
    assert_eq!(expected["data_offset"], gguf.data_offset);
    let metadata = expected["metadata"].as_object_mut().unwrap();
    assert_eq!(gguf.metadata.len(), metadata.len());
    for (key, value) in gguf.metadata.iter() {
        let expected = metadata
            .get_mut(key)
            .unwrap_or_else(|| panic!("`{key}` is not expected"));
        normalise(expected);
        assert_eq!(*expected, describe(value), "{key}");
    }
    let tensors = expected["tensors"].as_array().unwrap();
    assert_eq!(gguf.tensors.len(), tensors.len());
    for (info, expected) in gguf.tensors.values().zip(tensors) {
        let mut bytes = gguf.bytes(&file, info).to_vec();
        if gguf.endian == Endian::Big {
            info.dtype.swap_endian(&mut bytes);
        }
        let found = json!({
            "name": info.name,
            "dims": info.dims,
            "type": info.dtype.name(),
            "offset": gguf.data_offset + info.offset,
            "len": info.len,
            "hex": bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(),
        });
        assert_eq!(*expected, found);
    }
}

/// What our writer makes of the contents is the same file.
fn check_rewritten(name: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/gguf");
    let file = FileBytes::map(&directory.join(format!("{name}.gguf"))).unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    let spec = |info: &TensorInfo| TensorSpec {
        name: info.name.clone(),
        dims: info.dims.clone(),
        dtype: info.dtype,
    };
    let mut writer =
        GgufWriter::new(Vec::new(), &gguf.metadata, gguf.tensors.values().map(spec)).unwrap();
    for info in gguf.tensors.values() {
        writer.write_tensor(&info.name, gguf.bytes(&file, info)).unwrap();
    }
    assert!(writer.finish().unwrap() == *file, "{name}");
}

#[test]
fn little_endian() {
    check_rewritten("little");
    check("little");
}

#[test]
fn big_endian() {
    check("big");
}

#[test]
fn other_alignment() {
    check_rewritten("aligned");
    check("aligned");
}
