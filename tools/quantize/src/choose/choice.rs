//! The type of each tensor: what the user says of it, else what the target says, else what fits its
//! rows.

use crate::choose::recipe;
use crate::choose::role::{Kind, ModelFacts, Role};
use crate::choose::tensor_type::TensorType;
use crate::error::QuantizeError;
use crate::options::Options;
use crate::write::source::StackedTensor;
use bise_kernels::block::DType;
use std::collections::BTreeMap;
use std::path::Path;

/// The type that the user set for this tensor: the embedding's and the output's first, then the
/// first pattern's.
pub(crate) fn set_by_user(
    name: &str,
    role: Role,
    options: &Options,
    facts: &ModelFacts,
) -> Option<DType> {
    let rule =
        || rule_of(name, role, options, facts).map(|rule| options.tensor_types[rule].dtype());
    set_by_option(role, options, facts).or_else(rule)
}

/// The type that `--embedding-type` or `--output-type` sets.
fn set_by_option(role: Role, options: &Options, facts: &ModelFacts) -> Option<DType> {
    let output_too = role.kind == Kind::Output || role.kind == Kind::Embedding && facts.tied;
    let embedding = options.embedding_type.filter(|_| role.kind == Kind::Embedding);
    embedding.or(options.output_type.filter(|_| output_too))
}

/// The pattern that sets the type of this tensor, if one does.
fn rule_of(name: &str, role: Role, options: &Options, facts: &ModelFacts) -> Option<usize> {
    let free = role.is_matrix() && set_by_option(role, options, facts).is_none();
    let matching = |rule: &TensorType| rule.matches(name);
    options.tensor_types.iter().position(matching).filter(|_| free)
}

/// The types of `tensors` in order.
///
/// # Errors
/// When a pattern names no matrix.
pub(crate) fn choose(
    tensors: &[StackedTensor],
    options: &Options,
    facts: &ModelFacts,
    notes: &mut Vec<String>,
) -> Result<Vec<DType>, QuantizeError> {
    check_patterns(tensors, options, facts, notes)?;
    let dtype = |tensor: &StackedTensor| {
        let role = Role::of(&tensor.name, &tensor.dims);
        let wanted = set_by_user(&tensor.name, role, options, facts).unwrap_or_else(|| {
            if options.pure && role.is_matrix() {
                options.target.base()
            } else {
                options.target.dtype(role, facts)
            }
        });
        fitting(tensor, wanted, notes)
    };
    Ok(tensors.iter().map(dtype).collect())
}

/// Quantizing twice loses more than quantizing once, so nobody should do it without knowing.
///
/// # Errors
/// When a tensor is quantized and would become another quantized type.
pub(crate) fn refuse_requantizing(
    src: &Path,
    tensors: &[StackedTensor],
    types: &[DType],
) -> Result<(), QuantizeError> {
    let twice = |(tensor, to): &(&StackedTensor, &DType)| {
        let from = tensor.source_type();
        from.is_quantized() && to.is_quantized() && (from != **to || tensor.is_changed())
    };
    match tensors.iter().zip(types).find(twice) {
        None => Ok(()),
        Some((tensor, &to)) => Err(QuantizeError::Requantize {
            path: src.to_owned(),
            tensor: tensor.name.clone(),
            from: tensor.source_type(),
            to,
        }),
    }
}

/// `wanted`, or what its rows allow instead.
pub(crate) fn fitting(tensor: &StackedTensor, wanted: DType, notes: &mut Vec<String>) -> DType {
    let dtype = recipe::fit(wanted, tensor.columns());
    if dtype != wanted {
        let (name, columns) = (&tensor.name, tensor.columns());
        notes.push(format!(
            "{name}: rows of {columns} values are not whole {wanted} blocks, stored as {dtype}"
        ));
    }
    dtype
}

/// Names shown when a pattern has none.
const CLOSEST: usize = 5;

/// Every pattern must name a matrix, or it is a slip of the pen; one that sets no type, because
/// others come first, is told.
pub(crate) fn check_patterns(
    tensors: &[StackedTensor],
    options: &Options,
    facts: &ModelFacts,
    notes: &mut Vec<String>,
) -> Result<(), QuantizeError> {
    let role = |tensor: &StackedTensor| Role::of(&tensor.name, &tensor.dims);
    let (matrices, others): (Vec<&StackedTensor>, Vec<_>) =
        tensors.iter().partition(|t| role(t).is_matrix());
    let names =
        |tensors: &[&StackedTensor]| tensors.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
    for (i, rule) in options.tensor_types.iter().enumerate() {
        let matched = |tensors: &[&StackedTensor]| tensors.iter().any(|t| rule.matches(&t.name));
        if !matched(&matrices) {
            let pattern = rule.pattern().to_owned();
            let closest = closest(&pattern, &names(&matrices));
            return Err(match matched(&others) {
                true => QuantizeError::NotQuantized { pattern, closest },
                false => QuantizeError::Pattern { pattern, closest },
            });
        }
        let sets = |t: &&StackedTensor| rule_of(&t.name, role(t), options, facts) == Some(i);
        if !matrices.iter().any(sets) {
            notes.push(format!(
                "--tensor-type {rule} sets no type: patterns before it, --output-type or --embedding-type come first"
            ));
        }
    }
    Ok(())
}

/// The names most like `pattern`, one for each part of a layer.
fn closest(pattern: &str, names: &[String]) -> Vec<String> {
    let mut parts: BTreeMap<String, &str> = BTreeMap::new();
    for name in names {
        let part = name.split('.').filter(|word| word.parse::<u64>().is_err());
        parts.entry(part.collect::<Vec<_>>().join(".")).or_insert(name);
    }
    let likeness = |part: &str| {
        let words = part.split('.').filter(|word| !matches!(*word, "blk" | "weight"));
        let scores = words.map(|word| strsim::jaro_winkler(pattern, word));
        scores.fold(strsim::jaro_winkler(pattern, part), f64::max)
    };
    let mut scored: Vec<_> = parts.iter().map(|(part, name)| (likeness(part), *name)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored
        .iter()
        .take(CLOSEST)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_come_first() {
        let names = [
            "token_embd.weight",
            "blk.0.attn_q.weight",
            "blk.0.ffn_down.weight",
            "blk.1.ffn_down.weight",
            "blk.0.attn_v.weight",
        ]
        .map(str::to_owned);
        let found = closest("ffn_dwon", &names);
        assert_eq!(found[0], "blk.0.ffn_down.weight");
        assert_eq!(found.len(), 4);
    }
}
