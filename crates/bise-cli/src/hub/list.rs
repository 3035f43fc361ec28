//! `bise list`: the models that are on disk.

use super::made;
use crate::loading;
use crate::outcome::Outcome;
use anyhow::Result;
use bise_hub::Cache;
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;

/// List the models that bise pull and Hugging Face's tools have brought
///
/// Each can be given by its name to every command that takes a model.
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// A model on disk.
struct Listed {
    name: String,
    bytes: u64,
    path: PathBuf,
}

pub fn run(args: Args) -> Result<Outcome> {
    let of_hub = Cache::from_env()?.list()?.into_iter().map(|cached| Listed {
        name: cached.name,
        bytes: cached.bytes,
        path: cached.path,
    });
    let of_ours = made::list().into_iter().map(|(name, path)| Listed {
        name,
        bytes: std::fs::metadata(&path).map_or(0, |found| found.len()),
        path,
    });
    let mut models: Vec<Listed> = of_hub.chain(of_ours).collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out = io::stdout().lock();
    if args.json {
        let one = |model: &Listed| json!({ "name": model.name, "bytes": model.bytes, "path": model.path });
        let all: Vec<_> = models.iter().map(one).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        return Ok(Outcome::Done);
    }
    let width = models.iter().map(|model| model.name.len()).max().unwrap_or(0);
    for model in &models {
        let size = loading::size(model.bytes);
        writeln!(out, "{:width$}  {size:>10}  {}", model.name, model.path.display())?;
    }
    Ok(Outcome::Done)
}
