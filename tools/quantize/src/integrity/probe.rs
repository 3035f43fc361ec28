//! Probes: prompts and what should follow them, so that a file can be tried out and not only
//! hashed.
//!
//! ```text
//! bise.probe.tokens, .lengths   the prompts, one after the other, and how long each is
//! bise.probe.top                for each prompt, the 8 tokens that the source finds likeliest
//! bise.probe.source             the source's logits of those (absent when the source was not run)
//! bise.probe.logits             this file's logits of those
//! bise.probe.tolerance          for each prompt, how far they may lie from the source's (absent with `source`)
//! bise.probe.sha256             for each prompt, the SHA-256 of all of this file's logits, little-endian f32
//! bise.probe.arithmetic         the program's way of computing logits; 0 when this file was not run
//! ```
//!
//! The same file gives the same logits on every machine, so a replay must give those recorded, bit
//! for bit. A program with other arithmetic holds its replay against the source's logits instead,
//! within the tolerance: the deviation of the file that was measured, and what the rounding of
//! activations may add.

use crate::integrity::digest::{hex, sha256};
use bise_format::adapter::ScaledAdapter;
use bise_format::checkpoint::Checkpoint;
use bise_format::full_text;
use bise_format::gguf::{GgufError, Metadata};
use bise_kernels::threads::Threads;
use bise_model::streamed::{StreamedError, logits_after};
use std::path::Path;

/// What hears how many layers of a model are done, and of how many.
pub type LayersDone = Box<dyn Fn(usize, usize) + Send + Sync>;

/// Runs models a layer at a time, in bounded memory.
pub struct Prober<'a> {
    /// The threads that do it.
    pub threads: &'a Threads,
    /// Called before each run; what it gives hears of that run.
    pub progress: &'a dyn Fn() -> LayersDone,
}

/// Bytes of weights that may be laid out at a time.
const MOST: u64 = 1 << 30;

impl<'a> Prober<'a> {
    /// Runs models on `threads` and tells nobody of it.
    pub fn silent(threads: &'a Threads) -> Self {
        Self {
            threads,
            progress: &|| Box::new(|_, _| {}),
        }
    }

    /// The logits that `model` gives with `adapters` after each of `prompts`.
    pub(crate) fn logits(
        &self,
        model: Checkpoint,
        adapters: &[ScaledAdapter],
        prompts: &[Vec<u32>],
    ) -> Result<Vec<Vec<f32>>, StreamedError> {
        let progress = (self.progress)();
        self.threads
            .run(|| logits_after(model, adapters, prompts, MOST, &*progress))
    }

    /// The logits that the model at `path` gives after each of `prompts`, or why there are none.
    pub(crate) fn logits_of_file(
        &self,
        path: &Path,
        prompts: &[Vec<u32>],
    ) -> Result<Vec<Vec<f32>>, String> {
        let (model, _) = bise_format::open(path).map_err(|error| full_text(&error))?;
        self.logits(model, &[], prompts)
            .map_err(|error| full_text(&error))
    }
}

const TOKENS: &str = "bise.probe.tokens";
const LENGTHS: &str = "bise.probe.lengths";
const TOP: &str = "bise.probe.top";
const SOURCE: &str = "bise.probe.source";
const LOGITS: &str = "bise.probe.logits";
const TOLERANCE: &str = "bise.probe.tolerance";
const SHA256: &str = "bise.probe.sha256";
const ARITHMETIC: &str = "bise.probe.arithmetic";

/// Tokens of each prompt. Together they visit most experts of a layer.
const PROMPTS: [u32; 3] = [4, 8, 12];
/// Tokens in all prompts of a file that is read.
const MOST_TOKENS: usize = 1024;
/// Logits of a prompt that are kept.
const KEPT: usize = 8;
/// What 8-bit activations, rounded another way, may change of the largest logit.
const ROUNDING: f32 = 0.03;

/// A file's probes, the file's own logits not known yet.
#[derive(Clone)]
pub(crate) struct Probes {
    prompts: Vec<Vec<u32>>,
    /// What the source says.
    source: Option<Vec<Vec<f32>>>,
    vocabulary: usize,
}

