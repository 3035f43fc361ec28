//! The options of `bise quantize`, and how what was done is told.

use crate::lora::{Lora, lora};
use crate::numbers::Expected;
use bise_kernels::block::DType;
use bise_quantize::{
    Budget, Options, Prober, Progress, QuantizeError, Report, Source, Target, TensorType,
    quantize_source, types,
};
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

/// Make a quantized GGUF file
///
/// SRC is a directory of a Mistral or Mixtral with safetensors in F32, F16 or BF16 and a tokenizer,
/// in Hugging Face's layout (config.json) or Mistral's own (params.json); or a GGUF file, or any
/// part of a split one. DST appears only when it is complete; until then the work lies beside it as
/// .DST.bise-part and .DST.bise-journal. Stopped by Ctrl-C or killed, the same command goes on from
/// there. DST carries hashes and probes for bise verify. Adapters (--lora) are merged before
/// weights are quantized.
#[derive(clap::Args, Clone, Debug)]
#[command(version)]
pub struct Args {
    /// A directory of safetensors or a GGUF file
    pub src: PathBuf,
    /// The GGUF file to write
    pub dst: PathBuf,
    #[command(flatten)]
    goal: Goal,
    /// Give all matrices this very type, the base of a recipe
    #[arg(long, conflicts_with_all = ["size", "bpw"])]
    pure: bool,
    /// The type of matrices whose names PATTERN, a regular expression in any case, is found in; the
    /// first that is counts, before --pure and the recipe, after --output-type and --embedding-type
    #[arg(long = "tensor-type", value_name = "PATTERN=TYPE")]
    tensor_types: Vec<TensorType>,
    /// The type of the output matrix
    #[arg(long, alias = "output-tensor-type", value_name = "TYPE", value_parser = Types)]
    output_type: Option<DType>,
    /// The type of the embedding
    #[arg(long, alias = "token-embedding-type", value_name = "TYPE", value_parser = Types)]
    embedding_type: Option<DType>,
    /// Importance matrix, of bise imatrix or of llama.cpp: which inputs are large, and errors
    /// therefore weigh much
    #[arg(long, value_name = "FILE")]
    imatrix: Option<PathBuf>,
    /// Folder of PEFT or GGUF file with a LoRA adapter that is merged into the weights, times SCALE
    /// [default: 1]; may be given several times
    #[arg(long, visible_alias = "lora-scaled", value_name = "FILE[:SCALE]", value_parser = lora)]
    lora: Vec<Lora>,
    /// Quantize weights that are quantized already: what they lost stays lost, and they lose more
    #[arg(long)]
    allow_requantize: bool,
    /// Print a table of the error of each tensor
    #[arg(long)]
    report: bool,
    /// Print one JSON object, with the error of each tensor
    #[arg(long)]
    pub json: bool,
    /// Record hashes only, not what the model says to some prompts: the model is not run
    #[arg(long)]
    no_probe: bool,
    /// Write that a token sees N keys, its own included, or all [default: as SRC says]
    #[arg(long, value_name = "N|off", value_parser = window)]
    sliding_window: Option<u32>,
    /// Threads to use [default: all cores]
    #[arg(short, long, allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// What decides on the types.
#[derive(clap::Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct Goal {
    /// A type such as Q8_0, or a recipe such as Q4_K_M
    #[arg(long = "type", value_name = "TYPE", value_parser = Targets)]
    target: Option<Target>,
    /// The best file of at most this size, such as 4.0G (10^9 bytes) or 4GiB
    #[arg(long, value_parser = Budget::from_size)]
    size: Option<Budget>,
    /// The best file of at most so many bits for each weight
    #[arg(long, value_name = "BITS", value_parser = Budget::from_bits)]
    bpw: Option<Budget>,
}

/// Reads types and recipes, and lists them.
#[derive(Clone)]
struct Targets;

impl TypedValueParser for Targets {
    type Value = Target;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Target, clap::Error> {
        let parser = StringValueParser::new().try_map(|name| types::target(&name));
        parser.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let value = |&(target, bits): &(Target, f64)| {
            PossibleValue::new(target.name())
                .help(format!("{bits:.2} bits for each weight of Mistral 7B"))
        };
        Some(Box::new(types::targets().iter().map(value)))
    }
}

