//! The best types within a size.
//!
//! Each tensor may be stored in several types, each with a length and an error; what is looked for
//! is the choice of least total error that is no longer than the budget. This is a knapsack of one
//! item a tensor, solved exactly over lengths in units: with `best[c]` the least error of the
//! tensors so far in `c` units beyond the least,
//!
//! ```text
//! best'[c] = min over types t of best[c - cost[t]] + error[t]       cost[t] = (len[t] - least len) / unit, rounded up
//! ```
//!
//! The unit does not depend on the budget, so a larger budget never has a larger error.

use crate::choose::choice;
use crate::choose::recipe::{CANDIDATES, Target, fit};
use crate::choose::role::{ModelFacts, Role};
use crate::choose::size::Budget;
use crate::error::QuantizeError;
use crate::options::Options;
use crate::write::source::StackedTensor;
use bise_format::gguf::Metadata;
use bise_kernels::block::DType;
use std::collections::BTreeMap;

/// What is fixed about a file before its types are chosen.
pub(crate) struct Plan {
    /// The types that each tensor may be given, at least one.
    pub candidates: Vec<Vec<DType>>,
    /// Layers of the model.
    pub layers: u64,
    /// Bytes before the tensors.
    header: u64,
    /// What each tensor's data is filled up to a multiple of.
    alignment: u64,
}

/// A type's length in the file and its error.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Item {
    len: u64,
    error: f64,
}

impl Plan {
    /// The user's word and vectors leave one type, other matrices all that are smaller than the
    /// source's, and that.
    pub(crate) fn new(
        metadata: &Metadata,
        tensors: &[StackedTensor],
        options: &Options,
        facts: &ModelFacts,
        notes: &mut Vec<String>,
    ) -> Result<Self, QuantizeError> {
        choice::check_patterns(tensors, options, facts, notes)?;
        let candidates: Vec<Vec<DType>> = tensors
            .iter()
            .map(|tensor| {
                let role = Role::of(&tensor.name, &tensor.dims);
                match choice::set_by_user(&tensor.name, role, options, facts) {
                    Some(dtype) => vec![choice::fitting(tensor, dtype, notes)],
                    None if role.is_matrix() => candidates(tensor),
                    None => vec![DType::F32],
                }
            })
            .collect();
        let alignment = metadata.u64(bise_format::gguf::ALIGNMENT_KEY)?.unwrap_or(32);
        Ok(Self {
            candidates,
            layers: facts.layers,
            header: 0,
            alignment,
        })
    }

    /// Any types that may be chosen.
    pub(crate) fn any(&self) -> Vec<DType> {
        self.candidates.iter().map(|types| types[0]).collect()
    }

    /// Takes into account that `header` bytes come before the weights.
    pub(crate) fn after(self, header: u64) -> Self {
        Self { header, ..self }
    }

    /// The types of least total error within `budget`, by the errors of all candidates. Notes when
    /// there is no file so large.
    pub(crate) fn choose(
        &self,
        budget: Budget,
        tensors: &[StackedTensor],
        errors: &[Vec<f64>],
        notes: &mut Vec<String>,
    ) -> Result<Vec<DType>, QuantizeError> {
        let weights: u64 = tensors
            .iter()
            .map(|tensor| tensor.dims.iter().product::<u64>())
            .sum();
        let (granule, room) = match budget {
            Budget::Bytes(bytes) => (self.alignment, bytes.saturating_sub(self.header)),
            Budget::BitsPerWeight(bits) => (1, (bits * weights as f64 / 8.0) as u64),
        };
        let item = |tensor: &StackedTensor, (&dtype, &error): (&DType, &f64)| Item {
            len: len(tensor, dtype).next_multiple_of(granule),
            error,
        };
        let items = tensors.iter().zip(self.candidates.iter().zip(errors));
        let items: Vec<Vec<Item>> = items
            .map(|(tensor, (types, errors))| {
                types.iter().zip(errors).map(|both| item(tensor, both)).collect()
            })
            .collect();
        let total = |pick: fn(&Vec<Item>) -> u64| items.iter().map(pick).sum::<u64>();
        let least = total(|items| items.iter().map(|item| item.len).min().unwrap_or(0));
        let most = total(|items| items.iter().map(|item| item.len).max().unwrap_or(0));
        let say = |bytes: u64| match budget {
            Budget::Bytes(_) => Budget::Bytes(self.header + bytes).to_string(),
            // Rounded up, so that what is said can be asked for.
            Budget::BitsPerWeight(_) => {
                Budget::BitsPerWeight((bytes as f64 * 8e4 / weights as f64).ceil() / 1e4)
                    .to_string()
            }
        };
        let Some(chosen) = allocate(&items, room, UNITS) else {
            return Err(QuantizeError::Size {
                asked: budget.to_string(),
                least: say(least),
                most: say(most),
            });
        };
        if room > most {
            notes.push(format!(
                "{budget} was asked for; the largest that can be made is {}",
                say(most)
            ));
        }
        Ok(chosen
            .iter()
            .zip(&self.candidates)
            .map(|(&i, types)| types[i])
            .collect())
    }
}

fn len(tensor: &StackedTensor, dtype: DType) -> u64 {
    dtype
        .bytes_for(tensor.dims.iter().product())
        .expect("rows are whole blocks")
}

