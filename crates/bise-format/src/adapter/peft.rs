//! What PEFT saves: `adapter_config.json` and `adapter_model.safetensors`.

mod config;
mod key;
mod module;
mod pattern;

use super::pair::{Halves, Side};
use super::stored::{Adapter, Origin};
use crate::error::OpenError;
use crate::hf::{Files, Shards};
use crate::{LayerTensor, TensorName};
use bise_kernels::tensor::Tensor;
use config::{CONFIG, Config};
use key::{Key, Part};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The stem of the file with the weights.
const WEIGHTS: &str = "adapter_model";

/// The folder of the adapter that `path` is, or is a file of.
pub(super) fn folder_of(path: &Path) -> Option<PathBuf> {
    let is_config = |folder: &Path| folder.join(CONFIG).is_file();
    if path.is_dir() {
        return is_config(path).then(|| path.to_owned());
    }
    let name = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    let is_file = name == CONFIG || name.starts_with(WEIGHTS);
    (path.is_file() && is_file && is_config(folder)).then(|| folder.to_owned())
}

/// Reads the adapter in `folder`.
pub(super) fn open(folder: &Path) -> Result<(Adapter, Vec<String>), OpenError> {
    let mut notes = Vec::new();
    let config = Config::read(folder, &mut notes)?;
    refuse_pickle(folder)?;
    let shards = Shards::open(folder, WEIGHTS, &mut notes)?;
    let mut halves = Halves::new(folder);
    let (mut repeated, mut modules) = (Vec::new(), HashMap::new());
    let mut left_out = Vec::new();
    for name in shards.names() {
        let Key { module, part } = Key::parse(name).map_err(|fault| fault.at(folder, name))?;
        let target = module::target(module).map_err(|fault| fault.at(folder, name))?;
        if part != Part::Base && !config.targets(module) {
            left_out.push(module);
            continue;
        }
        let tensor = view(folder, &shards, name)?;
        let embeds = target == TensorName::Embedding;
        match part {
            Part::Base => {
                repeated.push((target, name.to_owned(), tensor));
                continue;
            }
            Part::Linear(side) if !embeds => halves.put(target, side, name, tensor)?,
            // As [rank, vocabulary] and [dim, rank]: of the rows of embeddings, B comes first.
            Part::Embedding(side) if embeds => {
                let turned = tensor.transposed().expect("an unquantized matrix");
                let side = if side == Side::A { Side::B } else { Side::A };
                halves.put(target, side, name, turned)?;
            }
            _ => return Err(key::Fault::kind().at(folder, name)),
        }
        modules.insert(target, module.to_owned());
    }
    if let Some(first) = left_out.first() {
        let count = left_out.len();
        notes.push(format!(
            "{CONFIG} targets other modules than `{first}`: {count} tensors were passed over, as by PEFT"
        ));
    }
    let mut pairs = halves.into_pairs(|target, rank| config.scale(&modules[&target], rank))?;
    for (target, pair) in &mut pairs {
        let rotates = [Some(LayerTensor::Query), Some(LayerTensor::Key)];
        pair.halves_rotate = rotates.contains(&target.within_layer());
    }
    config.check_tying(pairs.keys())?;
    let adapter = Adapter {
        path: folder.to_owned(),
        origin: Origin::Peft,
        base: config.base().map(str::to_owned),
        architecture: None,
        pairs,
        repeated,
    };
    Ok((adapter, notes))
}

/// Pickles alone are refused, with the way to safetensors.
fn refuse_pickle(folder: &Path) -> Result<(), OpenError> {
    let pickle = format!("{WEIGHTS}.bin");
    let has = |name: &str| folder.join(name).exists();
    if !has(&pickle) || Files::are_there(folder, WEIGHTS) {
        return Ok(());
    }
    let problem = format!("the weights are a PyTorch pickle ({pickle}), which bise does not read");
    let cure = "save it as safetensors with PEFT: PeftModel.from_pretrained(BASE, \
                ADAPTER).save_pretrained(NEW)";
    Err(OpenError::misplaced(folder, problem, cure))
}

/// A matrix of the file.
fn view(folder: &Path, shards: &Shards, name: &str) -> Result<Tensor, OpenError> {
    let stored = shards.get(name).expect("one of the names");
    let shape: Vec<usize> = stored.shape.iter().map(|&d| d as usize).collect();
    let tensor = stored
        .plain_type()
        .filter(|_| shape.len() == 2)
        .and_then(|dtype| Tensor::in_file(dtype, &shape, &stored.file, stored.range.clone()));
    tensor.ok_or_else(|| {
        let found = format!("{shape:?} values of {:?}", stored.dtype);
        let what = format!("tensor {name} has {found}, expected a matrix in F32, F16 or BF16");
        OpenError::unsupported(folder, what)
    })
}
