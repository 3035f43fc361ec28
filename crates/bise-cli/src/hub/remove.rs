//! `bise rm`: frees the disk of models.

use super::{made, pull};
use crate::loading;
use crate::messages::note;
use crate::outcome::Outcome;
use anyhow::{Result, bail};
use bise_hub::{Cache, Name};

/// Remove models that bise pull or Hugging Face's tools have brought
///
/// OWNER/NAME removes all that is there of a repository, OWNER/NAME:FILE and OWNER/NAME:TYPE one
/// file of it.
#[derive(clap::Args)]
pub struct Args {
    /// As bise list shows them
    #[arg(required = true, value_name = "NAME", value_parser = pull::name)]
    names: Vec<Name>,
}

pub fn run(args: Args) -> Result<Outcome> {
    let cache = Cache::from_env()?;
    for name in &args.names {
        let cached = cache.remove(name)?;
        let made = made::remove(name)?;
        match (cached, made) {
            (None, 0) => {
                bail!("{name}: there is no such model on disk\nbise list shows those that are")
            }
            (cached, made) => {
                let bytes = cached.unwrap_or(0) + made;
                note(format_args!("{name}: removed, {} are free", loading::size(bytes)));
            }
        }
    }
    Ok(Outcome::Done)
}
