//! `bise inspect` of a LoRA adapter: what it is for, and what it changes.

use anyhow::Result;
use bise_format::TensorName;
use bise_format::adapter::{Adapter, Pair};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// All that is told of an adapter.
pub struct AdapterFacts(pub Adapter);

/// What a matrix is called, whatever its layer and expert.
fn kind(target: TensorName) -> String {
    let name = match (target.of_expert(), target.within_layer()) {
        (Some((stacked, _)), _) => stacked.within_layer().map(|tensor| tensor.to_string()),
        (None, within) => within.map(|tensor| tensor.to_string()),
    };
    name.unwrap_or_else(|| target.to_string().trim_end_matches(".weight").to_owned())
}

/// The least and the most of some numbers, or the one that they all are.
fn span<T: PartialOrd + ToString + Copy>(values: impl Iterator<Item = T>) -> String {
    let mut span: Option<(T, T)> = None;
    for value in values {
        let (least, most) = span.get_or_insert((value, value));
        if value < *least {
            *least = value;
        }
        if value > *most {
            *most = value;
        }
    }
    match span {
        Some((least, most)) if least < most => {
            format!("{} to {}", least.to_string(), most.to_string())
        }
        Some((one, _)) => one.to_string(),
        None => String::new(),
    }
}

impl AdapterFacts {
    /// How many matrices of each kind change.
    fn targets(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for &target in self.0.pairs().keys() {
            *counts.entry(kind(target)).or_default() += 1;
        }
        counts
    }

    fn weights(&self) -> usize {
        let pairs = self.0.pairs().values();
        pairs.map(|pair| pair.a().elements() + pair.b().elements()).sum()
    }

    pub fn print_text(&self) -> Result<()> {
        let mut out = io::stdout().lock();
        let (adapter, pairs) = (&self.0, self.0.pairs());
        let base = adapter.base().unwrap_or("a model that it does not name");
        writeln!(out, "LoRA adapter ({}) for {base}", adapter.origin())?;
        writeln!(
            out,
            "{} matrices of rank {}, times {}; {} weights in {} bytes",
            pairs.len(),
            span(pairs.values().map(Pair::rank)),
            span(pairs.values().map(Pair::scale)),
            self.weights(),
            adapter.bytes(),
        )?;
        let targets = self.targets().into_iter();
        let targets: Vec<String> = targets.map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(out, "changes: {}", targets.join(", "))?;
        let path = adapter.path().display();
        writeln!(out, "use it with its base model: --lora {path}\n")?;
        let names: Vec<String> = pairs.keys().map(TensorName::to_string).collect();
        let width = names.iter().map(String::len).max().unwrap_or(0);
        for (name, pair) in names.iter().zip(pairs.values()) {
            let (a, b) = (pair.a(), pair.b());
            writeln!(
                out,
                "{name:width$}  {:6} {:?} x {:?}, times {}",
                a.dtype(),
                b.shape(),
                a.shape(),
                pair.scale(),
            )?;
        }
        Ok(())
    }

    pub fn print_json(&self) -> Result<()> {
        let adapter = &self.0;
        let pairs = adapter.pairs().iter().map(|(target, pair)| {
            json!({
                "target": target.to_string(), "rank": pair.rank(), "scale": pair.scale(),
                "type": pair.a().dtype().name(), "a": pair.a().shape(), "b": pair.b().shape(),
                "tensors": pair.names(),
            })
        });
        let object = json!({
            "adapter": "lora", "container": adapter.origin().to_string(), "base": adapter.base(),
            "weights": self.weights(), "bytes": adapter.bytes(), "targets": self.targets(),
            "pairs": pairs.collect::<Vec<_>>(),
        });
        writeln!(io::stdout().lock(), "{}", serde_json::to_string_pretty(&object)?)?;
        Ok(())
    }
}
