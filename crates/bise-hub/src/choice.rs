//! Which files of a repository make the model that is meant.
//!
//! ```text
//! OWNER/NAME:FILE   that file, with the other parts where it is one of several
//! OWNER/NAME:TYPE   the GGUF file with that word in its name, such as Q4_K_M
//! OWNER/NAME        the only GGUF file; else the one of Q4_K_M; without any, the directory
//! ```

/// The files of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A GGUF file: its parts, in order.
    Gguf(Vec<String>),
    /// All that makes a directory of safetensors.
    Directory(Vec<String>),
}

impl Choice {
    /// Paths within the repository.
    pub fn files(&self) -> &[String] {
        match self {
            Self::Gguf(files) | Self::Directory(files) => files,
        }
    }
}

/// Why there is no choice, and between which files.
pub(crate) struct NoChoice {
    pub problem: String,
    pub files: Vec<String>,
}

/// The type of a repository of several that is taken when none is asked for.
const USUAL: &str = "Q4_K_M";

/// Chooses among `files`, paths within a repository, what `part` of it asks for.
pub(crate) fn choose_among(files: &[String], part: Option<&str>) -> Result<Choice, NoChoice> {
    let models = models(files);
    let Some(part) = part else {
        return match &models[..] {
            [] => directory(files),
            [one] => Ok(Choice::Gguf(one.clone())),
            several => match with_word(several, USUAL).as_slice() {
                [one] => Ok(Choice::Gguf(one.clone())),
                _ => Err(no_choice(
                    "several models, none of which is called by Q4_K_M: say which",
                    &models,
                )),
            },
        };
    };
    if let Some(exact) = models.iter().find(|parts| parts.iter().any(|file| file == part)) {
        return Ok(Choice::Gguf(exact.clone()));
    }
    match &with_word(&models, part)[..] {
        [one] => Ok(Choice::Gguf(one.clone())),
        [] if models.is_empty() => Err(no_choice("no GGUF file", &[files.to_vec()])),
        [] => Err(no_choice(
            &format!("no GGUF file is called {part}, or by that type"),
            &models,
        )),
        several => Err(no_choice(
            &format!("several files are called by {part}: say which"),
            several,
        )),
    }
}

fn no_choice(problem: &str, models: &[Vec<String>]) -> NoChoice {
    const MOST: usize = 40;
    NoChoice {
        problem: problem.to_owned(),
        files: models
            .iter()
            .flatten()
            .take(MOST)
            .map(|file| format!("  {file}"))
            .collect(),
    }
}

/// The GGUF files that are models, each with its parts in order.
fn models(files: &[String]) -> Vec<Vec<String>> {
    let is_model = |file: &&String| {
        let name = file.rsplit('/').next().unwrap_or(file).to_lowercase();
        name.ends_with(".gguf") && !name.contains("mmproj") && !name.contains("imatrix")
    };
    let mut models: Vec<Vec<String>> = Vec::new();
    let mut names: Vec<&String> = files.iter().filter(is_model).collect();
    names.sort();
    for file in names {
        let whole = whole(file);
        let of_same = models
            .last_mut()
            .filter(|parts| whole.is_some() && self::whole(&parts[0]) == whole);
        match of_same {
            Some(parts) => parts.push(file.clone()),
            None => models.push(vec![file.clone()]),
        }
    }
    models
}

/// Of a part, what all parts share: `NAME-00001-of-00003.gguf` without the number.
fn whole(file: &str) -> Option<(&str, &str)> {
    let stem = file.strip_suffix(".gguf")?;
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (name, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    (digits(number) && digits(count)).then_some((name, count))
}

/// Models with `word` in the name of their first file, in any case.
fn with_word(models: &[Vec<String>], word: &str) -> Vec<Vec<String>> {
    let has = |parts: &&Vec<String>| {
        let stem = parts[0].strip_suffix(".gguf").unwrap_or(&parts[0]);
        stem.split(['-', '.', '/'])
            .any(|part| part.eq_ignore_ascii_case(word))
    };
    models.iter().filter(has).cloned().collect()
}

/// Weights as Hugging Face's tools write them, or else as Mistral does, and the small files beside.
fn directory(files: &[String]) -> Result<Choice, NoChoice> {
    let top = |file: &&String| !file.contains('/');
    let weights = |stem: &str| -> Vec<String> {
        let begins = [
            format!("{stem}.safetensors"),
            format!("{stem}-"),
            format!("{stem}."),
        ];
        let is = |file: &&String| {
            file.ends_with(".safetensors") && begins.iter().any(|begin| file.starts_with(begin))
        };
        files.iter().filter(top).filter(is).cloned().collect()
    };
    let chosen = [weights("model"), weights("consolidated")];
    let Some(weights) = chosen.into_iter().find(|weights| !weights.is_empty()) else {
        return Err(no_choice("neither GGUF files nor safetensors", &[files.to_vec()]));
    };
    let is_small = |file: &&String| {
        [".json", ".jinja"].iter().any(|end| file.ends_with(end))
            || file.starts_with("tokenizer.model")
    };
    let small = files
        .iter()
        .filter(|file| !file.contains('/'))
        .filter(is_small)
        .cloned();
    let templates = files
        .iter()
        .filter(|file| file.starts_with("additional_chat_templates/"))
        .cloned();
    Ok(Choice::Directory(
        weights.into_iter().chain(small).chain(templates).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn chosen(names: &[&str], part: Option<&str>) -> Result<Vec<String>, String> {
        let choice = choose_among(&files(names), part);
        choice
            .map(|choice| choice.files().to_vec())
            .map_err(|no| no.problem)
    }

    #[test]
    fn one_of_several_gguf_files() {
        let names = [
            "README.md",
            "m-Q2_K.gguf",
            "m-Q4_K.gguf",
            "m-Q4_K_M-00001-of-00002.gguf",
            "m-Q4_K_M-00002-of-00002.gguf",
            "mmproj-m-F16.gguf",
            "Q8_0/m.gguf",
        ];
        let parts = files(&names[3..5]);
        for part in [None, Some("q4_k_m"), Some(names[3]), Some(names[4])] {
            assert_eq!(chosen(&names, part).as_ref(), Ok(&parts), "{part:?}");
        }
        assert_eq!(chosen(&names, Some("Q4_K")), Ok(files(&["m-Q4_K.gguf"])));
        assert_eq!(chosen(&names, Some("Q8_0")), Ok(files(&["Q8_0/m.gguf"])));
        assert!(chosen(&names, Some("Q5_0")).unwrap_err().contains("Q5_0"));
        assert!(chosen(&names[1..3], None).unwrap_err().contains("say which"));
        assert_eq!(chosen(&names[..2], None), Ok(files(&["m-Q2_K.gguf"])));
        assert!(chosen(&["a-Q4_0.gguf", "b-Q4_0.gguf"], Some("Q4_0")).is_err());
    }

    #[test]
    fn a_directory_without_what_it_does_not_need() {
        let names = [
            ".gitattributes",
            "README.md",
            "config.json",
            "consolidated.safetensors",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "onnx/model.safetensors",
            "params.json",
            "pytorch_model.bin",
            "tokenizer.model",
            "tokenizer.model.v3",
        ];
        let all = chosen(&names, None).unwrap();
        let expected = [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "config.json",
            "model.safetensors.index.json",
            "params.json",
            "tokenizer.model",
            "tokenizer.model.v3",
        ];
        assert_eq!(all, files(&expected));
        assert!(chosen(&["a.bin"], None).is_err());
    }
}
