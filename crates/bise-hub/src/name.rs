//! What a user calls a model of a hub.

use std::fmt;

/// A repository, and which of its files are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Who publishes it.
    pub owner: String,
    /// What it is called there.
    pub name: String,
    /// A branch, tag or commit; `main` when none is named.
    pub revision: String,
    /// A file's name, or a part of one such as a type; all that make a model when there is none.
    pub part: Option<String>,
}

/// Why a text names no model of a hub.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no model of a hub; expected OWNER/NAME, OWNER/NAME:FILE or OWNER/NAME:TYPE, with @REVISION before the colon if need be"
)]
pub struct NameError(String);

/// A name of a repository is at most so long, as on the hub.
const LONGEST: usize = 96;

impl Name {
    /// Reads `OWNER/NAME[@REVISION][:FILE|:TYPE]`, which may begin with the hub's address or
    /// `hf.co/`.
    ///
    /// # Errors
    /// When the text has another form.
    ///
    /// ```
    /// use bise_hub::Name;
    ///
    /// let name = Name::parse("mistralai/Mistral-7B-v0.1:Q4_K_M")?;
    /// assert_eq!(name.repository(), "mistralai/Mistral-7B-v0.1");
    /// assert_eq!(name.part.as_deref(), Some("Q4_K_M"));
    /// # Ok::<(), bise_hub::NameError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bad = || NameError(text.to_owned());
        const PREFIXES: [&str; 5] = [
            "https://huggingface.co/",
            "https://hf.co/",
            "huggingface.co/",
            "hf.co/",
            "hf://",
        ];
        let rest = PREFIXES
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))
            .unwrap_or(text);
        let (repository, part) = match rest.split_once(':') {
            Some((repository, part)) => (repository, Some(part)),
            None => (rest, None),
        };
        let (repository, revision) = repository.split_once('@').unwrap_or((repository, "main"));
        let (owner, name) = repository.split_once('/').ok_or_else(bad)?;
        let good = is_segment(owner)
            && is_segment(name)
            && is_revision(revision)
            && part.is_none_or(is_file);
        good.then(|| Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision: revision.to_owned(),
            part: part.map(str::to_owned),
        })
        .ok_or_else(bad)
    }

    /// `OWNER/NAME`
    pub fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)?;
        if self.revision != "main" {
            write!(f, "@{}", self.revision)?;
        }
        match &self.part {
            Some(part) => write!(f, ":{part}"),
            None => Ok(()),
        }
    }
}

/// Whether `text` can be an owner or a repository's own name: it becomes a folder's.
fn is_segment(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    begins && plain && text.len() <= LONGEST && !text.contains("..") && !text.contains("--")
}

/// Whether `text` can be a branch, a tag or a commit: it becomes a file's name, with folders.
fn is_revision(text: &str) -> bool {
    is_file(text)
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
}

/// Whether `text` can be a file of a repository: a relative path that stays within it.
pub(crate) fn is_file(text: &str) -> bool {
    let is_part = |part: &str| {
        !["", ".", ".."].contains(&part)
            && !part.chars().any(|c| c.is_control() || "\\:*?\"<>|".contains(c))
    };
    text.len() <= 1024 && text.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let name = |text| Name::parse(text).map(|name| name.to_string());
        for text in ["a/b", "a/b:Q4_K_M", "a/b@v1.0:folder/file.gguf", "org-1/Name_2.x"] {
            assert_eq!(name(text).as_deref(), Ok(text));
        }
        assert_eq!(name("hf.co/a/b").as_deref(), Ok("a/b"));
        assert_eq!(name("https://huggingface.co/a/b:Q8_0").as_deref(), Ok("a/b:Q8_0"));
        for bad in [
            "", "a", "a/", "/b", "a/b/c", "../b", "a/..", "a/b:", "a/b:../c", "a/b:/c", "a/b@",
            "a/b@../c", ".a/b", "a b/c", "a/b:c\\d", "a--b/c", "a/b:x\n",
        ] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
    }
}
