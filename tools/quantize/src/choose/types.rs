//! Names of types and recipes: one reading of them for every option.

use crate::choose::recipe::Target;
use crate::choose::writable::names;
use crate::error::OptionError;
use crate::synthetic::Synthetic;
use bise_kernels::block::DType;
use std::sync::LazyLock;

pub use crate::choose::writable::dtypes;

/// The type called `name`, in any case, which must be one that can be written.
///
/// # Errors
/// What `name` is instead, with the names of the types that can be written.
pub fn dtype(name: &str) -> Result<DType, OptionError> {
    match DType::from_name(name).filter(|dtype| dtype.can_quantize()) {
        Some(dtype) => Ok(dtype),
        None => Err(refusal(name, names())),
    }
}

/// The type or recipe called `name`, in any case; a type must be one that can be written.
///
/// # Errors
/// What `name` is instead, with the names of the types and recipes.
pub fn target(name: &str) -> Result<Target, OptionError> {
    Target::from_name(name).ok_or_else(|| {
        let names: Vec<_> = targets().iter().map(|(target, _)| target.name()).collect();
        refusal(name, names.join(", "))
    })
}

/// Types and recipes, from the largest to the smallest, with the bits that a weight of Mistral 7B
/// takes.
pub fn targets() -> &'static [(Target, f64)] {
    static TARGETS: LazyLock<Vec<(Target, f64)>> = LazyLock::new(|| {
        let mut targets: Vec<_> = Target::all().map(|target| (target, bits(target))).collect();
        targets.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        targets
    });
    &TARGETS
}

/// Bits of a weight, over all tensors of a Mistral 7B.
fn bits(target: Target) -> f64 {
    let Ok(model) = Synthetic::new(&format!("mistral-7b:{}", target.name()), None) else {
        return 0.0;
    };
    let sizes = model
        .tensors()
        .map(|tensor| (tensor.len as f64, tensor.elements() as f64));
    let (bytes, values) = sizes.fold((0.0, 0.0), |(a, b), (bytes, values)| (a + bytes, b + values));
    8.0 * bytes / values
}

fn refusal(name: &str, names: String) -> OptionError {
    let what = match (DType::from_name(name), Target::from_name(name)) {
        (Some(dtype), _) => format!("{dtype} is a type that is only read"),
        (None, Some(recipe)) => format!("{} is a recipe, a mix of types", recipe.name()),
        (None, None) => format!("`{name}` is no type"),
    };
    OptionError(format!("{what}; expected one of {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each type is read or refused, by both readers alike, and what is refused is not offered.
    #[test]
    fn every_type_is_written_or_refused() {
        for &dtype in DType::ALL {
            let name = dtype.name().to_lowercase();
            let (as_type, as_target) = (super::dtype(&name), target(&name));
            assert_eq!(as_type.is_ok(), dtype.can_quantize(), "{name}");
            assert_eq!(as_target.is_ok(), dtype.can_quantize(), "{name}");
            for error in [as_type.err(), as_target.err()].into_iter().flatten() {
                let (what, offered) = error.0.split_once("; expected one of ").unwrap();
                assert_eq!(what, format!("{dtype} is a type that is only read"));
                assert!(offered.split(", ").all(|name| target(name).is_ok()), "{offered}");
            }
        }
        assert!(
            super::dtype("Q4_K_M")
                .unwrap_err()
                .0
                .starts_with("Q4_K_M is a recipe")
        );
        assert!(target("q9").unwrap_err().0.starts_with("`q9` is no type"));
    }
}