impl Probes {
    /// Prompts for a model of so many tokens, with the token that begins texts first.
    pub(crate) fn new(metadata: &Metadata, vocabulary: u64) -> Self {
        let vocabulary = vocabulary.clamp(1, 1 << 24);
        let bos = metadata
            .u32("tokenizer.ggml.bos_token_id")
            .ok()
            .flatten()
            .unwrap_or(1);
        let mut state = 1u64;
        let mut token = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % vocabulary) as u32
        };
        let mut prompt = |len: u32| {
            let first = u64::from(bos).min(vocabulary - 1) as u32;
            std::iter::once(first).chain((1..len).map(|_| token())).collect()
        };
        Self {
            prompts: PROMPTS.map(&mut prompt).to_vec(),
            source: None,
            vocabulary: vocabulary as usize,
        }
    }

    pub(crate) fn prompts(&self) -> &[Vec<u32>] {
        &self.prompts
    }

    pub(crate) fn set_source(&mut self, logits: Vec<Vec<f32>>) {
        self.source = Some(logits);
    }

    /// Sets the entries: with zeros when the file's own logits are not known yet, as long as with
    /// them.
    pub(crate) fn describe(&self, written: Option<(&[Vec<f32>], u32)>, metadata: &mut Metadata) {
        let zeros = vec![vec![0.0; self.vocabulary]; self.prompts.len()];
        let (logits, arithmetic) = written.unwrap_or((&zeros, 0));
        let top: Vec<Vec<u32>> = self
            .source
            .as_deref()
            .unwrap_or(logits)
            .iter()
            .map(|l| top(l))
            .collect();
        let lengths: Vec<u32> = self.prompts.iter().map(|prompt| prompt.len() as u32).collect();
        metadata.insert(TOKENS, self.prompts.concat());
        metadata.insert(LENGTHS, lengths);
        metadata.insert(TOP, top.concat());
        metadata.insert(LOGITS, pick(logits, &top));
        metadata.insert(SHA256, logits.iter().map(|l| digest(l)).collect::<Vec<_>>());
        metadata.insert(ARITHMETIC, arithmetic);
        if let Some(source) = &self.source {
            metadata.insert(SOURCE, pick(source, &top));
            let tolerances = (0..source.len()).map(|i| {
                let (file, source) = (
                    pick(&logits[i..=i], &top[i..=i]),
                    pick(&source[i..=i], &top[i..=i]),
                );
                distance(&file, &source)
                    + ROUNDING * source.iter().fold(0f32, |most, l| most.max(l.abs()))
            });
            metadata.insert(TOLERANCE, tolerances.collect::<Vec<f32>>());
        }
    }
}

/// The tokens of the largest logits, of equal ones the lower first.
fn top(logits: &[f32]) -> Vec<u32> {
    let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
    tokens.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
    tokens.truncate(KEPT);
    tokens
}

/// The logits of some tokens, prompt by prompt.
fn pick(logits: &[Vec<f32>], tokens: &[Vec<u32>]) -> Vec<f32> {
    let of_prompt = |(logits, tokens): (&Vec<f32>, &Vec<u32>)| -> Vec<f32> {
        tokens.iter().map(|&t| logits[t as usize]).collect()
    };
    logits.iter().zip(tokens).flat_map(of_prompt).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
}

fn digest(logits: &[f32]) -> String {
    let bytes: Vec<u8> = logits.iter().flat_map(|l| l.to_le_bytes()).collect();
    hex(&sha256(&bytes))
}

/// Cuts `tokens` into prompts of these lengths.
fn prompts(mut tokens: Vec<u32>, lengths: Vec<u32>) -> Result<Vec<Vec<u32>>, String> {
    if tokens.len() > MOST_TOKENS {
        return Err(format!(
            "{TOKENS} has {} tokens, at most {MOST_TOKENS} are expected",
            tokens.len()
        ));
    }
    let mut prompts = Vec::new();
    for length in lengths {
        if length == 0 || length as usize > tokens.len() {
            return Err(format!("{LENGTHS} does not fit {TOKENS}"));
        }
        let rest = tokens.split_off(length as usize);
        prompts.push(std::mem::replace(&mut tokens, rest));
    }
    Ok(prompts)
}

/// Probes as a file has them.
pub(crate) struct Recorded {
    pub prompts: Vec<Vec<u32>>,
    pub arithmetic: u32,
    top: Vec<u32>,
    logits: Vec<f32>,
    sha256: Vec<String>,
    /// Logits and tolerances.
    source: Option<(Vec<f32>, Vec<f32>)>,
}

