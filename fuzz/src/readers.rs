//! Each reader of files, given any bytes: it answers with a model or an error, and takes little
//! memory.

use super::counting::peak;
use super::native::{Experts, convert};
use bise_format::adapter::{Adapter, ScaledAdapter};
use bise_format::checkpoint::Checkpoint;
use bise_format::gguf::{Gguf, Layout, TensorSpec};
use bise_format::{full_text, tekken_metadata};
use bise_quantize::ImportanceMatrix;
use std::error::Error;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Runs a reader of `len` bytes, which may take four times as much memory and `spare` bytes. Gives
/// its error.
fn bounded<T, E: Error + 'static>(
    len: usize,
    spare: u64,
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T, String> {
    let (result, peak) = peak(read);
    let allowed = 4 * len as u64 + spare;
    assert!(
        peak <= allowed,
        "{peak} bytes of memory for a file of {len}, {allowed} allowed"
    );
    result.map_err(|error| {
        let text = full_text(&error);
        assert!(!text.is_empty() && text.len() < 200_000);
        text
    })
}

/// A GGUF file. What can be read has all its data, and can be written.
pub fn gguf(bytes: &[u8]) -> Result<(), String> {
    let gguf = bounded(bytes.len(), 64 << 10, || Gguf::parse(bytes))?;
    for info in gguf.tensors.values() {
        assert_eq!(gguf.bytes(bytes, info).len() as u64, info.len);
    }
    let specs = gguf.tensors.values().map(|info| TensorSpec {
        name: info.name.clone(),
        dims: info.dims.clone(),
        dtype: info.dtype,
    });
    Layout::new(&gguf.metadata, specs).expect("what is read can be written");
    Ok(())
}

/// An empty folder, in memory where there is such a place.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => TempDir::new_in(memory).unwrap(),
        false => TempDir::new().unwrap(),
    }
}

