//! Embeddings against those that transformers' hidden states make.

mod common;

use bise_model::chat::Template;
use bise_model::sampler::SamplerOptions;
use bise_model::tokenizer::{Tokenizer, Vocabulary};
use bise_model::{EngineOptions, KvType, Model};
use bise_serve::request::Pooling;
use bise_serve::scheduler::SchedulerOptions;
use bise_serve::{Served, ServedOptions};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A text of `goldens/embeddings.json`.
#[derive(Deserialize)]
struct Row {
    model: String,
    ids: Vec<u32>,
    last: Vec<f32>,
    mean: Vec<f32>,
    cls: Vec<f32>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name)
}

/// A model whose passes take `rows` tokens.
fn served(name: &str, pooling: Pooling, rows: usize) -> Served {
    let (checkpoint, _) = bise_format::open(&fixture(name)).unwrap();
    let model = Model::from_checkpoint(checkpoint).unwrap();
    let vocabulary = Model::open(&fixture("demo.gguf")).unwrap();
    let vocabulary = Vocabulary::from_metadata(vocabulary.metadata()).unwrap();
    let mut engine = EngineOptions::default();
    (engine.kv, engine.rows) = (KvType::F32, rows);
    let template = Template::from_name("v1", model.metadata());
    let options = ServedOptions {
        names: vec!["tiny".to_owned()],
        template: template.map_err(|error| error.to_string()),
        pooling,
        engine,
        scheduler: SchedulerOptions {
            sequences: 1,
            queue: 8,
            context: 512,
        },
        sampling: SamplerOptions::default(),
    };
    Served::start(model, Tokenizer::new(vocabulary).unwrap(), options).unwrap()
}

#[test]
fn embeddings_are_those_of_transformers() {
    let rows = std::fs::read(fixture("goldens/embeddings.json")).unwrap();
    let rows: Vec<Row> = serde_json::from_slice(&rows).unwrap();
    assert!(rows.len() > 4);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let models: std::collections::BTreeSet<&str> = rows.iter().map(|row| &*row.model).collect();
    for name in models {
        for pooling in [Pooling::Last, Pooling::Mean, Pooling::Cls] {
            let of_rows = [512, 3].map(|rows| served(name, pooling, rows));
            for row in rows.iter().filter(|row| row.model == name) {
                let expected = match pooling {
                    Pooling::Last => &row.last,
                    Pooling::Mean => &row.mean,
                    Pooling::Cls => &row.cls,
                };
                let [whole, pieces] = of_rows
                    .each_ref()
                    .map(|served| runtime.block_on(served.embed(row.ids.clone())).unwrap());
                assert_eq!(whole, pieces, "in one pass or in several");
                assert_eq!(whole.len(), expected.len());
                for (found, expected) in whole.iter().zip(expected) {
                    let error = (found - expected).abs();
                    assert!(error < 1e-4, "{name} {pooling:?}: {found} against {expected}");
                }
            }
        }
    }
}
