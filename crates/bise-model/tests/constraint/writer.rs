//! Models that write under a constraint.

use bise_model::constraint::{Constraint, ConstraintError, Grammar, TokenTable};
use bise_model::sampler::{Mask, Sampler, SamplerOptions};
use bise_model::tokenizer::{Detokenizer, Tokenizer, Vocabulary};
use bise_model::{Context, ContextOptions, Limits, Model, Session};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::LazyLock;

struct Story {
    model: Model,
    tokenizer: Tokenizer,
    table: TokenTable,
}

static STORY: LazyLock<Story> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/demo.gguf");
    let model = Model::open(&path).unwrap();
    let tokenizer = Tokenizer::new(Vocabulary::from_metadata(model.metadata()).unwrap()).unwrap();
    let table = TokenTable::new(&tokenizer).unwrap();
    Story {
        model,
        tokenizer,
        table,
    }
});

/// The tiny story teller at a temperature.
pub struct Writer {
    temperature: f32,
}

/// One that takes the best token, and one that takes nearly any.
pub fn writers() -> &'static [Writer] {
    &[Writer { temperature: 0.0 }, Writer { temperature: 2.0 }]
}

impl Writer {
    /// What it writes under `grammar` after "Once", up to so many tokens, and whether the model
    /// ended the text.
    pub fn write(
        &self,
        grammar: &Grammar,
        seed: u64,
        tokens: usize,
    ) -> Result<(String, bool), ConstraintError> {
        let story = &*STORY;
        let options = SamplerOptions {
            temperature: self.temperature,
            seed: Some(seed),
            ..SamplerOptions::off()
        };
        let mut sampler = Sampler::new(options).unwrap();
        sampler.set_mask(Some(Box::new(Constraint::new(&story.table, grammar)?)));
        let end = story.tokenizer.vocabulary().eos.unwrap();
        let limits = Limits {
            max_tokens: tokens,
            end: &[end],
        };
        let mut session =
            Session::new(Context::new(&story.model, ContextOptions::new(tokens + 16)).unwrap());
        let mut text = Detokenizer::continuing(&story.tokenizer);
        let mut written = String::new();
        let prompt = story.tokenizer.encode_prompt(b"Once");
        let stop = session.generate(&prompt, limits, &mut sampler, |token| {
            written.push_str(text.push(token));
            ControlFlow::Continue(())
        });
        written.push_str(text.finish());
        let complete = stop.unwrap() == bise_model::Stop::EndOfText;
        // A character that was cut is no part of the text.
        let written = if complete {
            written
        } else {
            written.trim_end_matches('\u{fffd}').to_owned()
        };
        Ok((written, complete))
    }

    /// Whether `text`, spelled in bytes, follows `grammar` to its end.
    pub fn accepts(&self, grammar: &Grammar, text: &str) -> bool {
        let story = &*STORY;
        let mut constraint = Constraint::new(&story.table, grammar).unwrap();
        let byte = |b: u8| story.tokenizer.token(&format!("<0x{b:02X}>")).unwrap();
        let mut history: Vec<u32> = Vec::new();
        for b in text.bytes() {
            constraint.look(&history).unwrap();
            if !constraint.allows(byte(b)) {
                return false;
            }
            history.push(byte(b));
        }
        constraint.look(&history).unwrap();
        constraint.allows(story.tokenizer.vocabulary().eos.unwrap())
    }

    /// Looks at longer, shorter and other histories, in any order: each time as a constraint that
    /// never saw another.
    pub fn check_rollback(grammar: &Grammar) {
        let story = &*STORY;
        let byte = |b: u8| story.tokenizer.token(&format!("<0x{b:02X}>")).unwrap();
        let new = || {
            let mut constraint = Constraint::new(&story.table, grammar).unwrap();
            constraint.begin(1).unwrap();
            constraint
        };
        let mut used = new();
        for text in [
            "[1,2",
            "[1,2,33,4",
            "[1,",
            "[-5, 6]",
            "[",
            "[1,2,33,4,5",
            "",
            "[1,2]",
        ] {
            let history: Vec<u32> = [1].into_iter().chain(text.bytes().map(byte)).collect();
            let mut fresh = new();
            fresh.look(&history).unwrap();
            used.look(&history).unwrap();
            let allowed = |c: &Constraint| (0..1024).filter(|&t| c.allows(t)).collect::<Vec<_>>();
            assert_eq!(allowed(&used), allowed(&fresh), "{text}");
            assert_eq!(used.is_complete(), text.ends_with(']'), "{text}");
            // What does not follow is said, and does no harm.
            let wrong = [&history[..], &[byte(b'x')]].concat();
            assert!(
                used.look(&wrong)
                    .unwrap_err()
                    .to_string()
                    .contains("does not follow")
            );
        }
        assert!(
            used.look(&[])
                .unwrap_err()
                .to_string()
                .contains("shorter than the prompt")
        );
    }
}