/// A copy of the fixture `source`, whose file `name` is to be replaced.
fn copy(source: &str, name: &str) -> TempDir {
    let copy = folder();
    for entry in std::fs::read_dir(fixtures().join(source)).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != name {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    copy
}

fn native() -> TempDir {
    let native = folder();
    convert(&fixtures().join(SMALL), native.path(), Experts::Separate, 1);
    native
}

/// [`SMALL`] with a tokenizer, whose settings are to be replaced.
fn tokenized() -> TempDir {
    let tokenized = copy(SMALL, "tokenizer_config.json");
    let tokenizer = fixtures().join("hostile/tokenizer_json/sound.json");
    std::fs::copy(tokenizer, tokenized.path().join("tokenizer.json")).unwrap();
    tokenized
}

/// A model of 100 KB with 64 tokens.
const SMALL: &str = "random/mistral-window-7";

thread_local! {
    static SPLIT: TempDir = folder();
    static SHARD: TempDir = copy(SMALL, "model.safetensors");
    static CONFIG: TempDir = copy(SMALL, "config.json");
    static PARAMS: TempDir = native();
    static INDEX: TempDir = copy("random/mistral-sharded", "model.safetensors.index.json");
    static TOKENIZER: TempDir = copy(SMALL, "tokenizer.model");
    static TOKENIZER_JSON: TempDir = copy(SMALL, "tokenizer.json");
    static TOKENIZER_CONFIG: TempDir = tokenized();
    static FILE: TempDir = folder();
    static ADAPTER_CONFIG: TempDir = copy(ADAPTER, "adapter_config.json");
    static ADAPTER_WEIGHTS: TempDir = copy(ADAPTER, "adapter_model.safetensors");
}

/// An adapter of 6 KB.
const ADAPTER: &str = "adapters/ranks";

fn fixtures() -> PathBuf {
    // This file is part of the fuzz targets and of a test.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut above = here.ancestors().map(|path| path.join("fixtures"));
    above
        .find(|path| path.join("tiny-mistral").is_dir())
        .expect("fixtures/")
}

/// Two files of a split model, the first as long as the first four bytes say.
pub fn split(bytes: &[u8]) -> Result<(), String> {
    let Some((len, parts)) = bytes.split_first_chunk::<4>() else {
        return Err("too short".to_owned());
    };
    let (first, second) = parts.split_at((u32::from_le_bytes(*len) as usize).min(parts.len()));
    SPLIT.with(|folder| {
        let path = |number: u32| folder.path().join(format!("m-{number:05}-of-00002.gguf"));
        std::fs::write(path(1), first).unwrap();
        std::fs::write(path(2), second).unwrap();
        let opened = bounded(parts.len(), 128 << 10, || Checkpoint::open(&path(2)))?;
        let mut tensors = opened.tensors.values();
        assert!(tensors.all(|tensor| tensor.bytes().len() == tensor.len()));
        Ok(())
    })
}

/// Opens the directory with `bytes` as its file `name`; the other files may take some memory too.
fn directory(folder: &TempDir, name: &str, bytes: &[u8]) -> Result<(), String> {
    const OTHERS: u64 = 1 << 20;
    std::fs::write(folder.path().join(name), bytes).unwrap();
    let (checkpoint, _) = bounded(bytes.len(), OTHERS, || bise_format::open(folder.path()))?;
    for tensor in checkpoint.tensors.values() {
        tensor.read_row(tensor.rows() - 1, &mut vec![0.0; tensor.cols()]);
    }
    Ok(())
}

/// A shard, in a directory of Hugging Face's layout.
pub fn safetensors(bytes: &[u8]) -> Result<(), String> {
    SHARD.with(|folder| directory(folder, "model.safetensors", bytes))
}

/// Hugging Face's configuration.
pub fn config(bytes: &[u8]) -> Result<(), String> {
    CONFIG.with(|folder| directory(folder, "config.json", bytes))
}

/// Mistral's configuration.
pub fn params(bytes: &[u8]) -> Result<(), String> {
    PARAMS.with(|folder| directory(folder, "params.json", bytes))
}

/// A SentencePiece model.
pub fn sentencepiece(bytes: &[u8]) -> Result<(), String> {
    TOKENIZER.with(|folder| directory(folder, "tokenizer.model", bytes))
}

/// The list of shards in a directory of Hugging Face's layout.
pub fn index(bytes: &[u8]) -> Result<(), String> {
    INDEX.with(|folder| directory(folder, "model.safetensors.index.json", bytes))
}

/// The tokenizer of a directory without a SentencePiece model.
pub fn tokenizer_json(bytes: &[u8]) -> Result<(), String> {
    TOKENIZER_JSON.with(|folder| directory(folder, "tokenizer.json", bytes))
}

/// What lies beside a tokenizer.
pub fn tokenizer_config(bytes: &[u8]) -> Result<(), String> {
    TOKENIZER_CONFIG.with(|folder| directory(folder, "tokenizer_config.json", bytes))
}

/// Reads `bytes` as a file.
fn file<T, E: Error + 'static>(
    bytes: &[u8],
    spare: u64,
    read: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, String> {
    FILE.with(|folder| {
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        bounded(bytes.len(), spare, || read(&path))
    })
}

/// An importance matrix of either format. What can be read and written is the same when it is read
/// again; names of the older format may be longer than GGUF allows.
pub fn imatrix(bytes: &[u8]) -> Result<(), String> {
    let matrix = file(bytes, 256 << 10, ImportanceMatrix::read)?;
    FILE.with(|folder| {
        let path = folder.path().join("written");
        if matrix.write(&path).is_ok()
            && let Ok(again) = ImportanceMatrix::read(&path)
        {
            assert!(again == matrix, "another matrix");
        }
    });
    Ok(())
}

/// Mistral's own vocabularies.
pub fn tekken(bytes: &[u8]) -> Result<(), String> {
    // Any file may have some thousand special tokens, which take more memory than its bytes.
    let metadata = file(bytes, 4 << 20, tekken_metadata)?;
    let list = |key: &str| metadata.strings(key).unwrap().unwrap();
    let (tokens, merges) = (list("tokenizer.ggml.tokens"), list("tokenizer.ggml.merges"));
    assert!(tokens.len() >= 256);
    assert!(merges.iter().all(|merge| merge.split(' ').count() == 2));
    Ok(())
}

/// An adapter, held against a model.
fn adapter(len: usize, path: &Path) -> Result<(), String> {
    // Regular expressions take more memory than their texts.
    const SPARE: u64 = 16 << 20;
    let (adapter, _) = bounded(len, SPARE, || Adapter::open(path))?;
    let mut pairs = adapter.pairs().values();
    assert!(pairs.all(|pair| pair.rank() > 0 && pair.scale().is_finite()));
    let (base, _) = bise_format::open(&fixtures().join(SMALL)).unwrap();
    // It may be sound and for another model.
    if let Ok(updates) = (ScaledAdapter {
        adapter,
        scale: 1.0,
    })
    .updates(&base, 12)
    {
        assert!(updates.iter().all(|update| update.scale.is_finite()));
    }
    Ok(())
}

/// `adapter_config.json` of PEFT.
pub fn adapter_config(bytes: &[u8]) -> Result<(), String> {
    ADAPTER_CONFIG.with(|folder| {
        std::fs::write(folder.path().join("adapter_config.json"), bytes).unwrap();
        adapter(bytes.len(), folder.path())
    })
}

/// `adapter_model.safetensors` of PEFT.
pub fn adapter_weights(bytes: &[u8]) -> Result<(), String> {
    ADAPTER_WEIGHTS.with(|folder| {
        std::fs::write(folder.path().join("adapter_model.safetensors"), bytes).unwrap();
        adapter(bytes.len(), folder.path())
    })
}

/// An adapter of llama.cpp.
pub fn adapter_gguf(bytes: &[u8]) -> Result<(), String> {
    FILE.with(|folder| {
        let path = folder.path().join("adapter.gguf");
        std::fs::write(&path, bytes).unwrap();
        adapter(bytes.len(), &path)
    })
}
