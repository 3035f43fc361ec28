//! The results of many prompts: a file that grows by whole lines, and is gone on with.

use anyhow::{Context as _, Result, anyhow, ensure};
use bise_format::atomic::claim;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Where results go, and those that are there.
pub struct Results {
    out: Box<dyn Write>,
    path: PathBuf,
    /// The id of each line that has its result.
    done: HashMap<u64, Option<Value>>,
}

impl Results {
    /// Standard output, or the file `path`, which is none of `inputs`; half a line at its end,
    /// which a program that was killed has left, is cut off.
    pub fn open(path: Option<&Path>, inputs: &[&Path]) -> Result<Self> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            return Ok(Self {
                out: Box::new(io::stdout()),
                path: PathBuf::from("standard output"),
                done: HashMap::new(),
            });
        };
        claim(path, inputs)?;
        let cannot = |error| anyhow!("{}: {error}", path.display());
        let (mut done, mut end) = (HashMap::new(), 0);
        if path.exists() {
            let text = std::fs::read(path).map_err(cannot)?;
            end = text.iter().rposition(|&b| b == b'\n').map_or(0, |last| last + 1);
            for (number, line) in text[..end].split_inclusive(|&b| b == b'\n').enumerate() {
                let row = serde_json::from_slice::<Value>(line).ok();
                let index = row.as_ref().and_then(|row| row.get("index")?.as_u64());
                let index = index.with_context(|| {
                    let number = number + 1;
                    format!(
                        "{}: line {number} is no result of --output-jsonl; name another file",
                        path.display()
                    )
                })?;
                done.insert(index, row.and_then(|row| row.get("id").cloned()));
            }
            ensure!(
                end > 0 || text.is_empty() || text.starts_with(b"{\"index\":"),
                "{}: this file holds no results of --output-jsonl; name another one",
                path.display()
            );
        }
        let mut options = OpenOptions::new();
        let mut file: File = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(cannot)?;
        file.set_len(end as u64).map_err(cannot)?;
        file.seek(SeekFrom::End(0)).map_err(cannot)?;
        Ok(Self {
            out: Box::new(file),
            path: path.to_owned(),
            done,
        })
    }

    /// Whether line `index`, which has this `id`, has its result.
    ///
    /// # Errors
    /// When the result is of a line with another id.
    pub fn has(&self, index: u64, id: Option<&Value>) -> Result<bool> {
        let Some(found) = self.done.get(&index) else {
            return Ok(false);
        };
        let shown = |id: Option<&Value>| id.map_or("no id".to_owned(), |id| format!("the id {id}"));
        ensure!(
            found.as_ref() == id,
            "{}: the result of line {} has {}, and the line has {}: name another file for another input",
            self.path.display(),
            index + 1,
            shown(found.as_ref()),
            shown(id)
        );
        Ok(true)
    }

    /// Adds a result.
    pub fn add(&mut self, index: u64, id: Option<Value>, made: Map<String, Value>) -> Result<()> {
        let mut row = Map::from_iter([("index".to_owned(), index.into())]);
        row.extend(id.map(|id| ("id".to_owned(), id)));
        row.extend(made);
        let line = format!("{}\n", Value::Object(row));
        let written = self
            .out
            .write_all(line.as_bytes())
            .and_then(|()| self.out.flush());
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}
