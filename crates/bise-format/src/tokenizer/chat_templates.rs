//! Chat templates in a directory, and in GGUF's metadata.
//!
//! As in transformers, files in Jinja count alone where there is one: `chat_template.jinja`, which
//! is the default, and `additional_chat_templates/NAME.jinja`. Then `chat_template` in
//! `tokenizer_config.json`: a text, a list of names and texts, or texts by name.
//! `chat_template.json`, which processors of transformers 4 have, says it where nothing else does.

use crate::error::OpenError;
use crate::gguf::Metadata;
use crate::small_file::read_optional;
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
        Some(b'"') => {
            serde_json::from_str(json).map(|template| vec![(DEFAULT.to_owned(), template)])
        }
        Some(b'{') => serde_json::from_str(json)
            .map(|templates: BTreeMap<String, String>| templates.into_iter().collect()),
        Some(b'[') => serde_json::from_str(json).map(|list: Vec<Named>| {
            list.into_iter()
                .map(|named| (named.name, named.template))
                .collect()
        }),
        _ => {
            return Err(
                "chat_template: expected a text, a list of names and texts, or texts by name"
                    .to_owned(),
            );
        }
    };
    templates.map_err(|e| format!("chat_template: {e}"))
}

/// The files in Jinja.
pub(super) fn of_files(directory: &Path) -> Result<Vec<(String, String)>, OpenError> {
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
        Err(e) => return Err(OpenError::io(&directory, e)),
    };
    let mut more = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| OpenError::io(&directory, e))?.path();
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
    if more.iter().any(|(name, _)| name == DEFAULT) {
        templates.clear();
    }
    templates.extend(more);
    Ok(templates)
}

fn read_text(path: &Path) -> Result<Option<String>, OpenError> {
    let Some(bytes) = read_optional(path)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes);
    text.map(Some)
        .map_err(|_| OpenError::unsupported(path, "the template is not UTF-8"))
}

/// `chat_template.json`.
pub(super) fn of_processor(directory: &Path) -> Result<Vec<(String, String)>, OpenError> {
    #[derive(Deserialize)]
    struct File<'a> {
        #[serde(borrow)]
        chat_template: Option<&'a RawValue>,
    }
    let path = directory.join("chat_template.json");
    let Some(bytes) = read_optional(&path)? else {
        return Ok(Vec::new());
    };
    let file: File = serde_json::from_slice(&bytes).map_err(|e| OpenError::json(&path, e))?;
    let templates = file.chat_template.map_or(Ok(Vec::new()), of_json);
    templates.map_err(|what| OpenError::unsupported(&path, what))
}

/// Adds the templates to `metadata` as llama.cpp's converter does, which writes names in letters,
/// digits and `_`.
pub(super) fn describe(templates: Vec<(String, String)>, metadata: &mut Metadata) {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut names = Vec::new();
    for (name, template) in templates {
        if name == DEFAULT {
            metadata.set_default(KEY, Some(template.into()));
            continue;
        }
        let name: String = name.chars().map(plain).collect();
        if name.is_empty() || names.contains(&name) {
            continue;
        }
        metadata.set_default(&format!("{KEY}.{name}"), Some(template.into()));
        names.push(name);
    }
    metadata.set_default(NAMES_KEY, (!names.is_empty()).then(|| names.into()));
}

#[cfg(test)]
mod tests {
    use super::super::settings::Settings;
    use super::*;

    /// Names and texts, joined, in a directory of these files.
    fn found(files: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let settings = Settings::read(directory.path(), 10).map_err(|error| error.to_string())?;
        let entry = |(name, template)| format!("{name}={template}");
        Ok(settings.chat_templates.into_iter().map(entry).collect())
    }

    /// What `AutoTokenizer` of transformers 5.17 finds, but for `chat_template.json`, which is its
    /// processors'.
    #[test]
    fn places_of_templates_in_their_order() {
        let config = ("tokenizer_config.json", r#"{"chat_template": "config"}"#);
        let list = r#"{"chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]}"#;
        let list = ("tokenizer_config.json", list);
        let processor = ("chat_template.json", r#"{"chat_template": "processor"}"#);
        let file = ("chat_template.jinja", "file");
        let rag = ("additional_chat_templates/rag.jinja", "R");
        let other = ("additional_chat_templates/notes.txt", "none");
        let cases: [(&[_], &[&str]); 11] = [
            (&[], &[]),
            (&[config], &["default=config"]),
            (&[list], &["tool_use=T", "default=D"]),
            (
                &[(
                    "tokenizer_config.json",
                    r#"{"chat_template": {"a": "A", "default": "D"}}"#,
                )],
                &["a=A", "default=D"],
            ),
            (
                &[("tokenizer_config.json", r#"{"chat_template": null}"#), processor],
                &["default=processor"],
            ),
            (&[processor], &["default=processor"]),
            (&[config, processor], &["default=config"]),
            (&[list, file], &["default=file"]),
            (&[list, file, rag, other], &["default=file", "rag=R"]),
            (&[config, rag], &["rag=R"]),
            (
                &[file, ("additional_chat_templates/default.jinja", "X")],
                &["default=X"],
            ),
        ];
        for (files, expected) in cases {
            assert_eq!(found(files).unwrap(), expected, "{files:?}");
        }
        let number = ("tokenizer_config.json", r#"{"chat_template": 1}"#);
        let error = found(&[number]).unwrap_err();
        assert!(
            error.contains("tokenizer_config.json") && error.contains("chat_template"),
            "{error}"
        );
    }

    #[test]
    fn names_are_written_as_by_llama_cpp() {
        let templates = [("default", "D"), ("tool-use", "T"), ("rag", "R"), ("", "none")];
        let templates = templates.map(|(name, template)| (name.to_owned(), template.to_owned()));
        let mut metadata = Metadata::new();
        describe(templates.to_vec(), &mut metadata);
        assert_eq!(metadata.str(KEY).unwrap(), Some("D"));
        assert_eq!(
            metadata.str("tokenizer.chat_template.tool_use").unwrap(),
            Some("T")
        );
        assert_eq!(metadata.str("tokenizer.chat_template.rag").unwrap(), Some("R"));
        assert_eq!(metadata.strings(NAMES_KEY).unwrap().unwrap(), ["tool_use", "rag"]);
    }
}
