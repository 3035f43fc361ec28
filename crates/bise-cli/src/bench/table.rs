//! What a bench prints: a table that is read, or one that programs read.

use super::measured::{Measured, Taken};
use anyhow::Result;
use serde_json::Value;
use std::io::Write;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A Markdown table with aligned columns
    Md,
    /// Comma-separated values, with all digits
    Csv,
    /// A JSON array, with the sample of each repetition
    Json,
}

/// The columns of a table that is read, and how wide they are besides the model's.
const COLUMNS: [(&str, usize); 10] = [
    ("model", 0),
    ("size", 10),
    ("params", 8),
    ("isa", 11),
    ("threads", 7),
    ("test", 12),
    ("tok/s", 9),
    ("spread", 6),
    ("takes", 12),
    ("of limit", 8),
];

const CSV: [&str; 13] = [
    "model",
    "model_bytes",
    "parameters",
    "isa",
    "threads",
    "test",
    "tokens_per_second",
    "least",
    "most",
    "operations_per_second",
    "bytes_per_second",
    "times_without_drafts",
    "share_of_limit",
];

/// Prints results one by one, as they come.
pub struct Table<W: Write> {
    out: Out<W>,
    /// Columns of the model's name.
    width: usize,
}

enum Out<W: Write> {
    Md(W),
    Csv(Box<csv::Writer<W>>),
    Json(W, Vec<Value>),
}

impl<W: Write> Table<W> {
    /// Begins a table of results of the model `name`.
    pub fn begin(format: Format, name: &str, mut out: W) -> Result<Self> {
        let width = name.chars().count().max(COLUMNS[0].0.len());
        let out = match format {
            Format::Md => {
                let titles = COLUMNS.map(|(title, _)| title.to_owned());
                writeln!(out, "{}", line(&titles, width, ' '))?;
                writeln!(out, "{}", line(&Default::default(), width, '-'))?;
                Out::Md(out)
            }
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(out);
                csv.write_record(CSV)?;
                Out::Csv(Box::new(csv))
            }
            Format::Json => Out::Json(out, Vec::new()),
        };
        Ok(Self { out, width })
    }

    /// Adds a result.
    pub fn add(&mut self, result: &Measured) -> Result<()> {
        match &mut self.out {
            Out::Md(out) => writeln!(out, "{}", line(&read(result), self.width, ' '))?,
            Out::Csv(csv) => {
                csv.write_record(exact(result))?;
                csv.flush()?;
            }
            Out::Json(_, all) => all.push(result.json()),
        }
        Ok(())
    }

    /// Ends the table.
    pub fn end(self) -> Result<()> {
        if let Out::Json(mut out, all) = self.out {
            writeln!(out, "{}", serde_json::to_string_pretty(&Value::Array(all))?)?;
        }
        Ok(())
    }
}

/// A line of a table that is read: names at the left, numbers at the right.
fn line(cells: &[String; COLUMNS.len()], model: usize, fill: char) -> String {
    let mut line = String::from("|");
    for (cell, (title, width)) in cells.iter().zip(COLUMNS) {
        let width = width
            .max(title.len())
            .max(if title == "model" { model } else { 0 });
        let left = matches!(title, "model" | "isa" | "test");
        line += &match (fill, left) {
            ('-', true) => format!(" {} |", "-".repeat(width)),
            ('-', false) => format!(" {}: |", "-".repeat(width - 1)),
            (_, true) => format!(" {cell:<width$} |"),
            (_, false) => format!(" {cell:>width$} |"),
        };
    }
    line
}

/// A result as it is read.
fn read(result: &Measured) -> [String; COLUMNS.len()] {
    let (taken, share) = result.taken();
    let takes = match taken {
        Taken::Operations(operations) => format!("{:.3} TOPS", operations / 1e12),
        Taken::Bytes(bytes) => format!("{:.1} GB/s", bytes / 1e9),
        Taken::Times(times) => format!("{times:.2} times"),
    };
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    [
        result.model.clone(),
        format!("{:.2} GiB", result.size.bytes as f64 / (1u64 << 30) as f64),
        format!("{:.2} B", result.size.parameters as f64 / 1e9),
        result.level.name().to_owned(),
        result.roofline.threads.to_string(),
        result.test.clone(),
        format!("{:.2}", result.median()),
        percent(result.spread()),
        takes,
        share.map_or(String::new(), percent),
    ]
}

/// A result with all digits.
fn exact(result: &Measured) -> [String; CSV.len()] {
    let (taken, share) = result.taken();
    let (mut operations, mut bytes, mut times) = (String::new(), String::new(), String::new());
    match taken {
        Taken::Operations(taken) => operations = taken.to_string(),
        Taken::Bytes(taken) => bytes = taken.to_string(),
        Taken::Times(taken) => times = taken.to_string(),
    }
    let least = result.samples.iter().copied().fold(f64::MAX, f64::min);
    let most = result.samples.iter().copied().fold(0.0, f64::max);
    [
        result.model.clone(),
        result.size.bytes.to_string(),
        result.size.parameters.to_string(),
        result.level.name().to_owned(),
        result.roofline.threads.to_string(),
        result.test.clone(),
        result.median().to_string(),
        least.to_string(),
        most.to_string(),
        operations,
        bytes,
        times,
        share.map_or(String::new(), |share| share.to_string()),
    ]
}
