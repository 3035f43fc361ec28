//! A path becomes an adapter.

use super::stored::Adapter;
use super::{gguf, peft};
use crate::error::OpenError;
use crate::foreign::Foreign;
use crate::hf::Files;
use crate::locate::start_of;
use std::path::Path;

impl Adapter {
    /// Opens the adapter at `path`: a folder of PEFT, either of its files, or a GGUF file. Beside
    /// it comes what the user should know.
    ///
    /// # Errors
    /// When nothing is there, it is damaged or no adapter, or it says something that would change
    /// the result and is not supported.
    pub fn open(path: &Path) -> Result<(Self, Vec<String>), OpenError> {
        if let Some(folder) = peft::folder_of(path) {
            return peft::open(&folder);
        }
        if path.is_dir() {
            let problem = "no adapter: there is no adapter_config.json";
            let cure = "give a folder that PEFT has saved, or a GGUF adapter of llama.cpp's \
                        convert_lora_to_gguf.py";
            return Err(OpenError::misplaced(path, problem, cure));
        }
        match Foreign::of(&start_of(path)?) {
            Some(Foreign::Gguf) | None => Ok((gguf::open(path)?, Vec::new())),
            Some(Foreign::Safetensors) => {
                let problem = "safetensors without adapter_config.json beside them";
                let cure = "give the folder that PEFT has saved, with both of its files";
                Err(OpenError::misplaced(path, problem, cure))
            }
            Some(source) => Err(OpenError::Foreign {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Whether an adapter seems to be at `path`, and no model.
    pub fn is_at(path: &Path) -> bool {
        let is_model = |folder: &Path| {
            ["model", "consolidated"]
                .iter()
                .any(|stem| Files::are_there(folder, stem))
        };
        match peft::folder_of(path) {
            Some(folder) => path.is_file() || !is_model(&folder),
            None => path.is_file() && gguf::is_adapter(path),
        }
    }
}
