//! Models that ollama has on disk, which are GGUF files by another name. Nothing is written there.

use crate::cache::from_env;
use serde::Deserialize;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// `manifests/HOST/NAMESPACE/MODEL/TAG`, as far as it matters.
#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
}

/// The GGUF file of the model that ollama calls `name`, such as `mistral` or `library/mistral:7b`;
/// `None` when it is not on disk, or not one file.
pub fn ollama(name: &str) -> Option<PathBuf> {
    folders().into_iter().find_map(|folder| in_folder(&folder, name))
}

/// Where ollama keeps models: of this user, of its own user as a service.
fn folders() -> Vec<PathBuf> {
    let stated = from_env("OLLAMA_MODELS");
    let home = std::env::home_dir().map(|home| home.join(".ollama/models"));
    let service = PathBuf::from("/usr/share/ollama/.ollama/models");
    stated.into_iter().chain(home).chain([service]).collect()
}

fn in_folder(folder: &Path, name: &str) -> Option<PathBuf> {
    const LARGEST: u64 = 1 << 20;
    let (path, tag) = name.split_once(':').unwrap_or((name, "latest"));
    let parts: Vec<&str> = path.split('/').collect();
    let (host, namespace, model) = match parts[..] {
        [model] => ("registry.ollama.ai", "library", model),
        [namespace, model] => ("registry.ollama.ai", namespace, model),
        [host, namespace, model] => (host, namespace, model),
        _ => return None,
    };
    let mut manifest = folder.join("manifests");
    for part in [host, namespace, model, tag] {
        manifest = child(&manifest, part)?;
    }
    let mut text = String::new();
    File::open(manifest)
        .ok()?
        .take(LARGEST)
        .read_to_string(&mut text)
        .ok()?;
    let manifest: Manifest = serde_json::from_str(&text).ok()?;
    let is_model = |layer: &&Layer| layer.media_type == "application/vnd.ollama.image.model";
    let mut models = manifest.layers.iter().filter(is_model);
    let (Some(model), None) = (models.next(), models.next()) else {
        return None;
    };
    let digits = model.digest.strip_prefix("sha256:")?;
    let plain = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let path = folder.join("blobs").join(format!("sha256-{digits}"));
    (plain && path.is_file()).then_some(path)
}

/// What is called `name` in a folder, in any case.
fn child(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let mut names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .find(|other| other.eq_ignore_ascii_case(name))
        .map(|name| folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_by_its_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let (root, digits) = (folder.path(), "a".repeat(64));
        let manifests = root.join("manifests/registry.ollama.ai/library/mistral");
        fs::create_dir_all(&manifests).unwrap();
        fs::create_dir(root.join("blobs")).unwrap();
        let layer = |kind: &str| {
            format!(
                r#"{{"mediaType": "application/vnd.ollama.image.{kind}", "digest": "sha256:{digits}", "size": 1}}"#
            )
        };
        let write = |layers: &[String]| {
            fs::write(
                manifests.join("7b"),
                format!(r#"{{"schemaVersion": 2, "layers": [{}]}}"#, layers.join(",")),
            )
            .unwrap();
        };
        write(&[layer("license"), layer("model")]);
        assert_eq!(in_folder(root, "mistral:7b"), None, "the blob is missing");
        let blob = root.join("blobs").join(format!("sha256-{digits}"));
        fs::write(&blob, "GGUF").unwrap();
        for name in ["mistral:7b", "Mistral:7B", "library/mistral:7b"] {
            assert_eq!(in_folder(root, name), Some(blob.clone()), "{name}");
        }
        for name in ["mistral", "../mistral:7b", "other:7b", ""] {
            assert_eq!(in_folder(root, name), None, "{name}");
        }
        write(&[layer("tensor")]);
        assert_eq!(in_folder(root, "mistral:7b"), None, "single tensors");
    }
}
