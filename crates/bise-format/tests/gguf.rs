//! GGUF: what is written is read back; every version and byte order reads the same; errors name the
//! culprit.

mod gguf_builder;

use bise_format::gguf::{Array, Gguf, GgufError, GgufWriter, Layout, Metadata, TensorSpec, Value};
use bise_kernels::block::DType;
use bise_kernels::tensor::Endian;
use gguf_builder::{Builder, KINDS, Tensor, build, dtypes, sample};
use proptest::prelude::*;

const V3: gguf_builder::Kind = (3, Endian::Little);

fn specs(tensors: &[Tensor]) -> Vec<TensorSpec> {
    let spec = |(name, dims, dtype, _): &Tensor| TensorSpec {
        name: name.clone(),
        dims: dims.clone(),
        dtype: *dtype,
    };
    tensors.iter().map(spec).collect()
}

fn write(metadata: &Metadata, tensors: &[Tensor]) -> Vec<u8> {
    let mut writer = GgufWriter::new(Vec::new(), metadata, specs(tensors)).unwrap();
    for (name, _, _, data) in tensors {
        writer.write_tensor(name, data).unwrap();
    }
    writer.finish().unwrap()
}

fn check(file: &[u8], metadata: &Metadata, tensors: &[Tensor]) {
    let gguf = Gguf::parse(file).unwrap();
    assert_eq!(&gguf.metadata, metadata);
    assert!(gguf.metadata.iter().eq(metadata.iter()), "order of the entries");
    assert!(
        gguf.tensors.keys().eq(tensors.iter().map(|t| &t.0)),
        "order of the tensors"
    );
    for (name, dims, dtype, data) in tensors {
        let info = gguf.tensor(name).unwrap();
        assert_eq!(
            (&info.name, &info.dims, info.dtype, info.len),
            (name, dims, *dtype, data.len() as u64)
        );
        assert_eq!(info.elements(), dims.iter().product::<u64>());
        assert_eq!((gguf.data_offset + info.offset) % gguf.alignment, 0);
        let mut found = gguf.bytes(file, info).to_vec();
        if gguf.endian == Endian::Big {
            info.dtype.swap_endian(&mut found);
        }
        assert_eq!(&found, data, "{name}");
    }
}

#[test]
fn all_versions_and_byte_orders_read_the_same() {
    let (metadata, tensors) = sample();
    for kind in KINDS {
        let file = build(kind, &metadata, &tensors);
        let gguf = Gguf::parse(&file).unwrap();
        assert_eq!((gguf.version, gguf.endian, gguf.alignment), (kind.0, kind.1, 64));
        check(&file, &metadata, &tensors);
    }
}

#[test]
fn the_writer_agrees_with_the_byte_builder() {
    let (metadata, tensors) = sample();
    let file = write(&metadata, &tensors);
    assert_eq!(file, build(V3, &metadata, &tensors));
    let layout = Layout::new(&metadata, specs(&tensors)).unwrap();
    assert_eq!(layout.file_len(), file.len() as u64);
    assert_eq!(layout.tensors(), &Gguf::parse(&file).unwrap().tensors);
}

fn scalar() -> impl Strategy<Value = Value> {
    use proptest::num::{f32, f64};
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        (f32::NORMAL | f32::SUBNORMAL | f32::ZERO | f32::INFINITE).prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        "\\PC{0,12}".prop_map(Value::String),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        (f64::NORMAL | f64::SUBNORMAL | f64::ZERO | f64::INFINITE).prop_map(Value::F64),
    ]
}

fn array() -> impl Strategy<Value = Array> {
    use prop::collection::vec;
    let leaf = prop_oneof![
        vec(any::<u8>(), 0..9).prop_map(Array::U8),
        vec(any::<i8>(), 0..9).prop_map(Array::I8),
        vec(any::<u16>(), 0..9).prop_map(Array::U16),
        vec(any::<i16>(), 0..9).prop_map(Array::I16),
        vec(any::<u32>(), 0..9).prop_map(Array::U32),
        vec(any::<i32>(), 0..9).prop_map(Array::I32),
        vec(-1e30f32..1e30, 0..9).prop_map(Array::F32),
        vec(any::<bool>(), 0..9).prop_map(Array::Bool),
        vec("\\PC{0,6}", 0..9).prop_map(Array::String),
        vec(any::<u64>(), 0..9).prop_map(Array::U64),
        vec(any::<i64>(), 0..9).prop_map(Array::I64),
        vec(-1e300f64..1e300, 0..9).prop_map(Array::F64),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| vec(inner, 0..4).prop_map(Array::Array))
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let value = prop_oneof![3 => scalar(), 1 => array().prop_map(Value::Array)];
    let entries = prop::collection::vec(("[a-z.]{1,8}", value), 0..20);
    (entries, prop::option::of(3u32..12)).prop_map(|(entries, alignment)| {
        let mut metadata = Metadata::from_iter(entries);
        if let Some(log) = alignment {
            metadata.insert("general.alignment", 1u32 << log);
        }
        metadata
    })
}

