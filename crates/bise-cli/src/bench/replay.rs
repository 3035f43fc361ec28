//! Recorded texts, generated without and with drafts: what drafts are worth depends on the text,
//! not on the weights.

use super::measured::{Measured, Spent};
use super::timing::Bench;
use anyhow::{Context as _, Result, ensure};
use bise_model::{
    Context, ContextOptions, GenerateError, Limits, Session, Speculation, SpeculationOptions,
    TokenSampler,
};
use serde::Deserialize;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

/// A prompt, and an answer that a model may give to it, in tokens.
#[derive(Deserialize)]
pub struct Text {
    name: String,
    prompt: Vec<u32>,
    answer: Vec<u32>,
}

impl Text {
    /// The texts of a JSON file, for a model of `vocabulary` tokens.
    pub fn read(path: &Path, vocabulary: usize) -> Result<Vec<Self>> {
        let name = || path.display().to_string();
        let texts: Vec<Self> =
            serde_json::from_slice(&fs::read(path).with_context(name)?).with_context(name)?;
        for text in &texts {
            let Self {
                name,
                prompt,
                answer,
            } = text;
            let path = path.display();
            ensure!(!prompt.is_empty(), "{path}: text '{name}' has an empty prompt");
            ensure!(!answer.is_empty(), "{path}: text '{name}' has an empty answer");
            if let Some(token) = prompt
                .iter()
                .chain(answer)
                .find(|&&token| token as usize >= vocabulary)
            {
                anyhow::bail!(
                    "{path}: text '{name}' has token {token}, but the model has {vocabulary} tokens"
                );
            }
        }
        Ok(texts)
    }
}

/// Chooses what was recorded, whatever the model thinks of it.
struct Recorded<'a>(std::slice::Iter<'a, u32>);

impl TokenSampler for Recorded<'_> {
    fn sample(&mut self, _: &[f32], _: &[u32]) -> Result<u32, GenerateError> {
        Ok(*self.0.next().expect("no more is asked for than was recorded"))
    }
}

impl Bench<'_> {
    /// Generates the answer as often as asked, without and with drafts in turn.
    pub(super) fn replay(&self, text: &Text) -> Result<[Measured; 2]> {
        let options = ContextOptions {
            kv: self.kv,
            level: self.level,
            ..ContextOptions::new(text.prompt.len() + text.answer.len())
        };
        let mut session = Session::new(Context::new(self.model, options)?);
        session.append(&text.prompt);
        let mut samples = [Vec::new(), Vec::new()];
        for _ in 0..self.repetitions {
            for (drafts, samples) in [false, true].into_iter().zip(&mut samples) {
                session.speculate(drafts.then(|| Speculation::new(SpeculationOptions::default())));
                session.truncate(text.prompt.len());
                session.prefill()?;
                let limits = Limits {
                    max_tokens: text.answer.len(),
                    end: &[],
                };
                let start = Instant::now();
                session.generate(&[], limits, &mut Recorded(text.answer.iter()), |_| {
                    ControlFlow::Continue(())
                })?;
                samples.push(text.answer.len() as f64 / start.elapsed().as_secs_f64());
            }
        }
        let [plain, drafted] = samples;
        let answer = text.prompt.len()..text.prompt.len() + text.answer.len();
        let plain = self.measured(text.name.clone(), Spent::Bytes(self.cached(answer)), plain);
        let times = Spent::Instead(plain.median());
        let drafted = self.measured(format!("{}+drafts", text.name), times, drafted);
        Ok([plain, drafted])
    }
}
