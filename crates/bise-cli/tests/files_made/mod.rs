//! Files of each kind that `docs/FILES.md` names.

mod folders;
mod gguf;

use std::fs;
use std::path::Path;

const POINTER: &str =
    "version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 4943162336\n";
const PAGE: &str = "<!doctype html><html><title>403 Forbidden</title></html>";

/// Makes what `kind` says in `folder`; gives the path of the model from there.
pub fn make(section: &str, kind: &str, folder: &Path) -> String {
    match section {
        "GGUF" => gguf::make(kind, folder),
        "Folders" => folders::make(kind, folder),
        "Other files" => other(kind, folder),
        "Paths at which nothing is" => nothing(kind, folder),
        _ => panic!("section {section}"),
    }
}

fn other(kind: &str, folder: &Path) -> String {
    let safetensors = || {
        let path = crate::common::fixture("checkpoints/full/model.safetensors");
        fs::read(path).unwrap()
    };
    let (name, bytes): (&str, Vec<u8>) = match kind {
        "A Git-LFS pointer" => ("model.gguf", POINTER.into()),
        "A web page" => ("model.gguf", PAGE.into()),
        "What a server said instead of the file" => (
            "model.gguf",
            "Access to model a/b is restricted. You must be authenticated to access it.".into(),
        ),
        "An archive: zip, gzip, tar and others" => {
            ("model.gguf", b"PK\x03\x04\x14\0\0\0model.gguf".into())
        }
        "A pickle" => (
            "consolidated.00.pth",
            b"PK\x03\x04\0\0\0\0consolidated/data.pkl".into(),
        ),
        "ggml, ggmf, ggjt of 2023" => ("ggml-model-q4_0.bin", b"tjgg\x03\0\0\0\0\x7d\0\0".into()),
        "A single file of safetensors" => ("model.safetensors", safetensors()),
        "`config.json`" => (
            "config.json",
            b"{\"architectures\": [\"MistralForCausalLM\"]}".into(),
        ),
        "An empty file" => ("model.gguf", Vec::new()),
        "An unfinished download" => ("model.gguf.part", b"GGUF\x03\0\0\0".into()),
        "Anything else" => ("notes.txt", b"Buy milk.\n".into()),
        _ => panic!("{kind}"),
    };
    fs::write(folder.join(name), bytes).unwrap();
    name.to_owned()
}

fn nothing(kind: &str, folder: &Path) -> String {
    let path = match kind {
        "`org/name`" => "org/name",
        "`org/name` that Hugging Face's cache has" => {
            folders::cached(&folder.join("huggingface/hub/models--org--name"));
            "org/name"
        }
        "`ollama:name`" => "ollama:name",
        "A bare name" => "mistral",
        "A name that is nearly right" => {
            fs::write(folder.join("mistral-7b.gguf"), "").unwrap();
            "mistal-7b.gguf"
        }
        "A name whose download has not ended" => {
            fs::write(folder.join("model.gguf.part"), "").unwrap();
            "model.gguf"
        }
        "`~` that no shell has replaced" => "~/models/model.gguf",
        "An address" => "https://example.org/model.gguf",
        "A link to nothing" => {
            #[cfg(unix)]
            std::os::unix::fs::symlink("nowhere", folder.join("model.gguf")).unwrap();
            "model.gguf"
        }
        _ => panic!("{kind}"),
    };
    path.to_owned()
}