impl Recorded {
    /// `None` when the file has no probes.
    pub(crate) fn read(metadata: &Metadata) -> Result<Option<Self>, String> {
        let wrong = |e: GgufError| e.to_string();
        let arithmetic = metadata.u32(ARITHMETIC).map_err(wrong)?.unwrap_or(0);
        if arithmetic == 0 {
            return Ok(None);
        }
        let u32s = |key| {
            metadata
                .u32s(key)
                .map_err(wrong)
                .map(|v| v.unwrap_or_default().into_owned())
        };
        let f32s = |key| {
            metadata
                .f32s(key)
                .map_err(wrong)
                .map(|v| v.unwrap_or_default().to_vec())
        };
        let prompts = prompts(u32s(TOKENS)?, u32s(LENGTHS)?)?;
        let recorded = Self {
            arithmetic,
            top: u32s(TOP)?,
            logits: f32s(LOGITS)?,
            sha256: metadata
                .strings(SHA256)
                .map_err(wrong)?
                .unwrap_or_default()
                .to_vec(),
            source: metadata
                .get(SOURCE)
                .map(|_| Ok::<_, String>((f32s(SOURCE)?, f32s(TOLERANCE)?)))
                .transpose()?,
            prompts,
        };
        let (n, kept) = (recorded.prompts.len(), recorded.top.len());
        let source_fits = |(source, tolerance): &(Vec<f32>, Vec<f32>)| {
            source.len() == kept && tolerance.len() == n
        };
        let fits = n > 0
            && kept > 0
            && kept.is_multiple_of(n)
            && recorded.logits.len() == kept
            && recorded.sha256.len() == n;
        if fits && recorded.source.as_ref().is_none_or(source_fits) {
            Ok(Some(recorded))
        } else {
            Err("the entries under bise.probe do not fit each other".to_owned())
        }
    }

    /// What is wrong with a replay by a program of this arithmetic, or what is to be said of a good
    /// one.
    pub(crate) fn compare(&self, replay: &[Vec<f32>], arithmetic: u32) -> Result<String, String> {
        let kept = self.top.len() / self.prompts.len();
        let mut worst = 0f32;
        for (i, (logits, top)) in replay.iter().zip(self.top.chunks_exact(kept)).enumerate() {
            if let Some(token) = top.iter().find(|&&t| t as usize >= logits.len()) {
                return Err(format!(
                    "probe {i}: token {token} is none of the model's {}",
                    logits.len()
                ));
            }
            if let Some(l) = logits.iter().find(|l| !l.is_finite()) {
                return Err(format!("probe {i}: a logit is {l}"));
            }
            let found: Vec<f32> = top.iter().map(|&t| logits[t as usize]).collect();
            let at = i * kept..(i + 1) * kept;
            let off = distance(&found, &self.logits[at.clone()]);
            if arithmetic == self.arithmetic {
                if digest(logits) != self.sha256[i] {
                    return Err(format!(
                        "probe {i}: logits are not those recorded; the likeliest differ by up to {off}"
                    ));
                }
                continue;
            }
            let rounding = ROUNDING * found.iter().fold(0f32, |most, l| most.max(l.abs()));
            let (off, allowed) = match &self.source {
                Some((source, tolerance)) => (distance(&found, &source[at]), tolerance[i]),
                None => (off, rounding),
            };
            let near = off <= allowed;
            if !near {
                return Err(format!(
                    "probe {i}: logits are off by {off}, {allowed} is allowed"
                ));
            }
            worst = worst.max(off / allowed);
        }
        Ok(if arithmetic == self.arithmetic {
            format!(
                "{} probes give the recorded logits, bit for bit",
                self.prompts.len()
            )
        } else {
            format!(
                "{} probes are within {:.0} % of what is allowed (this program's arithmetic is another)",
                self.prompts.len(),
                worst * 100.0
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Silent, Target, quantize_and_probe};
    use bise_model::CONTRACT;

    /// Another program's arithmetic is held against the source, within what the type's error
    /// allows.
    #[test]
    fn other_arithmetic_is_compared_with_the_source() {
        let threads = Threads::new(2).unwrap();
        let prober = Prober::silent(&threads);
        let folder = tempfile::tempdir().unwrap();
        let make = |src: &Path, name: &str, target: &str| {
            let dst = folder.path().join(name);
            let options = Options::new(Target::from_name(target).unwrap());
            let report = quantize_and_probe(src, &dst, &options, &Silent, Some(&prober)).unwrap();
            (dst, report.notes)
        };
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-mistral");
        let (f32, _) = make(&fixture, "f32.gguf", "F32");
        let (path, notes) = make(&f32, "out.gguf", "Q4_0");
        assert!(notes.is_empty(), "{notes:?}");

        let model = Checkpoint::open(&path).unwrap();
        let recorded = Recorded::read(&model.metadata).unwrap().unwrap();
        let logits = prober.logits(model, &[], &recorded.prompts).unwrap();
        assert!(recorded.compare(&logits, CONTRACT).is_ok());
        let scaled = |by: f32| -> Vec<Vec<f32>> {
            let scale = |logits: &Vec<f32>| logits.iter().map(|l| l * by).collect();
            logits.iter().map(scale).collect()
        };
        assert!(recorded.compare(&scaled(1.01), CONTRACT + 1).is_ok());
        assert!(recorded.compare(&scaled(2.0), CONTRACT + 1).is_err());
    }
}
