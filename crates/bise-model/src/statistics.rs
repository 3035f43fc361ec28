//! How large the inputs of each matrix are: sums of squares over tokens, which an importance matrix
//! is made of.

use crate::config::Config;
use crate::decoder::Step;
use crate::loading;
use bise_format::TensorName;

/// Sums of the squares of a matrix's inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSums {
    /// GGUF's name of the matrix, or of the stacked matrices of all experts.
    pub name: String,
    /// `[matrices, columns]`
    pub sums: Vec<f64>,
    /// Tokens that each matrix saw, `[matrices]`.
    pub counts: Vec<u64>,
}

/// Sums of the inputs that come out of one step of a layer, a row for each expert.
#[derive(Clone, Default)]
struct Sums {
    width: usize,
    sums: Vec<f64>,
    counts: Vec<u64>,
}

impl Sums {
    fn new(width: usize, matrices: usize) -> Self {
        Self {
            width,
            sums: vec![0.0; width * matrices],
            counts: vec![0; matrices],
        }
    }

    /// Each sum is one chain over the tokens in order.
    fn add(&mut self, matrix: usize, x: &[f32]) {
        let width = self.width;
        let sums = &mut self.sums[matrix * width..][..width];
        for x in x.chunks_exact(width) {
            sums.iter_mut()
                .zip(x)
                .for_each(|(sum, &x)| *sum += f64::from(x) * f64::from(x));
        }
        self.counts[matrix] += (x.len() / width) as u64;
    }
}

/// The steps of a layer that matrices take their inputs from.
const INPUTS: [Step; 4] = [
    Step::AttentionNorm,
    Step::Heads,
    Step::ExpertInput(0),
    Step::Hidden(0),
];

/// Sums at all steps of a model.
pub(crate) struct Statistics {
    mixture: bool,
    /// Of each layer, as [`INPUTS`].
    layers: Vec<[Sums; 4]>,
    output: Sums,
}

impl Statistics {
    pub fn new(config: &Config) -> Self {
        let experts = config.experts.map_or(1, |experts| experts.count);
        let layer = [
            Sums::new(config.dim, 1),
            Sums::new(config.n_heads * config.head_dim, 1),
            Sums::new(config.dim, experts),
            Sums::new(config.hidden_dim, experts),
        ];
        Self {
            mixture: config.experts.is_some(),
            layers: vec![layer; config.layers.len()],
            output: Sums::new(config.dim, 1),
        }
    }

    /// Adds what comes out of a step of a layer, `[tokens, width]`, if matrices take it.
    pub fn add(&mut self, layer: usize, step: Step, x: &[f32]) {
        let [attention, heads, feed_forward, hidden] = &mut self.layers[layer];
        match step {
            Step::AttentionNorm => attention.add(0, x),
            Step::Heads => heads.add(0, x),
            Step::ExpertInput(e) => feed_forward.add(e, x),
            Step::Hidden(e) => hidden.add(e, x),
            Step::OutputNorm => self.output.add(0, x),
            _ => {}
        }
    }

    /// The sums of each matrix.
    pub fn sums(self) -> Vec<InputSums> {
        let named = |(step, layer, sums): (Step, usize, &Sums)| {
            let names = loading::matrices(step, layer, self.mixture).into_iter();
            let of = |name: TensorName| InputSums {
                name: name.to_string(),
                sums: sums.sums.clone(),
                counts: sums.counts.clone(),
            };
            names.map(of).collect::<Vec<_>>()
        };
        let layers = self.layers.iter().enumerate();
        let in_layers = layers.flat_map(|(layer, sums)| {
            let steps = INPUTS.into_iter().zip(sums);
            steps.map(move |(step, sums)| (step, layer, sums))
        });
        in_layers
            .chain([(Step::OutputNorm, 0, &self.output)])
            .flat_map(named)
            .collect()
    }
}
