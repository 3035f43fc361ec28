//! How large the inputs of each matrix are: sums of squares over tokens, which an importance matrix is made of.

use crate::config::Config;
use crate::weights;

/// Where inputs are: matrices at one place multiply the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Of Q, K and V.
    Attention,
    /// What the heads found, of the output projection.
    Heads,
    /// Of an expert's gate and up matrices; a dense network is expert 0.
    FeedForward(usize),
    /// Of its down matrix.
    Hidden(usize),
    /// Of the output matrix.
    Output,
}

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

/// Sums at one place of a layer, a row for each expert.
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

/// Sums at all places of a model.
pub(crate) struct Inputs {
    /// The layer that is at work.
    pub layer: usize,
    mixture: bool,
    /// By layer: attention, heads, feed-forward, hidden.
    layers: Vec<[Sums; 4]>,
    output: Sums,
}

impl Inputs {
    pub fn new(config: &Config) -> Self {
        let experts = config.experts.map_or(1, |experts| experts.count);
        let layer = [
            Sums::new(config.dim, 1),
            Sums::new(config.n_heads * config.head_dim, 1),
            Sums::new(config.dim, experts),
            Sums::new(config.hidden_dim, experts),
        ];
        Self {
            layer: 0,
            mixture: config.experts.is_some(),
            layers: vec![layer; config.n_layers],
            output: Sums::new(config.dim, 1),
        }
    }

    /// Adds rows of inputs, `[tokens, width]`, at a place of the layer at work.
    pub fn add(&mut self, place: Place, x: &[f32]) {
        let [attention, heads, feed_forward, hidden] = &mut self.layers[self.layer];
        match place {
            Place::Attention => attention.add(0, x),
            Place::Heads => heads.add(0, x),
            Place::FeedForward(e) => feed_forward.add(e, x),
            Place::Hidden(e) => hidden.add(e, x),
            Place::Output => self.output.add(0, x),
        }
    }

    pub fn sums(self) -> Vec<InputSums> {
        let places = [
            Place::Attention,
            Place::Heads,
            Place::FeedForward(0),
            Place::Hidden(0),
        ];
        let named = |(place, layer, sums): (Place, usize, &Sums)| {
            let names = weights::names(place, layer, self.mixture).into_iter();
            let of = |name| InputSums {
                name,
                sums: sums.sums.clone(),
                counts: sums.counts.clone(),
            };
            names.map(of).collect::<Vec<_>>()
        };
        let layers = self.layers.iter().enumerate();
        let in_layers = layers.flat_map(|(layer, sums)| {
            places
                .into_iter()
                .zip(sums)
                .map(move |(place, sums)| (place, layer, sums))
        });
        in_layers
            .chain([(Place::Output, 0, &self.output)])
            .flat_map(named)
            .collect()
    }
}
