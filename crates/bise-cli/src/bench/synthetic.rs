//! Models of random weights, in memory.

use crate::loading::size;
use crate::machine;
use anyhow::{Context as _, Result, bail};
use bise_format::checkpoint::Checkpoint;
use bise_kernels::memory::Available;
use bise_kernels::mmap::FileBytes;
use bise_model::{Config, ContextOptions, MemoryNeeds, TensorNeeds};
use bise_quantize::Synthetic;

/// The model that `spec` names, of `layers` or as many as its shape has, if there is memory to make
/// it and run it; `force` makes it whatever there is.
pub fn checkpoint(
    spec: &str,
    layers: Option<u64>,
    options: &ContextOptions,
    force: bool,
) -> Result<Checkpoint> {
    let model = Synthetic::new(spec, layers)?;
    if !force && let Some(available) = machine::memory() {
        check(spec, &model, options, &available)?;
    }
    let mut file = Vec::new();
    file.try_reserve_exact(usize::try_from(model.file_len())?)
        .with_context(|| format!("{spec}: {} cannot be had", size(model.file_len())))?;
    Ok(Checkpoint::from_bytes(FileBytes::from_vec(model.write(file)?))?)
}

/// What `model` takes: its file, which is in memory too, and what any model takes besides its file.
fn needs(model: &Synthetic, options: &ContextOptions) -> Result<u64> {
    let config = Config::from_metadata(model.metadata())?;
    let tensors = model.tensors().map(TensorNeeds::of_info);
    let needs = MemoryNeeds::of_tensors(tensors, &config, options);
    Ok(needs.total() - needs.in_files + model.file_len())
}

fn check(
    spec: &str,
    model: &Synthetic,
    options: &ContextOptions,
    available: &Available,
) -> Result<()> {
    let needed = needs(model, options)?;
    if needed <= available.bytes {
        return Ok(());
    }
    let fits = |layers: &u64| {
        let model = Synthetic::new(spec, Some(*layers)).ok();
        model.is_some_and(|model| {
            needs(&model, options).is_ok_and(|needed| needed <= available.bytes)
        })
    };
    let layers = Config::from_metadata(model.metadata())?.layers.len() as u64;
    let advice = match (1..layers).rev().find(fits) {
        Some(layers) => format!("--layers {layers} would fit"),
        None => "not even one layer would fit".to_owned(),
    };
    bail!(
        "{spec}: {} are needed, the weights being in memory twice unless they are unquantized, and {} has {} left; {advice}, \
         --force tries all the same, --write FILE writes the model to the disk in little memory",
        size(needed),
        available.limit,
        size(available.bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_before_it_is_made() {
        let options = ContextOptions::new(512);
        let available = |bytes| Available {
            bytes,
            limit: "cgroup /job".to_owned(),
        };
        let refused = |spec: &str, layers, bytes| {
            let model = Synthetic::new(spec, layers).unwrap();
            check(spec, &model, &options, &available(bytes)).map_err(|error| error.to_string())
        };
        refused("mistral-7b:Q4_0", Some(1), 4 << 30).unwrap();
        for (spec, bytes, words) in [
            ("mixtral-8x22b:F16", 20 << 30, "--layers "),
            ("mixtral-8x22b:F16", 1 << 20, "not even one layer"),
        ] {
            let error = refused(spec, None, bytes).unwrap_err();
            for word in [words, "cgroup /job", "--force", spec, &size(bytes)] {
                assert!(error.contains(word), "{error}");
            }
        }
        let model = Synthetic::new("mistral-7b:Q4_0", Some(1)).unwrap();
        let written = model.write(Vec::new()).unwrap();
        assert_eq!(written.len() as u64, model.file_len());
    }
}
