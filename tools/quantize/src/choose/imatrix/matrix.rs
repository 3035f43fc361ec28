//! Sums of squared inputs, and what they weigh.

use crate::error::QuantizeError;
use bise_format::TensorName;
use bise_model::InputSums;
use indexmap::IndexMap;
use std::path::Path;

/// Tokens that the mean over all experts counts as.
const PRIOR: f64 = 32.0;

/// Sums of squared inputs of a model's matrices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportanceMatrix {
    /// By the name of the tensor.
    pub(super) entries: IndexMap<String, ImatrixEntry>,
    /// Texts that it was made from.
    pub datasets: Vec<String>,
    /// Chunks of text.
    pub chunk_count: u32,
    /// Tokens of a chunk; 0 when unknown.
    pub chunk_size: u32,
}

/// What a file says of a matrix, or of the matrices of all experts: sums of squared inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct ImatrixEntry {
    /// `[matrices, columns]`
    pub sums: Vec<f32>,
    /// Tokens seen, `[matrices]`; a single one for all in old files.
    pub counts: Vec<f32>,
}

/// What a matrix, or those of all experts, weigh their inputs with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Importance {
    /// `[matrices, columns]`
    pub weights: Vec<f32>,
    /// Experts with fewer tokens than [`PRIOR`], and how many they saw.
    pub rare: Vec<(usize, f32)>,
}

impl ImportanceMatrix {
    /// Whether all sums and counts are what [`read`](Self::read) takes.
    pub(super) fn check(&self, path: &Path) -> Result<(), QuantizeError> {
        for (name, entry) in &self.entries {
            let bad =
                |what| QuantizeError::unsupported(path, format!("not written: `{name}`: {what}"));
            entry.check().map_err(bad)?;
        }
        Ok(())
    }

    /// Sets what was measured of a tensor.
    pub fn insert_measured(&mut self, measured: InputSums) {
        let InputSums { name, sums, counts } = measured;
        let entry = ImatrixEntry {
            sums: sums.into_iter().map(|v| v as f32).collect(),
            counts: counts.into_iter().map(|n| n as f32).collect(),
        };
        self.insert(name, entry);
    }

    /// Sets the sums of the tensor called `name`.
    pub fn insert(&mut self, name: String, sums: ImatrixEntry) {
        self.entries.insert(name, sums);
    }

    /// The sums of the tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&ImatrixEntry> {
        self.entries.get(name)
    }

    /// Tensors with sums.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How the inputs of the tensor called `name` weigh, which is `experts` matrices (1 without
    /// experts) of `columns`; `None` when the file does not say.
    ///
    /// # Errors
    /// When the file has another number of values.
    pub(crate) fn importance(
        &self,
        name: &str,
        columns: usize,
        experts: usize,
    ) -> Result<Option<Importance>, String> {
        if let Some(entry) = self.entries.get(name) {
            return entry.importance(columns, experts);
        }
        let joined = match split_expert(name) {
            // One expert of an old file; the importance matrix has all.
            Some((stacked, e)) => {
                let Some(all) = self.entries.get(&stacked) else {
                    return Ok(None);
                };
                let Some(found) = all.importance(columns, all.sums.len() / columns)? else {
                    return Ok(None);
                };
                let weights = found.weights.chunks_exact(columns).nth(e).map(<[f32]>::to_vec);
                let weights = weights.ok_or_else(|| format!("expert {e} is not there"))?;
                let rare = found.rare.into_iter().filter(|(rare, _)| *rare == e).collect();
                return Ok(Some(Importance { weights, rare }));
            }
            None => self.join_experts(name, columns, experts)?,
        };
        joined.map_or(Ok(None), |entry| entry.importance(columns, experts))
    }

    /// The sums of a stacked tensor from an old file, which has each expert alone.
    fn join_experts(
        &self,
        name: &str,
        columns: usize,
        experts: usize,
    ) -> Result<Option<ImatrixEntry>, String> {
        let Some(stacked) = TensorName::parse(name) else {
            return Ok(None);
        };
        let (mut sums, mut counts) = (Vec::new(), Vec::new());
        for e in 0..experts {
            let Some(expert) = stacked.expert(e as u64) else {
                return Ok(None);
            };
            match self.entries.get(&expert.to_string()) {
                Some(entry) if entry.sums.len() == columns && entry.counts.len() == 1 => {
                    sums.extend_from_slice(&entry.sums);
                    counts.push(entry.counts[0]);
                }
                Some(entry) => return Err(mismatch(entry.sums.len(), columns, 1)),
                None => {
                    sums.resize(sums.len() + columns, 0.0);
                    counts.push(0.0);
                }
            }
        }
        Ok(counts
            .iter()
            .any(|&count| count > 0.0)
            .then_some(ImatrixEntry { sums, counts }))
    }
}