fn tensors() -> impl Strategy<Value = Vec<Tensor>> {
    let shape = (
        prop::sample::select(dtypes()),
        prop::collection::vec(1u64..5, 1..=4),
        any::<u8>(),
    );
    prop::collection::vec(shape, 0..6).prop_map(|shapes| {
        let tensor = |(i, (dtype, mut dims, seed)): (usize, (DType, Vec<u64>, u8))| {
            dims[0] *= dtype.block_len() as u64;
            let len = dtype.bytes_for(dims.iter().product()).unwrap();
            let data = (0..len).map(|n| (n as u8).wrapping_mul(seed)).collect();
            (format!("tensor {i}"), dims, dtype, data)
        };
        shapes.into_iter().enumerate().map(tensor).collect()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(metadata in metadata(), tensors in tensors()) {
        let file = write(&metadata, &tensors);
        check(&file, &metadata, &tensors);
    }

    #[test]
    fn what_is_built_is_read(metadata in metadata(), tensors in tensors(), kind in prop::sample::select(&KINDS)) {
        check(&build(kind, &metadata, &tensors), &metadata, &tensors);
    }
}

/// Types that only other files have are not written.
#[test]
fn types_that_are_not_of_gguf() {
    for &dtype in DType::ALL.iter().filter(|dtype| dtype.id().is_none()) {
        let spec = TensorSpec {
            name: "w".to_owned(),
            dims: vec![dtype.block_len() as u64],
            dtype,
        };
        let error = Layout::new(&Metadata::new(), [spec]).unwrap_err().to_string();
        let expected = format!("tensor `w` is {dtype}, a type that no GGUF file holds");
        assert_eq!(error, expected);
    }
}

#[test]
fn getters_take_what_fits_and_name_what_does_not() {
    let (metadata, _) = sample();
    assert_eq!(metadata.u32("u8").unwrap(), Some(200));
    assert_eq!(metadata.u64("u32").unwrap(), Some(4_000_000_000));
    assert_eq!(metadata.u32("absent").unwrap(), None);
    assert_eq!(metadata.f32("f32").unwrap(), Some(1.5e-5));
    assert_eq!(metadata.bool("bool").unwrap(), Some(true));
    assert_eq!(metadata.str("general.architecture").unwrap(), Some("llama"));
    assert_eq!(metadata.strings("tokens").unwrap().unwrap()[3], "\u{2581}the");
    assert_eq!(metadata.f32s("scores").unwrap().unwrap(), [0.0, -1.0, -2.5]);
    assert_eq!(&*metadata.i32s("types").unwrap().unwrap(), [1, -2, 3]);
    assert_eq!(&*metadata.i32s("bytes").unwrap().unwrap(), [1, 2, 255]);
    assert_eq!(&*metadata.u32s("bytes").unwrap().unwrap(), [1, 2, 255]);
    let error = |e: GgufError| e.to_string();
    assert_eq!(
        error(metadata.u32("i8").unwrap_err()),
        "metadata `i8` is -100, which does not fit in u32"
    );
    assert_eq!(
        error(metadata.u32("bool").unwrap_err()),
        "metadata `bool` is bool, expected u32"
    );
    assert_eq!(
        error(metadata.str("u8").unwrap_err()),
        "metadata `u8` is u8, expected string"
    );
    assert_eq!(
        error(metadata.i32s("scores").unwrap_err()),
        "metadata `scores` is array of f32, expected array of i32"
    );
    assert_eq!(
        error(metadata.u32s("types").unwrap_err()),
        "metadata `types` is -2, which does not fit in array of u32"
    );
    assert_eq!(
        error(metadata.strings("u8").unwrap_err()),
        "metadata `u8` is u8, expected array of string"
    );
}

/// A file of one F32 tensor of 8 values, but for what `change` does to the header.
fn one_tensor(change: impl FnOnce(&mut Builder)) -> Vec<u8> {
    let mut builder = Builder::new(V3, 1, 0);
    change(&mut builder);
    builder.pad(32);
    builder.bytes.extend([0; 32]);
    builder.bytes
}

#[test]
fn errors_name_place_found_and_expected() {
    let tensor =
        |dims: &'static [u64], id, offset| one_tensor(move |b| b.tensor("w", dims, id, offset));
    let entry = |key: &'static str, value: Value| {
        let mut builder = Builder::new(V3, 0, 1);
        builder.entry(key, &value);
        builder.bytes
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "the file is empty"),
        (
            b"GGM".to_vec(),
            "not a GGUF file: it starts with bytes [47, 47, 4d] instead of",
        ),
        (b"GGML\x03\0\0\0".to_vec(), "starts with bytes [47, 47, 4d, 4c]"),
        (
            b"GGUF".to_vec(),
            "header: the file ends too soon: 4 bytes needed at byte 4, 0 left",
        ),
        (b"GGUF\x07\0\0\0".to_vec(), "GGUF version 7 is not known"),
        (b"GGUF\0\0\0\0".to_vec(), "GGUF version 0 is not known"),
        (
            tensor(&[], 0, 0),
            "tensor `w`: the number of dimensions at byte 33 is 0, expected 1 to 4",
        ),
        (tensor(&[1, 1, 1, 1, 1], 0, 0), "is 5, expected 1 to 4"),
        (
            tensor(&[8, 0], 0, 0),
            "tensor `w`: the shape at byte 33 is [8, 0], expected dimensions above 0",
        ),
        (
            tensor(&[1 << 40, 1 << 40], 0, 0),
            "expected fewer than 2^63 values",
        ),
        (tensor(&[1 << 62], 0, 0), "expected fewer than 2^63 bytes"),
        (
            tensor(&[8], 99, 0),
            "tensor `w`: type 99 at byte 45 is not one that this program reads",
        ),
        (tensor(&[8], 9, 0), "tensor `w`: type 9 (Q8_1)"),
        (
            tensor(&[8], 31, 0),
            "tensor `w`: type 31 (Q4_0_4_4, removed from GGML)",
        ),
        (
            tensor(&[8], 2, 0),
            "tensor `w`: rows of 8 values are not whole Q4_0 blocks of 32",
        ),
        (
            tensor(&[8], 0, 8),
            "72 is 8 bytes into the data, expected a multiple of the alignment 32",
        ),
        (
            tensor(&[8], 0, 32),
            "tensor `w`: the file ends too soon: 32 bytes needed at byte 96, 0 left",
        ),
        (tensor(&[9], 0, 0), "36 bytes needed at byte 64, 32 left"),
        (
            [tensor(&[8], 0, 32), vec![0; 32]].concat(),
            "32 bytes at byte 64, before tensor `w`, belong to nothing",
        ),
        (
            [tensor(&[8], 0, 0), vec![0; 1]].concat(),
            "1 bytes follow the last tensor, at byte 96",
        ),
        (
            tensor(&[8], 0, u64::MAX - 31),
            "tensor `w`: the file ends too soon",
        ),
        (
            entry("general.alignment", Value::U32(0)),
            "`general.alignment` is 0, which does not fit in a power of two",
        ),
        (
            entry("general.alignment", Value::U32(48)),
            "`general.alignment` is 48",
        ),
        (
            entry("general.alignment", Value::U32(4)),
            "`general.alignment` is 4",
        ),
        (
            entry("general.alignment", Value::U32(1 << 31)),
            "`general.alignment` is 2147483648",
        ),
        (
            entry("general.alignment", Value::Bool(true)),
            "is bool, expected u64",
        ),
        (
            entry("", Value::U32(0)),
            "metadata entry 0: the length of the name at byte 24 is 0, expected 1 to 65535",
        ),
    ];
    for (file, expected) in cases {
        let error = Gguf::parse(&file).unwrap_err().to_string();
        assert!(
            error.contains(expected),
            "`{error}` does not contain `{expected}`"
        );
    }
}

