//! What a test has measured, and what it is held against.

use bise_format::{LayerTensor, TensorName};
use bise_kernels::isa::Level;
use bise_kernels::measure;
use bise_kernels::tensor::Tensor;
use bise_kernels::threads::Threads;
use bise_model::Model;
use serde_json::{Value, json};

/// What a test is held against.
#[derive(Clone, Copy)]
pub enum Spent {
    /// The machine's integer operations, for a prompt of so many tokens.
    Operations(usize),
    /// The machine's bandwidth, for tokens one by one, which read so many bytes of keys and values
    /// besides the weights.
    Bytes(f64),
    /// So many tokens a second without drafts.
    Instead(f64),
}

/// How many weights a token is multiplied with, and how many bytes it reads.
#[derive(Clone, Copy, Default)]
pub struct Work {
    /// Those that each token is multiplied with.
    pub values: f64,
    /// Those of the output matrix, which only the last token of a prompt is multiplied with.
    pub output_values: f64,
    /// What generating a token reads.
    pub bytes: f64,
}

impl Work {
    /// All matrices, of experts the chosen ones; of the embeddings one row, which is left out.
    pub fn of_a_token(model: &Model) -> Self {
        let tied = model.checkpoint().output_is_tied();
        let chosen = model
            .config()
            .experts
            .map_or(1.0, |e| e.top_k as f64 / e.count as f64);
        let mut work = Self::default();
        for (name, tensor) in &model.checkpoint().tensors {
            let name = TensorName::parse(name);
            if !tied && name == Some(TensorName::Embedding) {
                continue;
            }
            let of_expert = matches!(
                name.and_then(TensorName::within_layer),
                Some(LayerTensor::Experts(_) | LayerTensor::Expert(..))
            );
            let share = if of_expert { chosen } else { 1.0 };
            let values = share * tensor.elements() as f64;
            if matches!(name, Some(TensorName::Output | TensorName::Embedding)) {
                work.output_values += values;
            } else {
                work.values += values;
            }
            work.bytes += share * tensor.len() as f64;
        }
        work
    }

    /// Multiplications and additions for each token of a prompt of `tokens`, of which the last one
    /// meets the output matrix.
    fn operations(&self, tokens: usize) -> f64 {
        2.0 * (self.values + self.output_values / tokens as f64)
    }
}

/// What a test takes in a second.
pub enum Taken {
    /// Operations with integers.
    Operations(f64),
    /// Bytes that are read.
    Bytes(f64),
    /// So many times as many tokens as without drafts.
    Times(f64),
}

/// How large a model is.
#[derive(Clone, Copy)]
pub struct Size {
    /// Bytes of its tensors.
    pub bytes: u64,
    /// Values in them.
    pub parameters: u64,
}

impl Size {
    pub fn of(model: &Model) -> Self {
        let tensors = model.checkpoint().tensors.values();
        let add = |size: Self, tensor: &Tensor| Self {
            bytes: size.bytes + tensor.len() as u64,
            parameters: size.parameters + tensor.elements() as u64,
        };
        let none = Self {
            bytes: 0,
            parameters: 0,
        };
        tensors.fold(none, add)
    }
}

/// The results of a test.
pub struct Measured {
    pub model: String,
    pub size: Size,
    pub level: Level,
    pub roofline: Roofline,
    pub test: String,
    pub spent: Spent,
    pub work: Work,
    pub samples: Vec<f64>,
}

impl Measured {
    pub fn median(&self) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let half = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[half]
        } else {
            (sorted[half - 1] + sorted[half]) / 2.0
        }
    }

    /// The largest sample less the smallest, as a share of the median.
    pub fn spread(&self) -> f64 {
        let (least, most) = self
            .samples
            .iter()
            .fold((f64::MAX, 0f64), |(l, m), &s| (l.min(s), m.max(s)));
        (most - least) / self.median()
    }

    /// What the test takes of the machine, and which share that is of what there is.
    pub fn taken(&self) -> (Taken, Option<f64>) {
        let rate = self.median();
        match self.spent {
            Spent::Operations(tokens) => {
                let operations = self.work.operations(tokens) * rate;
                let share = operations / self.roofline.operations;
                (Taken::Operations(operations), Some(share))
            }
            Spent::Bytes(cached) => {
                let bytes = (self.work.bytes + cached) * rate;
                (Taken::Bytes(bytes), Some(bytes / self.roofline.bytes))
            }
            Spent::Instead(plain) => (Taken::Times(rate / plain), None),
        }
    }

    pub fn json(&self) -> Value {
        let rate = self.median();
        let mut json = json!({
            "model": self.model, "model_bytes": self.size.bytes, "parameters": self.size.parameters,
            "isa": self.level.name(), "threads": self.roofline.threads,
            "test": self.test, "tokens_per_second": rate, "samples": self.samples,
            "read_bandwidth": self.roofline.bytes, "integer_peak": self.roofline.operations,
        });
        // What a batch of one reads and computes says nothing of batches with drafts in them.
        if let Spent::Instead(plain) = self.spent {
            json["times_without_drafts"] = json!(rate / plain);
            return json;
        }
        let (tokens, cached) = match self.spent {
            Spent::Operations(tokens) => (tokens, 0.0),
            Spent::Bytes(cached) => (1, cached),
            Spent::Instead(_) => (1, 0.0),
        };
        let (bytes, operations) = (self.work.bytes * rate, self.work.operations(tokens) * rate);
        json["weight_bytes_per_second"] = json!(bytes);
        json["cache_bytes_per_second"] = json!(cached * rate);
        json["percent_of_read_bandwidth"] =
            json!((bytes + cached * rate) / self.roofline.bytes * 100.0);
        json["operations_per_second"] = json!(operations);
        json["percent_of_integer_peak"] = json!(operations / self.roofline.operations * 100.0);
        json
    }
}

/// What the machine can do at most.
#[derive(Clone, Copy)]
pub struct Roofline {
    pub threads: usize,
    pub bytes: f64,
    pub operations: f64,
}

impl Roofline {
    pub fn of(pool: &Threads, level: Level) -> Self {
        let threads = pool.count();
        let bytes = pool.run(|| measure::read_bandwidth(level, threads));
        Self {
            threads,
            bytes,
            operations: pool.run(|| measure::integer_peak(level)),
        }
    }
}