/// `blk.0.ffn_up.3.weight` as `blk.0.ffn_up_exps.weight` and 3.
fn split_expert(name: &str) -> Option<(String, usize)> {
    let (stacked, expert) = TensorName::parse(name)?.of_expert()?;
    Some((stacked.to_string(), usize::try_from(expert).ok()?))
}

fn mismatch(found: usize, columns: usize, matrices: usize) -> String {
    format!(
        "the importance matrix has {found} values, the model {matrices} matrices of {columns} columns"
    )
}

impl ImatrixEntry {
    /// Whether these can be sums of squares and counts.
    pub(super) fn check(&self) -> Result<(), String> {
        let bad = |v: &f32| !(v.is_finite() && *v >= 0.0);
        for (what, values) in [("sum", &self.sums), ("count", &self.counts)] {
            if let Some(i) = values.iter().position(bad) {
                return Err(format!(
                    "{what} {i} is {}, which is no {what} of squares or tokens",
                    values[i]
                ));
            }
        }
        match (self.sums.len(), self.counts.len()) {
            (0, _) | (_, 0) => Err("no values".to_owned()),
            (sums, counts) if !sums.is_multiple_of(counts) => {
                Err(format!("{sums} sums are not whole rows for {counts} counts"))
            }
            _ => Ok(()),
        }
    }

    /// Mean squares, with the mean of all matrices as a prior; `None` when no token was seen or all
    /// inputs are 0.
    fn importance(&self, columns: usize, matrices: usize) -> Result<Option<Importance>, String> {
        let counts_fit = self.counts.len() == matrices || self.counts.len() == 1;
        if self.sums.len() != columns * matrices || !counts_fit {
            return Err(mismatch(self.sums.len(), columns, matrices));
        }
        let count = |e: usize| f64::from(self.counts[e.min(self.counts.len() - 1)]);
        let total: f64 = (0..matrices).map(count).sum();
        let mut prior = vec![0f64; columns];
        for row in self.sums.chunks_exact(columns) {
            prior.iter_mut().zip(row).for_each(|(p, &v)| *p += f64::from(v));
        }
        if total <= 0.0 || prior.iter().all(|&p| p == 0.0) {
            return Ok(None);
        }
        prior.iter_mut().for_each(|p| *p /= total);
        // Old files do not say how many tokens an expert saw, only whether there were any.
        let unknown = self.counts.len() < matrices;
        let of_expert = |(e, row): (usize, &[f32])| {
            let (seen, prior_count) = match unknown {
                true if row.iter().all(|&v| v == 0.0) => (0.0, 1.0),
                true => (count(e), 0.0),
                false => (count(e), PRIOR),
            };
            let weight = |(&sum, p): (&f32, &f64)| {
                ((f64::from(sum) + prior_count * p) / (seen + prior_count)) as f32
            };
            row.iter().zip(&prior).map(weight).collect::<Vec<_>>()
        };
        let rows = self.sums.chunks_exact(columns).enumerate();
        let weights = rows.flat_map(of_expert).collect();
        let rare = if self.counts.len() > 1 {
            let counts = self.counts.iter().copied().enumerate();
            counts.filter(|&(_, count)| f64::from(count) < PRIOR).collect()
        } else {
            Vec::new()
        };
        Ok(Some(Importance { weights, rare }))
    }
}
