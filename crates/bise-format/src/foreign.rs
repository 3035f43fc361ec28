//! What a file is that should hold a model and does not: what downloads leave behind, and formats
//! of others.

use std::fmt;

/// A file of another kind than its name says. Displayed as the problem, and what to do about it on
/// a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// No bytes at all.
    Empty,
    /// Zeros alone: room that a download has reserved and not filled.
    Zeros,
    /// Git's stand-in for a large file, which has this size.
    LfsPointer {
        /// Bytes of the file itself.
        size: Option<u64>,
    },
    /// HTML or XML: what a server showed instead of the file.
    WebPage,
    /// What a server said in words.
    Refusal(String),
    /// A link of Hugging Face's cache, copied as text.
    Link(String),
    /// Something to be unpacked, in this format.
    Archive(&'static str),
    /// What PyTorch's `torch.save` writes.
    Pickle,
    /// GGML's format of this name, from before GGUF.
    OldGgml(&'static str),
    /// Weights without a header of GGUF.
    Safetensors,
    /// GGUF where something else should be.
    Gguf,
}

impl Foreign {
    /// What `file` is, if its first bytes tell; text that may be a configuration tells nothing.
    pub fn of(file: &[u8]) -> Option<Self> {
        let start = &file[..file.len().min(1024)];
        if file.is_empty() {
            return Some(Self::Empty);
        }
        if start.len() >= 64 && start.iter().all(|byte| *byte == 0) {
            return Some(Self::Zeros);
        }
        Self::binary(start).or_else(|| Self::text(&String::from_utf8_lossy(start), file.len()))
    }

    fn binary(start: &[u8]) -> Option<Self> {
        const ARCHIVES: [(&[u8], &str); 7] = [
            (b"PK\x03\x04", "zip"),
            (b"\x1f\x8b", "gzip"),
            (b"\xfd7zXZ\0", "xz"),
            (b"\x28\xb5\x2f\xfd", "zstd"),
            (b"BZh", "bzip2"),
            (b"7z\xbc\xaf\x27\x1c", "7z"),
            (b"Rar!", "rar"),
        ];
        const OLD: [(&[u8], &str); 6] = [
            (b"lmgg", "ggml"),
            (b"fmgg", "ggmf"),
            (b"tjgg", "ggjt"),
            (b"algg", "ggla"),
            (b"ggml", "ggml"),
            (b"ggjt", "ggjt"),
        ];
        let begins = |with: &[u8]| start.starts_with(with);
        let named_pickle = start.windows(8).take(128).any(|name| name == b"data.pkl");
        if begins(b"GGUF") {
            return Some(Self::Gguf);
        }
        if begins(b"PK\x03\x04") && named_pickle || begins(b"\x80\x02") || begins(b"\x80\x04") {
            return Some(Self::Pickle);
        }
        if start.get(257..262) == Some(b"ustar") {
            return Some(Self::Archive("tar"));
        }
        if start.len() > 9 && start[4..8] == [0; 4] && &start[8..10] == b"{\"" {
            return Some(Self::Safetensors);
        }
        let archive = ARCHIVES.iter().find(|(magic, _)| begins(magic));
        let old = OLD.iter().find(|(magic, _)| begins(magic));
        archive
            .map(|(_, name)| Self::Archive(name))
            .or(old.map(|(_, name)| Self::OldGgml(name)))
    }

    /// What the beginning of a text of `len` bytes says.
    fn text(start: &str, len: usize) -> Option<Self> {
        const REFUSALS: [&str; 6] = [
            "access to model",
            "entry not found",
            "repository not found",
            "invalid username or password",
            "invalid credentials",
            "{\"error\":",
        ];
        let text = start.trim_start_matches('\u{feff}').trim();
        let lower = text.to_lowercase();
        let begins = |with: &&str| lower.starts_with(with);
        if begins(&"version https://git-lfs") {
            let size = text.lines().find_map(|line| line.strip_prefix("size "));
            let size = size.and_then(|size| size.trim().parse().ok());
            return Some(Self::LfsPointer { size });
        }
        if ["<!doctype", "<html", "<head", "<?xml"].iter().any(begins) {
            return Some(Self::WebPage);
        }
        let line: String = text
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(100)
            .collect();
        if len < 1024 && REFUSALS.iter().any(begins) {
            return Some(Self::Refusal(line));
        }
        let link = lower.starts_with("../") && lower.contains("blobs/") && len < 512;
        link.then_some(Self::Link(line))
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AGAIN: &str = "download it again, as with: hf download ORG/NAME --local-dir NAME";
        match self {
            Self::Empty => write!(f, "the file is empty: a download that did not begin\n{AGAIN}"),
            Self::Zeros => write!(f, "the file begins with zeros alone: a download that did not end\n{AGAIN}"),
            Self::LfsPointer { size } => {
                f.write_str("a Git-LFS pointer, which stands for the file itself")?;
                if let Some(size) = size {
                    write!(f, " of {size} bytes")?;
                }
                f.write_str("\nfetch the files, in the folder of the clone, with: git lfs pull")
            }
            Self::WebPage => write!(
                f,
                "a web page (HTML), which a server sent instead of the file\n{AGAIN} (after hf auth login, where a licence has \
                 to be accepted)"
            ),
            Self::Refusal(line) => write!(
                f,
                "not the file but a server's answer, {line:?}\n{AGAIN} (after hf auth login, where a licence has to be accepted)"
            ),
            Self::Link(to) => write!(
                f,
                "a link of Hugging Face's cache that was copied as text: {to}\ncopy the files that links lead to, as with: cp -rL"
            ),
            Self::Archive(kind) => write!(f, "an archive ({kind})\nunpack it, and give what is in it"),
            Self::Pickle => f.write_str(
                "a PyTorch pickle (torch.save), which bise does not read\nget the model as safetensors or GGUF, or convert it \
                 with transformers: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW)",
            ),
            Self::OldGgml(name) => write!(
                f,
                "a model in the format {name} of 2023, from before GGUF\nget it as GGUF, or quantize the original model anew"
            ),
            Self::Safetensors => f.write_str(
                "a safetensors file: weights without their configuration\ngive the folder that it lies in, with config.json or \
                 params.json",
            ),
            Self::Gguf => f.write_str("a GGUF file under another name\ngive it as MODEL by itself"),
        }
    }
}

impl std::error::Error for Foreign {}

#[cfg(test)]
mod tests {
    use super::Foreign;

    #[test]
    fn what_downloads_leave_behind() {
        let tar = [&[b'x'; 257][..], b"ustar\x0000"].concat();
        let size = Some(4943162336);
        let cases: [(&[u8], Foreign); 18] = [
            (b"", Foreign::Empty),
            (&[0; 4096], Foreign::Zeros),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 4943162336\n",
                Foreign::LfsPointer { size },
            ),
            (
                b"version https://git-lfs.github.com/spec/v1",
                Foreign::LfsPointer { size: None },
            ),
            (b"\xef\xbb\xbf\n<!DOCTYPE html>", Foreign::WebPage),
            (b"<html><title>403</title>", Foreign::WebPage),
            (
                b"<?xml version=\"1.0\"?><Error><Code>AccessDenied",
                Foreign::WebPage,
            ),
            (b"Entry not found", Foreign::Refusal("Entry not found".into())),
            (b"../../blobs/0a1b", Foreign::Link("../../blobs/0a1b".into())),
            (b"PK\x03\x04\0\0\0\0model/config.json", Foreign::Archive("zip")),
            (b"PK\x03\x04\0\0\0\0archive/data.pkl", Foreign::Pickle),
            (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j", Foreign::Pickle),
            (b"\x1f\x8b\x08\0", Foreign::Archive("gzip")),
            (&tar, Foreign::Archive("tar")),
            (b"tjgg\x03\0\0\0", Foreign::OldGgml("ggjt")),
            (b"lmgg\x01\0\0\0", Foreign::OldGgml("ggml")),
            (b"\x10\0\0\0\0\0\0\0{\"a\":{}}", Foreign::Safetensors),
            (b"GGUF\x03\0\0\0", Foreign::Gguf),
        ];
        for (bytes, expected) in cases {
            let found = Foreign::of(bytes);
            assert_eq!(found, Some(expected), "{:?}", &bytes[..bytes.len().min(40)]);
            let text = found.unwrap().to_string();
            assert_eq!(text.lines().count(), 2, "{text}");
        }
    }

    #[test]
    fn files_that_may_be_what_they_should() {
        for bytes in [
            &b"{\"architectures\": []}"[..],
            b"\x0a\x0e\x0a\x05<unk>",
            b"\x7fELF",
            b"{% for m in messages %}",
            b"GGU",
        ] {
            assert_eq!(Foreign::of(bytes), None, "{bytes:?}");
        }
    }
}