/// Reads types that can be written, and lists them.
#[derive(Clone)]
struct Types;

impl TypedValueParser for Types {
    type Value = DType;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<DType, clap::Error> {
        let parser = StringValueParser::new().try_map(|name| types::dtype(&name));
        parser.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let value = |(dtype, bits): (DType, f64)| {
            PossibleValue::new(dtype.name()).help(format!("{bits} bits for each weight"))
        };
        Some(Box::new(types::dtypes().into_iter().map(value)))
    }
}

/// A number of keys; 0 for all of them.
fn window(text: &str) -> Result<u32, Expected> {
    match text.parse() {
        _ if text == "off" => Ok(0),
        Ok(keys) if (1..=1 << 30).contains(&keys) => Ok(keys),
        _ => Err(Expected("a number of keys from 1 to 2^30, or off")),
    }
}

impl Args {
    /// The adapters that are merged.
    pub fn adapters(&self) -> &[Lora] {
        &self.lora
    }

    /// What the arguments ask of [`quantize_source`].
    pub fn options(&self) -> Options {
        let goal = &self.goal;
        Options {
            pure: self.pure,
            budget: goal.size.or(goal.bpw),
            output_type: self.output_type,
            embedding_type: self.embedding_type,
            tensor_types: self.tensor_types.clone(),
            imatrix: self.imatrix.clone(),
            adapters: self
                .lora
                .iter()
                .map(|lora| (lora.path.clone(), lora.scale))
                .collect(),
            allow_requantize: self.allow_requantize,
            measure: self.report || self.json,
            threads: self.threads.map(usize::from),
            sliding_window: self.sliding_window,
            ..Options::new(goal.target.unwrap_or_default())
        }
    }
}

/// What was done: notes, a table when asked for, and a summary.
pub struct Done {
    /// What was written.
    pub report: Report,
    args: Args,
}

/// Does what `args` ask for with `source`, and tells `progress`; `prober` runs models.
///
/// # Errors
/// As [`quantize_source`].
pub fn run(
    args: Args,
    source: Source,
    progress: &dyn Progress,
    prober: &Prober<'_>,
) -> Result<Done, QuantizeError> {
    let prober = Some(prober).filter(|_| !args.no_probe);
    let report = quantize_source(source, &args.dst, &args.options(), progress, prober)?;
    Ok(Done { report, args })
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.report;
        report
            .notes
            .iter()
            .try_for_each(|note| writeln!(f, "note: {note}"))?;
        if self.args.report {
            table(report, f)?;
        }
        let (dst, tensors) = (self.args.dst.display(), report.tensors.len());
        let (bytes, bits) = (report.file_len, report.bits_per_weight());
        write!(
            f,
            "{dst}: {tensors} tensors, {bytes} bytes, {bits:.2} bits per weight"
        )
    }
}

fn table(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let width = report
        .tensors
        .iter()
        .map(|tensor| tensor.name.len())
        .max()
        .unwrap_or(0);
    writeln!(
        f,
        "{:width$}  from  to    {:>14}  {:>10}  relative",
        "tensor", "bytes", "rmse"
    )?;
    for tensor in &report.tensors {
        let (from, to) = (tensor.from, tensor.to);
        write!(f, "{:width$}  {from:4}  {to:4}  {:>14}", tensor.name, tensor.len)?;
        match tensor.error {
            Some(error) => {
                writeln!(f, "  {:>10.3e}  {:>7.3}%", error.rmse, 100.0 * error.relative)?
            }
            None => writeln!(f)?,
        }
    }
    Ok(())
}

impl Done {
    /// The same as one JSON object.
    pub fn json(&self) -> Value {
        let tensors = self.report.tensors.iter().map(|tensor| {
            json!({
                "name": tensor.name, "from": tensor.from.name(), "to": tensor.to.name(), "bytes": tensor.len,
                "values": tensor.elements, "rmse": tensor.error.map(|e| e.rmse),
                "relative_error": tensor.error.map(|e| e.relative),
            })
        });
        json!({
            "file": self.args.dst, "bytes": self.report.file_len, "bits_per_weight": self.report.bits_per_weight(),
            "notes": self.report.notes, "tensors": tensors.collect::<Vec<_>>(),
        })
    }
}
