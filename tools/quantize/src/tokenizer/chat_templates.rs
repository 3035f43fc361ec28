//! Chat templates in a directory, and in GGUF's metadata.
//!
//! As in transformers, files in Jinja count alone where there is one: `chat_template.jinja`, which is the default, and
//! `additional_chat_templates/NAME.jinja`. Then `chat_template` in `tokenizer_config.json`: a text, a list of names and
//! texts, or texts by name. `chat_template.json`, which processors of transformers 4 have, says it where nothing else
//! does.

use super::settings::read_optional;
use crate::error::QuantizeError;
use crate::hf::set_default;
use bise_tensor::gguf::Metadata;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// The name of the template that is none other's.
const DEFAULT: &str = "default";

/// GGUF's key of the default template; the others' have a dot and the name behind.
const KEY: &str = "tokenizer.chat_template";

/// GGUF's key of the other templates' names.
const NAMES_KEY: &str = "tokenizer.chat_templates";

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

/// `chat_template` of a file in JSON.
pub(super) fn of_json(templates: &RawValue) -> Result<Vec<(String, String)>, String> {
    let json = templates.get();
    let templates = match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).map(|template| vec![(DEFAULT.to_owned(), template)]),
        Some(b'{') => serde_json::from_str(json)
            .map(|templates: BTreeMap<String, String>| templates.into_iter().collect()),
        Some(b'[') => serde_json::from_str(json).map(|list: Vec<Named>| {
            list.into_iter()
                .map(|named| (named.name, named.template))
                .collect()
        }),
        _ => {
            return Err(
                "chat_template: expected a text, a list of names and texts, or texts by name".to_owned(),
            );
        }
    };
    templates.map_err(|e| format!("chat_template: {e}"))
}

/// The files in Jinja.
pub(super) fn of_files(directory: &Path) -> Result<Vec<(String, String)>, QuantizeError> {
    let mut templates = Vec::new();
    let path = directory.join("chat_template.jinja");
    if let Some(template) = read_text(&path)? {
        templates.push((DEFAULT.to_owned(), template));
    }
    let directory = directory.join("additional_chat_templates");
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(e) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&e.kind()) => {
            return Ok(templates);
        }
        Err(e) => return Err(QuantizeError::io(&directory, e)),
    };
    let mut more = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| QuantizeError::io(&directory, e))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".jinja"));
        if let Some(name) = name
            && let Some(template) = read_text(&path)?
        {
            more.push((name.to_owned(), template));
        }
    }
    more.sort();
    // The file of the default's name is the default.
    more.retain(|(name, _)| templates.is_empty() || name != DEFAULT);
    templates.extend(more);
    Ok(templates)
}

fn read_text(path: &Path) -> Result<Option<String>, QuantizeError> {
    let Some(bytes) = read_optional(path)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes);
    text.map(Some)
        .map_err(|_| QuantizeError::unsupported(path, "the template is not UTF-8"))
}

/// `chat_template.json`.
pub(super) fn of_processor(directory: &Path) -> Result<Vec<(String, String)>, QuantizeError> {
    #[derive(Deserialize)]
    struct File<'a> {
        #[serde(borrow)]
        chat_template: Option<&'a RawValue>,
    }
    let path = directory.join("chat_template.json");
    let Some(bytes) = read_optional(&path)? else {
        return Ok(Vec::new());
    };
    let file: File = serde_json::from_slice(&bytes).map_err(|e| QuantizeError::json(&path, e))?;
    let templates = file.chat_template.map_or(Ok(Vec::new()), of_json);
    templates.map_err(|what| QuantizeError::unsupported(&path, what))
}

/// Adds the templates to `metadata` as llama.cpp's converter does, which writes names in letters, digits and `_`.
pub(super) fn describe(templates: Vec<(String, String)>, metadata: &mut Metadata) {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut names = Vec::new();
    for (name, template) in templates {
        if name == DEFAULT {
            set_default(metadata, KEY, Some(template.into()));
            continue;
        }
        let name: String = name.chars().map(plain).collect();
        if name.is_empty() || names.contains(&name) {
            continue;
        }
        set_default(metadata, &format!("{KEY}.{name}"), Some(template.into()));
        names.push(name);
    }
    set_default(metadata, NAMES_KEY, (!names.is_empty()).then(|| names.into()));
}