#[test]
fn twice_the_same_name_overlap_and_bad_values() {
    let mut builder = Builder::new(V3, 0, 2);
    builder.entry("key", &Value::U8(1));
    builder.entry("key", &Value::U8(2));
    assert!(matches!(
        Gguf::parse(&builder.bytes),
        Err(GgufError::Duplicate { offset: 40, .. })
    ));

    let two = |first: &str, second: &str, offset| {
        let mut builder = Builder::new(V3, 2, 0);
        builder.tensor(first, &[16], 0, 0);
        builder.tensor(second, &[8], 0, offset);
        builder.pad(32);
        builder.bytes.extend([0; 96]);
        Gguf::parse(&builder.bytes)
    };
    assert!(two("a", "b", 64).is_ok());
    assert!(matches!(two("a", "a", 64), Err(GgufError::Duplicate { .. })));
    assert!(matches!(two("a", "b", 32), Err(GgufError::Overlap { .. })));
    assert!(matches!(two("a", "b", 0), Err(GgufError::Overlap { .. })));

    let mut nested = Array::U8(vec![1]);
    for depth in 1..=5 {
        let metadata = Metadata::from_iter([("deep", Value::Array(nested.clone()))]);
        let file = build(V3, &metadata, &[]);
        assert_eq!(Gguf::parse(&file).is_ok(), depth <= 4, "{depth} levels");
        assert_eq!(Layout::new(&metadata, []).is_ok(), depth <= 4, "{depth} levels");
        nested = Array::Array(vec![nested]);
    }

    let mut text = build(V3, &Metadata::from_iter([("key", Value::from("abc"))]), &[]);
    let at = text.len() - text.iter().rev().position(|&b| b == b'c').unwrap() - 1;
    text[at] = 0xff;
    assert!(
        matches!(Gguf::parse(&text), Err(GgufError::Utf8 { offset, .. }) if offset == at as u64)
    );
}

