//! The scales of weights, by their names and shapes.

use super::config::Blocks;
use crate::hf::{Shards, Stored};
use bise_kernels::tensor::Scales;

/// What the scale of `X.weight` is called after it: `X.weight_scale_inv`.
const OF_WEIGHT: [&str; 2] = ["_scale_inv", "_scale"];
/// Mistral's own name: `X.qscale_weight`.
const NATIVE: &str = ".qscale_weight";
const WEIGHT: &str = ".weight";

/// Scales of activations, and of cached keys and values: those of computing in FP8.
const OF_ACTIVATIONS: [&str; 6] = [
    "activation_scale",
    "input_scale",
    "output_scale",
    "qscale_act",
    "k_scale",
    "v_scale",
];

/// Whether the tensor called `name` is a scale that nothing here has a use for.
pub(crate) fn is_of_activations(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, last)| OF_ACTIVATIONS.contains(&last))
}

/// The weight that the tensor called `name` is the scale of, by the name.
pub(crate) fn weight_of(name: &str) -> Option<String> {
    if let Some(module) = name.strip_suffix(NATIVE) {
        return Some(format!("{module}{WEIGHT}"));
    }
    let weight = OF_WEIGHT.iter().find_map(|end| name.strip_suffix(end))?;
    weight.ends_with(WEIGHT).then(|| weight.to_owned())
}

/// The names that the scale of `weight` may have.
fn names_of_scale(weight: &str) -> Vec<String> {
    let beside = OF_WEIGHT.iter().map(|end| format!("{weight}{end}"));
    let native = weight
        .strip_suffix(WEIGHT)
        .map(|module| format!("{module}{NATIVE}"));
    beside.chain(native).collect()
}

/// The FP8 weights of a directory.
pub(crate) struct Fp8<'a> {
    pub shards: &'a Shards,
    /// As the configuration says.
    pub blocks: Blocks,
}

impl Fp8<'_> {
    /// The scales of the weight called `name`, a matrix that is stored as `weight`.
    ///
    /// # Errors
    /// When there are none, two, or those of another shape or type: says what was found and
    /// expected.
    pub(crate) fn scales(&self, name: &str, weight: &Stored) -> Result<Scales, String> {
        let [rows, columns] = weight.shape[..] else {
            return Err(format!("{name} is FP8, and no matrix"));
        };
        let names = names_of_scale(name);
        let there = names
            .iter()
            .filter_map(|name| Some((name, self.shards.get(name)?)));
        let (scale, stored) = match there.collect::<Vec<_>>()[..] {
            [one] => one,
            [] => {
                return Err(format!("{name} is FP8 without a scale, such as {}", names[0]));
            }
            [(one, _), (other, _), ..] => {
                return Err(format!("{name} has two scales, {one} and {other}"));
            }
        };
        let block = self.block(&stored.shape, [rows, columns]).map_err(|expected| {
            format!("{scale} has shape {:?} instead of {expected}", stored.shape)
        })?;
        let values = values(stored).ok_or_else(|| {
            format!(
                "{scale} is of type {:?} instead of F32, F16 or BF16",
                stored.dtype
            )
        })?;
        let size = |extents: [u64; 2]| extents.map(|extent| extent as usize);
        Scales::new(size([rows, columns]), size(block), values)
            .ok_or_else(|| format!("{scale} does not fit {name}"))
    }

    /// Rows and columns that share one of the scales of shape `found`, which are those of a matrix
    /// of `shape`.
    ///
    /// # Errors
    /// The shapes that they may have.
    fn block(&self, found: &[u64], shape: [u64; 2]) -> Result<[u64; 2], String> {
        let [rows, columns] = shape;
        let of_blocks = self
            .blocks
            .map(|block| (block, [0, 1].map(|i| shape[i].div_ceil(block[i]))));
        match (found, of_blocks) {
            ([] | [1], _) | ([1, 1], None) => Ok(shape),
            (_, Some((block, expected))) if found == expected => Ok(block),
            (&[each, 1], _) if each == rows => Ok([1, columns]),
            (_, None) => Err(format!(
                "[] for one scale, or [{rows}, 1] for one a row; \
                 the configuration has no size of blocks"
            )),
            (_, Some(([down, across], expected))) => Err(format!(
                "{expected:?} for blocks of {down} x {across}, [] for one scale, \
                 or [{rows}, 1] for one a row"
            )),
        }
    }
}

/// The values of a scale; `None` when it is of another type than F32, F16 and BF16.
fn values(stored: &Stored) -> Option<Vec<f32>> {
    let dtype = stored.plain_type()?;
    let bytes = stored.file.get(stored.range.clone())?;
    let mut values = vec![0.0; bytes.len() / dtype.block_bytes()];
    dtype.dequantize(bytes, &mut values);
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_from_weights_to_scales_and_back() {
        for weight in [
            "model.layers.0.self_attn.q_proj.weight",
            "layers.3.attention.wq.weight",
        ] {
            let names = names_of_scale(weight);
            assert_eq!(names.len(), 3);
            for name in names {
                assert_eq!(weight_of(&name).as_deref(), Some(weight), "{name}");
                assert!(!is_of_activations(&name), "{name}");
            }
        }
        for name in [
            "a.activation_scale",
            "a.input_scale",
            "a.qscale_act",
            "a.k_scale",
            "a.v_scale",
        ] {
            assert!(is_of_activations(name) && weight_of(name).is_none(), "{name}");
        }
        assert_eq!(weight_of("a.weight"), None);
    }

    #[test]
    fn shapes_of_scales() {
        let shards = Shards::none();
        let block = |blocks, found: &[u64], shape| {
            let fp8 = Fp8 {
                shards: &shards,
                blocks,
            };
            fp8.block(found, shape).ok()
        };
        let shape = [200, 320];
        for blocks in [None, Some([128, 128])] {
            assert_eq!(block(blocks, &[], shape), Some(shape));
            assert_eq!(block(blocks, &[1], shape), Some(shape));
            assert_eq!(block(blocks, &[200, 1], shape), Some([1, 320]));
            assert_eq!(block(blocks, &[200], shape), None);
            assert_eq!(block(blocks, &[1, 200], shape), None);
            assert_eq!(block(blocks, &[2, 2], shape), None);
        }
        assert_eq!(block(None, &[1, 1], shape), Some(shape));
        assert_eq!(block(None, &[2, 3], shape), None);
        assert_eq!(block(Some([128, 128]), &[2, 3], shape), Some([128, 128]));
        assert_eq!(block(Some([128, 128]), &[1, 1], shape), None);
        assert_eq!(block(Some([128, 128]), &[1, 1], [5, 7]), Some([128, 128]));
    }
}