fn candidates(tensor: &StackedTensor) -> Vec<DType> {
    let source = tensor.source_type();
    let smaller = |dtype: &DType| len(tensor, *dtype) < len(tensor, source);
    let mut types: Vec<DType> = CANDIDATES
        .iter()
        .map(|&dtype| fit(dtype, tensor.columns()))
        .collect();
    types.dedup();
    types.retain(smaller);
    types.push(source);
    types
}

/// `general.file_type`: that of the type which takes the most bytes.
pub(crate) fn file_type(tensors: &[StackedTensor], types: &[DType]) -> u32 {
    let mut bytes: BTreeMap<DType, u64> = BTreeMap::new();
    for (tensor, &dtype) in tensors.iter().zip(types) {
        *bytes.entry(dtype).or_default() += len(tensor, dtype);
    }
    let most = bytes.into_iter().max_by_key(|&(_, bytes)| bytes);
    most.map_or(0, |(dtype, _)| Target::Plain(dtype).file_type())
}

/// Units that all lengths beyond the least take at most.
const UNITS: u64 = 1 << 17;

/// For each tensor, which of its items; `None` when the shortest do not fit in `room`. Lengths
/// beyond the least are reckoned in at most `units`.
fn allocate(tensors: &[Vec<Item>], room: u64, units: u64) -> Option<Vec<usize>> {
    let least = |items: &Vec<Item>| items.iter().map(|item| item.len).min().unwrap_or(0);
    let extra =
        |items: &Vec<Item>| items.iter().map(|item| item.len).max().unwrap_or(0) - least(items);
    let room = room.checked_sub(tensors.iter().map(least).sum())?;
    let all: u64 = tensors.iter().map(extra).sum();
    let lens = tensors
        .iter()
        .flat_map(|items| items.iter().map(|item| item.len - least(items)));
    let unit = lens.fold(0, gcd).max(all.div_ceil(units)).max(1);
    let cost = |items: &Vec<Item>, item: &Item| (item.len - least(items)).div_ceil(unit) as usize;
    let widest = |items: &Vec<Item>| items.iter().map(|item| cost(items, item)).max().unwrap_or(0);
    let capacity = (room / unit).min(tensors.iter().map(widest).sum::<usize>() as u64) as usize;

    let mut best = vec![0f64; capacity + 1];
    let mut picks: Vec<Vec<u8>> = Vec::with_capacity(tensors.len());
    for items in tensors {
        let (mut next, mut pick) = (vec![f64::INFINITY; capacity + 1], vec![0u8; capacity + 1]);
        for (i, item) in items.iter().enumerate() {
            let cost = cost(items, item);
            for c in cost..=capacity {
                let error = best[c - cost] + item.error;
                if error < next[c] {
                    (next[c], pick[c]) = (error, i as u8);
                }
            }
        }
        best = next;
        picks.push(pick);
    }
    let mut left = capacity;
    let mut chosen: Vec<usize> = Vec::with_capacity(tensors.len());
    for (items, pick) in tensors.iter().zip(&picks).rev() {
        let i = usize::from(pick[left]);
        left -= cost(items, &items[i]);
        chosen.push(i);
    }
    chosen.reverse();
    Some(chosen)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn total(tensors: &[Vec<Item>], chosen: &[usize]) -> (u64, f64) {
        let items = tensors.iter().zip(chosen).map(|(items, &i)| items[i]);
        items.fold((0, 0.0), |(len, error), item| {
            (len + item.len, error + item.error)
        })
    }

    /// The best of all choices, one by one.
    fn exhaustive(tensors: &[Vec<Item>], room: u64) -> Option<f64> {
        let Some((items, rest)) = tensors.split_first() else {
            return Some(0.0);
        };
        let with = |item: &Item| Some(item.error + exhaustive(rest, room.checked_sub(item.len)?)?);
        items.iter().filter_map(with).min_by(f64::total_cmp)
    }

    fn item(len: impl Strategy<Value = u64>) -> impl Strategy<Value = Item> {
        (len, 0u32..1000).prop_map(|(len, error)| Item {
            len,
            error: f64::from(error),
        })
    }

    proptest! {
        #[test]
        fn small_models_get_the_best_there_is(
            tensors in vec(vec(item(1u64..60), 1..4), 1..6), room in 0u64..250,
        ) {
            let chosen = allocate(&tensors, room, UNITS);
            prop_assert_eq!(chosen.as_ref().map(|chosen| total(&tensors, chosen).1), exhaustive(&tensors, room));
            if let Some(chosen) = chosen {
                prop_assert!(total(&tensors, &chosen).0 <= room);
            }
        }

        #[test]
        fn within_the_room_and_never_worse_with_more(
            tensors in vec(vec(item(1u64..40_000_000_000), 1..7), 1..20),
            room in 0u64..800_000_000_000, more in 0u64..100_000_000_000,
        ) {
            let least: u64 = tensors.iter().map(|items| items.iter().map(|item| item.len).min().unwrap()).sum();
            match (allocate(&tensors, room, 2000), allocate(&tensors, room + more, 2000)) {
                (None, _) => prop_assert!(least > room),
                (Some(small), Some(large)) => {
                    let ((len, error), (large_len, large_error)) = (total(&tensors, &small), total(&tensors, &large));
                    prop_assert!(len <= room && large_len <= room + more);
                    prop_assert!(large_error <= error);
                }
                (Some(_), None) => prop_assert!(false, "more room has no choice"),
            }
        }
    }
}
