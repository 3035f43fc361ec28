//! Texts that are written at a time: options of `bise serve`, and of many prompts.

use crate::loading;
use crate::machine;
use crate::messages::note;
use crate::numbers;
use crate::runtime::Runtime;
use anyhow::Result;
use bise_model::{EngineOptions, MemoryNeeds, Model};

/// How texts share the machine.
#[derive(clap::Args)]
pub struct Together {
    /// Answers that are written at a time at most [default: 64]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u16).range(1..))]
    sequences: Option<u16>,
    /// What keys and values of all texts may take, such as 4G (10^9 bytes) or 4GiB [default: half
    /// of the memory that is left, if the answers can need so much]
    #[arg(long, value_name = "SIZE", value_parser = numbers::size)]
    kv_memory: Option<u64>,
}

impl Together {
    /// Whether one of these options is given.
    pub fn is_given(&self) -> bool {
        self.sequences.is_some() || self.kv_memory.is_some()
    }

    /// Answers that are written at a time at most.
    pub fn sequences(&self) -> usize {
        self.sequences.unwrap_or(64).into()
    }

    /// How passes of `model` are run, and how many tokens fit in a text; says so if there is less
    /// memory than one text of this length takes.
    pub fn engine(&self, runtime: &Runtime, model: &Model) -> Result<(EngineOptions, usize)> {
        let (mut engine, context) = runtime.engine(model.config())?;
        let needs = runtime.needs(model);
        engine.kv_memory = self.memory(&needs);
        if !runtime.quiet() && engine.kv_memory < needs.kv {
            note(format_args!(
                "--kv-memory is less than what a text of {context} tokens takes, {}; \
                 longer ones than fit will fail",
                loading::size(needs.kv)
            ));
        }
        Ok((engine, context))
    }

    /// Bytes that keys and values may take: what was asked for, or half of the memory that is left
    /// beside a loaded model, where that is more than one text takes and less than all of them.
    fn memory(&self, needs: &MemoryNeeds) -> u64 {
        let most = needs.kv.saturating_mul(self.sequences() as u64);
        let taken = needs.in_files.saturating_add(needs.scratch);
        self.kv_memory.unwrap_or_else(|| match machine::memory() {
            Some(left) => (left.bytes.saturating_sub(taken) / 2).clamp(needs.kv, most),
            None => most,
        })
    }
}
