//! Hashes by which a hub names files: SHA-256 of large ones, git's of small ones.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::io::{self, Read};

/// The name of a file's contents.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ContentHash {
    /// 64 digits.
    Sha256(String),
    /// 40 digits: SHA-1 of `blob SIZE`, a zero, and the bytes.
    Git(String),
}

impl ContentHash {
    /// Reads hexadecimal digits; `None` when they are neither.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match text.len() {
            64 if digits => Some(Self::Sha256(text.to_owned())),
            40 if digits => Some(Self::Git(text.to_owned())),
            _ => None,
        }
    }

    /// The digits, which the blob is called by.
    pub fn digits(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::Git(digits) => digits,
        }
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::Git(_) => "git blob id",
        }
    }

    /// The digits of `size` bytes that `source` gives; `step` hears of each part, and may stop with
    /// an error.
    pub fn of(
        &self,
        source: impl Read,
        size: u64,
        step: impl FnMut(u64) -> io::Result<()>,
    ) -> io::Result<String> {
        match self {
            Self::Sha256(_) => digits_of(Sha256::new(), source, step),
            Self::Git(_) => {
                let mut hash = Sha1::new();
                hash.update(format!("blob {size}\0"));
                digits_of(hash, source, step)
            }
        }
    }
}

fn digits_of<D: Digest>(
    mut hash: D,
    mut source: impl Read,
    mut step: impl FnMut(u64) -> io::Result<()>,
) -> io::Result<String> {
    let mut part = vec![0; 1 << 20];
    loop {
        let n = source.read(&mut part)?;
        if n == 0 {
            let mut digits = String::new();
            for byte in hash.finalize() {
                write!(digits, "{byte:02x}").expect("text grows");
            }
            return Ok(digits);
        }
        hash.update(&part[..n]);
        step(n as u64)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_git_and_sha256sum_have_them() {
        let of = |digits: &str| {
            let hash = ContentHash::parse(digits).unwrap();
            hash.of(&b"hello\n"[..], 6, |_| Ok(())).unwrap()
        };
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        assert_eq!((of(sha256).as_str(), of(git).as_str()), (sha256, git));
        assert_eq!(
            ContentHash::parse("CE013625030ba8dba906f756967f9e9ca394464a"),
            None
        );
        assert_eq!(ContentHash::parse("../../x"), None);
    }
}
