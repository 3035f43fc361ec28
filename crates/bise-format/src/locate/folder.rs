//! Folders that do not hold a model's weights and configuration.

use super::evidence::{UNFINISHED, start_of};
use crate::error::OpenError;
use std::path::{Path, PathBuf};

/// Entries that are looked at.
const MOST: usize = 10_000;
const PICKLES: &str = "get the model as safetensors or GGUF, or convert it with transformers: \
                       AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW)";

/// Refuses a folder that is no model.
pub(super) fn check(src: &Path) -> Result<(), OpenError> {
    let names = names(src)?;
    let has = |name: &str| names.iter().any(|other| other == name);
    let configured = has("config.json") || has("params.json");
    let weights = names.iter().any(|name| is_weights(name));
    if configured && weights {
        return Ok(());
    }
    let say = |problem: String, cure: String| Err(OpenError::misplaced(src, problem, cure));
    if let Some((problem, cure)) = gguf(src, &names).or_else(|| cache(src, &names)) {
        return say(problem, cure);
    }
    if has("adapter_config.json") || names.iter().any(|name| name.starts_with("adapter_model.")) {
        let base = base_of(src).map_or("its base model".to_owned(), |base| {
            format!("its base model, {base}")
        });
        return say(
            "only a LoRA adapter is here, which is no model by itself".to_owned(),
            format!("give {base}, and the adapter with it: --lora {}", src.display()),
        );
    }
    if let Some(part) = unfinished(src, &names) {
        let cure = "let the command that downloads the model go on to the end";
        return say(
            format!("the download is incomplete: {part} is there"),
            cure.to_owned(),
        );
    }
    let is_pickle = |name: &&String| {
        [".bin", ".pt", ".pth", ".ckpt"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    if let Some(pickle) = names.iter().find(is_pickle).filter(|_| !weights) {
        let problem =
            format!("the weights are a PyTorch pickle ({pickle}), which bise does not read");
        return say(problem, PICKLES.to_owned());
    }
    if let Some(inner) = names
        .iter()
        .map(|name| src.join(name))
        .find(|path| is_model(path))
    {
        return say(
            "the model lies in a folder within".to_owned(),
            format!("give it: {}", inner.display()),
        );
    }
    let again =
        "download the whole model, as with: hf download ORG/NAME --local-dir NAME".to_owned();
    match (configured, weights) {
        _ if names.is_empty() => say("the folder is empty".to_owned(), again),
        (true, false) => say(
            "the weights are missing: neither model.safetensors nor model.safetensors.index.json nor shards are there"
                .to_owned(),
            again,
        ),
        (false, true) => say(
            "the configuration is missing: neither config.json nor params.json is there".to_owned(),
            "get it, and the tokenizer's files, from where the weights come from".to_owned(),
        ),
        _ => say("no model: neither a GGUF file nor config.json and safetensors".to_owned(), again),
    }
}

fn names(folder: &Path) -> Result<Vec<String>, OpenError> {
    let entries = std::fs::read_dir(folder).map_err(|e| OpenError::io(folder, e))?;
    let names = entries.take(MOST).flatten();
    let mut names: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

fn is_weights(name: &str) -> bool {
    let kept = name.ends_with(".safetensors") || name.contains(".safetensors.");
    kept && !name.starts_with("adapter_") && !name.starts_with('.')
}

/// A folder that holds GGUF files; of a split one the first part counts, and projectors do not.
fn gguf(src: &Path, names: &[String]) -> Option<(String, String)> {
    let is_first = |name: &str| !name.contains("-of-") || name.contains("-00001-of-");
    let models: Vec<&String> = names
        .iter()
        .filter(|name| {
            name.to_lowercase().ends_with(".gguf") && !name.contains("mmproj") && is_first(name)
        })
        .collect();
    let give = |name: &str| format!("bise run {}", src.join(name).display());
    match models[..] {
        [] => None,
        [one] => Some((
            "a folder that holds a GGUF file".to_owned(),
            format!("give the file: {}", give(one)),
        )),
        [first, ..] => {
            let shown: Vec<&str> = models.iter().take(5).map(|name| name.as_str()).collect();
            let more = if models.len() > shown.len() { ", .." } else { "" };
            Some((
                format!(
                    "a folder that holds {} GGUF files: {}{more}",
                    models.len(),
                    shown.join(", ")
                ),
                format!("give one of them, as in: {}", give(first)),
            ))
        }
    }
}

/// Hugging Face's cache, or ollama's.
fn cache(src: &Path, names: &[String]) -> Option<(String, String)> {
    let give = |path: &Path| format!("give the folder with its files: {}", path.display());
    if names.iter().any(|name| name == "snapshots") {
        let problem = "a model's place in Hugging Face's cache";
        return Some(match snapshot(src) {
            Some(path) => (problem.to_owned(), give(&path)),
            None => (
                format!("{problem}, without its files"),
                "download it again, with: hf download".to_owned(),
            ),
        });
    }
    if names.iter().any(|name| name == "manifests") && names.iter().any(|name| name == "blobs") {
        let problem = "ollama's store of models".to_owned();
        return Some((
            problem,
            "give the file that this names after FROM: ollama show NAME --modelfile".to_owned(),
        ));
    }
    let inner = if names.iter().any(|name| name == "hub") {
        src.join("hub")
    } else {
        src.to_owned()
    };
    let models = self::names(&inner).ok()?;
    let models: Vec<PathBuf> = models
        .iter()
        .filter(|name| name.starts_with("models--"))
        .filter_map(|name| snapshot(&inner.join(name)))
        .collect();
    let first = models.first()?;
    let problem = match models.len() {
        1 => "Hugging Face's cache".to_owned(),
        count => format!("Hugging Face's cache, with {count} models"),
    };
    Some((problem, give(first)))
}

/// The files of a model in Hugging Face's cache: those of the main branch, or else of any.
pub(super) fn snapshot(model: &Path) -> Option<PathBuf> {
    let snapshots = model.join("snapshots");
    let main = std::fs::read_to_string(model.join("refs/main")).unwrap_or_default();
    let main = snapshots.join(main.trim());
    if main != snapshots && main.is_dir() {
        return Some(main);
    }
    let found = names(&snapshots).ok()?;
    found
        .into_iter()
        .map(|name| snapshots.join(name))
        .find(|path| path.is_dir())
}

fn is_model(path: &Path) -> bool {
    let has = |name: &str| path.join(name).is_file();
    has("config.json") || has("params.json")
}

/// What of a download is not there yet; `hf download` keeps it out of sight.
fn unfinished(src: &Path, names: &[String]) -> Option<String> {
    let ends = |name: &&String| UNFINISHED.iter().any(|end| name.ends_with(end));
    let hidden = ".cache/huggingface/download";
    let within = self::names(&src.join(hidden)).unwrap_or_default();
    let within = within.iter().find(ends).map(|name| format!("{hidden}/{name}"));
    names.iter().find(ends).cloned().or(within)
}

/// What an adapter is for.
fn base_of(src: &Path) -> Option<String> {
    let start = start_of(&src.join("adapter_config.json")).ok()?;
    let text = String::from_utf8_lossy(&start);
    let (_, rest) = text.split_once("\"base_model_name_or_path\"")?;
    let name = rest.split('"').nth(1)?;
    (!name.is_empty() && name.len() < 200).then(|| name.to_owned())
}
