//! Models in several files: found by any part, and refused when the parts do not belong together.

use bise_format::checkpoint::Checkpoint;
use bise_format::full_text;
use bise_format::gguf::{GgufWriter, Metadata, TensorSpec, Value};
use bise_kernels::block::DType;
use bise_kernels::mmap::FileBytes;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A part: its metadata, and its tensors of one value.
#[derive(Clone)]
struct Part {
    metadata: Metadata,
    tensors: Vec<&'static str>,
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        let spec = |name: &&str| TensorSpec {
            name: (*name).to_owned(),
            dims: vec![1],
            dtype: DType::F32,
        };
        let mut writer =
            GgufWriter::new(Vec::new(), &self.metadata, self.tensors.iter().map(spec)).unwrap();
        for name in &self.tensors {
            let value = f32::from(name.as_bytes()[0]);
            writer.write_tensor(name, &value.to_le_bytes()).unwrap();
        }
        writer.finish().unwrap()
    }
}

/// A model in three parts: tensors a and b, c, d.
fn model() -> Vec<Part> {
    let tensors = [vec!["a", "b"], vec!["c"], vec!["d"]];
    let part = |(number, tensors)| {
        let mut metadata = Metadata::new();
        metadata.insert("general.architecture", "llama");
        if number == 0 {
            metadata.insert("general.name", "three");
        }
        metadata.insert("split.no", number as u16);
        metadata.insert("split.count", 3u16);
        metadata.insert("split.tensors.count", 4i32);
        Part { metadata, tensors }
    };
    tensors.into_iter().enumerate().map(part).collect()
}

fn path(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("m-{number:05}-of-00003.gguf"))
}

fn write(parts: &[Part]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (i, part) in parts.iter().enumerate() {
        std::fs::write(path(folder.path(), i + 1), part.bytes()).unwrap();
    }
    folder
}

#[test]
fn any_part_opens_the_whole() {
    let folder = write(&model());
    for number in 1..=3 {
        let found = Checkpoint::open(&path(folder.path(), number)).unwrap();
        assert!(found.tensors.keys().eq(["a", "b", "c", "d"]));
        let values = found.tensors.values().map(|tensor| tensor.to_vec()[0]);
        assert!(values.eq([97.0, 98.0, 99.0, 100.0]));
        let keys = found.metadata.iter().map(|(key, _)| key);
        assert!(keys.eq(["general.architecture", "general.name"]));
    }
}

/// The error of opening the second part of a model with `change`, which must hold `words`.
fn check(change: impl FnOnce(&mut Vec<Part>), words: &[&str]) {
    let mut parts = model();
    change(&mut parts);
    let folder = write(&parts);
    let error = Checkpoint::open(&path(folder.path(), 2)).err().expect("an error");
    let error = full_text(&error);
    for word in words {
        assert!(error.contains(word), "`{error}` does not contain `{word}`");
    }
}

fn set(part: usize, key: &'static str, value: impl Into<Value>) -> impl FnOnce(&mut Vec<Part>) {
    let value = value.into();
    move |parts| {
        parts[part].metadata.insert(key, value);
    }
}

#[test]
fn parts_that_do_not_belong_together() {
    check(
        |parts| drop(parts.pop()),
        &["m-00003-of-00003.gguf: part 3 of 3 is missing"],
    );
    check(
        set(2, "split.no", 1u16),
        &["m-00003-of-00003.gguf: split.no is 1, but 2"],
    );
    check(
        set(2, "split.count", 4u16),
        &["m-00003-of-00003.gguf: split.count is 4, but 3 in the first part"],
    );
    check(
        set(0, "split.tensors.count", 5i32),
        &["m-00002", "split.tensors.count is 4, but 5"],
    );
    check(
        |parts| {
            parts
                .iter_mut()
                .for_each(|part| drop(part.metadata.insert("split.tensors.count", 7i32)))
        },
        &["the 3 parts have 4 tensors together, split.tensors.count is 7"],
    );
    check(
        |parts| parts[2].tensors = vec!["b"],
        &["m-00003-of-00003.gguf: tensor `b` is in another part too"],
    );
    check(
        set(2, "general.architecture", "gemma"),
        &[
            "m-00003",
            "metadata `general.architecture` is \"gemma\", but \"llama\" in the first part",
        ],
    );
    check(
        set(1, "split.no", 0u16),
        &[
            "m-00002-of-00003.gguf: part 1 of a model in 3 files",
            "-00001-of-00003.gguf",
        ],
    );
    check(set(1, "split.no", 9u16), &["split.no", "9 of 3"]);
    check(set(1, "split.count", "three"), &["split.count", "string"]);
    check(
        set(0, "split.count", 1u16),
        &["m-00001-of-00003.gguf: split.no is absent, but 0"],
    );
}

#[test]
fn parts_by_other_names_or_without_files() {
    let folder = write(&model());
    let renamed = folder.path().join("model.gguf");
    std::fs::rename(path(folder.path(), 2), &renamed).unwrap();
    let error = Checkpoint::open(&renamed).err().unwrap().to_string();
    assert!(error.contains("part 2 of a model in 3 files"), "{error}");
    assert!(error.contains("-00002-of-00003.gguf"), "{error}");
    assert!(Checkpoint::from_bytes(FileBytes::from_vec(model()[0].bytes())).is_err());
    // What speaks of itself as a whole may bear any name.
    let mut whole = model().swap_remove(0);
    whole.metadata.insert("split.count", 1u16);
    std::fs::write(path(folder.path(), 3), whole.bytes()).unwrap();
    assert_eq!(
        Checkpoint::open(&path(folder.path(), 3)).unwrap().tensors.len(),
        2
    );
}

/// Files that the gguf package has split.
#[test]
fn files_of_another_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/gguf/split");
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let files = expected["files"].as_array().unwrap();
    assert_eq!(files.len(), 4);
    for file in files {
        let found = Checkpoint::open(&folder.join(file.as_str().unwrap())).unwrap();
        let tensors = expected["tensors"].as_object().unwrap();
        assert_eq!(found.tensors.len(), tensors.len());
        for (name, values) in tensors {
            let values = values
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_f64().unwrap() as f32);
            assert!(found.tensors[name].to_vec().into_iter().eq(values), "{name}");
        }
        let name = found.metadata.str("general.name").unwrap();
        assert_eq!(name, Some("split by the gguf package"));
    }
}
