//! The tensors of a model: those that its configuration asks for, and no others.

use super::architecture::Architecture;
use super::error::LlamaError;
use super::faults::TensorFaults;
use crate::checkpoint::Checkpoint;
use crate::{FfnMatrix, LayerTensor, TensorName};

/// What every layer has, but for the feed-forward network.
const IN_LAYERS: [LayerTensor; 6] = [
    LayerTensor::AttentionNorm,
    LayerTensor::Query,
    LayerTensor::Key,
    LayerTensor::Value,
    LayerTensor::AttentionOutput,
    LayerTensor::FfnNorm,
];

/// Checks that all tensors are there that the configuration asks for, and no others: what nothing
/// uses is either damage or part of another kind of model.
///
/// # Errors
/// Names what is missing and what is not used.
pub fn check_tensors(checkpoint: &Checkpoint) -> Result<(), LlamaError> {
    let architecture = Architecture::of(&checkpoint.metadata)?;
    let number = |key: &str| checkpoint.metadata.u64(&architecture.key(key));
    let model = Model {
        checkpoint,
        architecture,
        layers: number("block_count")?.unwrap_or(0),
        experts: number("expert_count")?.unwrap_or(0),
    };
    model.check_counts()?;
    rope_factors(checkpoint)?;
    let faults = TensorFaults {
        missing: model.missing(),
        extra: model.unused(),
        wrong: Vec::new(),
    };
    if faults.is_empty() {
        Ok(())
    } else {
        Err(LlamaError::Tensors(faults))
    }
}

/// What the base's rotary frequencies are divided by, one for each pair of rotated values, if the
/// file says; `None` when it does not, or divides by 1.
///
/// # Errors
/// When there are too many, or one is no positive number.
pub fn rope_factors(checkpoint: &Checkpoint) -> Result<Option<Vec<f32>>, LlamaError> {
    const MOST: usize = 1 << 16;
    let Some(tensor) = checkpoint.tensor(TensorName::RopeFreqs) else {
        return Ok(None);
    };
    let bad = |found: String, expected: &str| {
        let expected = expected.to_owned();
        Err(LlamaError::RopeFreqs { found, expected })
    };
    if tensor.elements() > MOST {
        return bad(
            format!("{} values", tensor.elements()),
            "one for each pair of a head's values",
        );
    }
    let factors = tensor.to_vec();
    match factors.iter().find(|factor| !(1e-9..=1e9).contains(*factor)) {
        Some(factor) => bad(factor.to_string(), "positive numbers from 1e-9 to 1e9"),
        None => Ok(Some(factors).filter(|factors| factors.iter().any(|factor| *factor != 1.0))),
    }
}

struct Model<'a> {
    checkpoint: &'a Checkpoint,
    architecture: Architecture,
    layers: u64,
    /// 0 without a mixture.
    experts: u64,
}

impl Model<'_> {
    fn has(&self, name: TensorName) -> bool {
        self.checkpoint.tensor(name).is_some()
    }

    /// Before names are made of a number that says nothing.
    fn check_counts(&self) -> Result<(), LlamaError> {
        let there = self.checkpoint.tensors.len() as u64;
        for (key, count) in [("block_count", self.layers), ("expert_count", self.experts)] {
            // Stacked experts are three tensors, however many they are.
            let stacked = key == "expert_count"
                && !self.checkpoint.tensors.keys().any(|name| is_expert(name));
            if count > there && !stacked {
                return Err(LlamaError::Key {
                    key: self.architecture.key(key),
                    found: count.to_string(),
                    expected: format!("at most the {there} tensors of the file"),
                });
            }
        }
        Ok(())
    }

    /// Whether the experts of a layer are tensors of their own, as in older files.
    fn is_separate(&self, layer: u64) -> bool {
        self.has(TensorName::Layer(layer, LayerTensor::Expert(FfnMatrix::Gate, 0)))
    }

    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        let mut need = |name: TensorName| {
            if !self.has(name) {
                missing.push(name.to_string());
            }
        };
        need(TensorName::Embedding);
        need(TensorName::OutputNorm);
        for n in 0..self.layers {
            let mut need = |tensor| need(TensorName::Layer(n, tensor));
            IN_LAYERS.into_iter().for_each(&mut need);
            if self.experts > 0 {
                need(LayerTensor::Router);
            }
            for matrix in FfnMatrix::ALL {
                match self.experts {
                    0 => need(LayerTensor::Ffn(matrix)),
                    experts if self.is_separate(n) => {
                        (0..experts).for_each(|e| need(LayerTensor::Expert(matrix, e)));
                    }
                    _ => need(LayerTensor::Experts(matrix)),
                }
            }
        }
        missing
    }

    fn unused(&self) -> Vec<String> {
        let names = self.checkpoint.tensors.keys();
        names.filter(|name| !self.uses(name)).cloned().collect()
    }

    fn uses(&self, name: &str) -> bool {
        match TensorName::parse(name) {
            None => false,
            Some(TensorName::Layer(n, tensor)) => {
                n < self.layers
                    && match tensor {
                        LayerTensor::Router => self.experts > 0,
                        LayerTensor::Ffn(_) => self.experts == 0,
                        LayerTensor::Experts(_) => self.experts > 0 && !self.is_separate(n),
                        LayerTensor::Expert(_, e) => e < self.experts && self.is_separate(n),
                        _ => true,
                    }
            }
            Some(_) => true,
        }
    }
}

/// Whether a name is one of an expert's own tensors.
fn is_expert(name: &str) -> bool {
    TensorName::parse(name).and_then(TensorName::of_expert).is_some()
}
