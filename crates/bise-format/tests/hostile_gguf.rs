//! Damaged and malicious GGUF files: an error or a sound result, no panic, and little memory.

mod gguf_builder;

use bise_format::gguf::{Array, Gguf, Layout, TensorSpec, Value};
use gguf_builder::{Builder, KINDS, Kind, build, sample};
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;

/// Counts the bytes that each thread asks for, without subtracting what it gives back.
struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` unchanged; counting touches no memory that it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        ASKED.set(ASKED.get() + memory.size() as u64);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, memory: Memory) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `System` made the pointer.
        unsafe { System.dealloc(pointer, memory) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Parses `file`; whatever the result, it may ask for no more than 4 bytes a byte of file, and 64
/// KiB. What parses must have all its data, and be something that the writer would write.
fn parse(file: &[u8]) -> Option<Gguf> {
    let before = ASKED.get();
    let result = Gguf::parse(file);
    let asked = ASKED.get() - before;
    let allowed = 4 * file.len() as u64 + (64 << 10);
    assert!(
        asked <= allowed,
        "{asked} bytes asked for, {allowed} allowed, file of {}",
        file.len()
    );
    let gguf = match result {
        Ok(gguf) => gguf,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    for info in gguf.tensors.values() {
        assert_eq!(gguf.bytes(file, info).len() as u64, info.len);
    }
    let spec = |t: &bise_format::gguf::TensorInfo| TensorSpec {
        name: t.name.clone(),
        dims: t.dims.clone(),
        dtype: t.dtype,
    };
    Layout::new(&gguf.metadata, gguf.tensors.values().map(spec))
        .expect("what is read can be written");
    Some(gguf)
}

fn good_files() -> impl Iterator<Item = Vec<u8>> {
    let (metadata, tensors) = sample();
    KINDS
        .into_iter()
        .map(move |kind| build(kind, &metadata, &tensors))
}

#[test]
fn truncations_are_errors() {
    for file in good_files() {
        let gguf = parse(&file).unwrap();
        let needed = gguf
            .tensors
            .values()
            .map(|t| gguf.data_offset + t.offset + t.len)
            .max()
            .unwrap();
        for len in 0..file.len() {
            assert_eq!(
                parse(&file[..len]).is_some(),
                len as u64 >= needed,
                "cut at {len}"
            );
        }
    }
}

#[test]
fn flipped_bits() {
    for mut file in good_files() {
        for bit in 0..parse(&file).unwrap().data_offset as usize * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            parse(&file);
            file[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// Every field of the header in turn, whatever it is, gets values that overflow something.
#[test]
fn extreme_numbers_in_every_field() {
    let extremes = [
        0,
        1,
        0xff,
        0x7fff_ffff,
        u32::MAX as u64,
        1 << 32,
        1 << 61,
        1 << 62,
        i64::MAX as u64,
        u64::MAX,
    ];
    for file in good_files() {
        for at in 4..parse(&file).unwrap().data_offset as usize - 8 {
            for value in extremes {
                for bytes in [value.to_le_bytes(), value.to_be_bytes()] {
                    for field in [&bytes[..], &bytes[..4], &bytes[4..]] {
                        let mut file = file.clone();
                        file[at..at + field.len()].copy_from_slice(field);
                        parse(&file);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn splices(kind in 0..6usize, cut in any::<prop::sample::Index>(), take in any::<prop::sample::Index>(),
               len in 0..64usize, insert in prop::collection::vec(any::<u8>(), 0..16)) {
        let files: Vec<_> = good_files().collect();
        let (file, other) = (&files[kind], &files[(kind + 1) % 6]);
        let (cut, take) = (cut.index(file.len()), take.index(other.len()));
        let tail = (cut + insert.len()).min(file.len());
        let middle = &other[take..(take + len).min(other.len())];
        parse(&[&file[..cut], &insert, &file[tail..]].concat());
        parse(&[&file[..cut], middle, &file[cut..]].concat());
    }

    #[test]
    fn noise(kind in prop::sample::select(&KINDS), noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut builder = Builder::new(kind, 1, 2);
        builder.bytes.extend(&noise);
        parse(&builder.bytes);
        parse(&noise);
    }
}

/// Counts that the file cannot hold, one for each kind of count.
#[test]
fn counts_beyond_the_file() {
    for kind in KINDS {
        let huge = if kind.0 == 1 { u32::MAX as u64 } else { u64::MAX };
        for count in [huge, huge / 8 + 1, 1 << 31, 100_000] {
            assert!(parse(&Builder::new(kind, count, 0).bytes).is_none());
            assert!(parse(&Builder::new(kind, 0, count).bytes).is_none());
            let mut key = Builder::new(kind, 0, 1);
            key.count(count);
            assert!(parse(&key.bytes).is_none());
            for element_type in 0..=13 {
                let mut array = Builder::new(kind, 0, 1);
                array.string("key");
                array.u32(9);
                array.u32(element_type);
                array.count(count);
                assert!(parse(&array.bytes).is_none());
            }
        }
    }
}

/// Files that are all small items, the worst ratio of memory to bytes: what would take too much is
/// refused.
#[test]
fn many_small_items() {
    const MANY: u64 = 50_000;
    let arrays = [
        Array::String(vec![String::new(); MANY as usize]),
        Array::Array(vec![Array::U8(vec![]); MANY as usize]),
    ];
    for kind in KINDS {
        for array in &arrays {
            let mut builder = Builder::new(kind, 0, 1);
            builder.entry("k", &Value::Array(array.clone()));
            let strings = matches!(array, Array::String(_));
            assert_eq!(read(&builder.bytes), kind.0 > 1 || !strings, "{kind:?}");
            // As many bytes of weights as real files have more than of names.
            builder.bytes.resize(2 * builder.bytes.len(), 0);
            assert!(read(&builder.bytes));
        }
        let names = |n| format!("{n:x}");
        let mut keys = Builder::new(kind, 0, MANY);
        (0..MANY).for_each(|n| keys.entry(&names(n), &Value::U8(0)));
        assert!(!read(&keys.bytes));
        keys.bytes.resize(3 * keys.bytes.len(), 0);
        assert!(read(&keys.bytes));
        assert!(!read(&many_tensors(kind, MANY, 1)), "more tensors than data");
        assert!(read(&many_tensors(kind, MANY, 4 * MANY as usize)));
    }
}

/// Whether the header of `file` can be read, though bytes may follow that belong to nothing; the
/// error of one that cannot is that it takes too much memory or ends too soon.
fn read(file: &[u8]) -> bool {
    let parsed = parse(file).is_some();
    let error = Gguf::parse(file).err().map(|error| error.to_string());
    let is = |words: &str| error.as_ref().is_some_and(|error| error.contains(words));
    let spare = is("follow the last tensor");
    assert!(parsed || spare || is("more memory than 4 times") || is("ends too soon"));
    parsed || spare
}

fn many_tensors(kind: Kind, count: u64, data: usize) -> Vec<u8> {
    let mut builder = Builder::new(kind, count, 1);
    builder.entry("general.alignment", &Value::U32(8));
    (0..count).for_each(|n| builder.tensor(&format!("{n:x}"), &[1], 0, n * 8));
    builder.pad(8);
    builder.bytes.resize(builder.bytes.len() + data * 8, 0);
    builder.bytes
}