#[test]
fn the_writer_insists_on_its_plan() {
    let metadata = Metadata::new();
    let spec = |name: &str, dims: &[u64], dtype| TensorSpec {
        name: name.into(),
        dims: dims.to_vec(),
        dtype,
    };
    let plan = [spec("a", &[2], DType::F32), spec("b", &[32, 2], DType::Q8_0)];
    let mut writer = GgufWriter::new(Vec::new(), &metadata, plan.clone()).unwrap();
    assert!(matches!(
        writer.write_tensor("b", &[0; 68]),
        Err(GgufError::TensorOrder { .. })
    ));
    assert!(matches!(
        writer.write_tensor("a", &[0; 7]),
        Err(GgufError::TensorLength {
            expected: 8,
            found: 7,
            ..
        })
    ));
    writer.write_part("a", &[1; 5]).unwrap();
    assert!(matches!(
        writer.write_tensor("a", &[0; 8]),
        Err(GgufError::TensorLength { found: 13, .. })
    ));
    writer.write_part("a", &[2; 3]).unwrap();
    writer.write_part("b", &[]).unwrap();
    writer.write_part("b", &[3; 34]).unwrap();
    assert!(matches!(
        writer.write_part("b", &[3; 35]),
        Err(GgufError::TensorLength { found: 69, .. })
    ));
    writer.write_part("b", &[4; 34]).unwrap();
    assert!(matches!(
        writer.write_part("b", &[]),
        Err(GgufError::TensorOrder { .. })
    ));
    let file = writer.finish().unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!(
        gguf.bytes(&file, gguf.tensor("a").unwrap()),
        [1, 1, 1, 1, 1, 2, 2, 2]
    );

    let unfinished = GgufWriter::new(Vec::new(), &metadata, plan).unwrap().finish();
    assert!(
        matches!(unfinished, Err(GgufError::MissingTensors { count: 2, first }) if first == "a")
    );
    for bad in [
        spec("", &[1], DType::F32),
        spec("x", &[], DType::F32),
        spec("x", &[0], DType::F32),
        spec("x", &[33], DType::Q8_0),
        spec("x", &[u64::MAX, 2], DType::F32),
        spec("x", &[i64::MAX as u64 / 4], DType::F32),
    ] {
        assert!(Layout::new(&metadata, [bad.clone()]).is_err(), "{bad:?}");
    }
    assert!(Layout::new(&metadata, vec![spec("x", &[1], DType::F32); 2]).is_err());
}
