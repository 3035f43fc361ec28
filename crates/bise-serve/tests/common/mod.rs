//! A server in this process, and requests to it.

#![allow(dead_code)] // not every test needs all of it

use bise_model::chat::Template;
use bise_model::sampler::SamplerOptions;
use bise_model::tokenizer::{TokenKind, Tokenizer, Vocabulary};
use bise_model::{EngineOptions, LoadOptions, Model};
use bise_serve::request::Pooling;
use bise_serve::scheduler::SchedulerOptions;
use bise_serve::{Served, ServedOptions, Server, ServerOptions};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Numbers that look random.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        ((self.0 >> 33) % most.max(1) as u64) as usize
    }

    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// What a test may want otherwise.
pub struct Setup {
    /// Below `fixtures/`.
    pub model: PathBuf,
    pub template: &'static str,
    /// Control tokens that the vocabulary has besides its own.
    pub controls: &'static [&'static str],
    /// What becomes of its vocabulary.
    pub vocabulary: fn(&mut Vocabulary),
    pub options: ServerOptions,
    pub engine: EngineOptions,
    pub scheduler: SchedulerOptions,
    pub sampling: SamplerOptions,
    pub pooling: Pooling,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            model: "demo.gguf".into(),
            template: "v1",
            controls: &[],
            vocabulary: |_| {},
            options: ServerOptions {
                port: 0,
                ..ServerOptions::default()
            },
            engine: EngineOptions::default(),
            scheduler: SchedulerOptions {
                sequences: 64,
                queue: 256,
                context: 512,
            },
            sampling: SamplerOptions::default(),
            pooling: Pooling::Last,
        }
    }
}

/// A server that runs until it is dropped.
pub struct Running {
    pub url: String,
    pub served: Arc<Served>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Setup {
    pub fn served(&self) -> Served {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
        let (checkpoint, _) = bise_format::open(&fixtures.join(&self.model)).unwrap();
        let model = Model::load(checkpoint, &LoadOptions::default()).unwrap();
        let mut vocabulary = Vocabulary::from_metadata(model.metadata()).unwrap();
        // The last pieces are rare ones.
        for (name, id) in self.controls.iter().zip((0..vocabulary.len()).rev()) {
            vocabulary.pieces[id] = (*name).to_owned();
            vocabulary.kinds[id] = TokenKind::Control;
        }
        (self.vocabulary)(&mut vocabulary);
        let tokenizer = Tokenizer::new(vocabulary).unwrap();
        let template = Template::from_name(self.template, model.metadata());
        let options = ServedOptions {
            names: vec!["tiny".to_owned()],
            template: template.map_err(|error| error.to_string()),
            pooling: self.pooling,
            engine: self.engine.clone(),
            scheduler: self.scheduler,
            sampling: self.sampling.clone(),
        };
        Served::start(model, tokenizer, options).unwrap()
    }

    pub fn run(self) -> Running {
        let served = Arc::new(self.served());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(Server::bind(self.options)).unwrap();
        let url = format!("http://{}", server.address());
        server.loading().ready(served.clone());
        let end = Arc::new(AtomicBool::new(false));
        let asked = end.clone();
        let thread = std::thread::spawn(move || {
            let end = async move {
                while !asked.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            runtime.block_on(server.run(end)).unwrap();
        });
        Running {
            url,
            served,
            end,
            thread: Some(thread),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        self.served.scheduler.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Makes the last tokens of a vocabulary the control tokens of all chat formats.
pub fn with_control_tokens(vocabulary: &mut Vocabulary) {
    const CONTROL: [&str; 19] = [
        "[INST]",
        "[/INST]",
        "[AVAILABLE_TOOLS]",
        "[/AVAILABLE_TOOLS]",
        "[TOOL_CALLS]",
        "[ARGS]",
        "[CALL_ID]",
        "[TOOL_RESULTS]",
        "[TOOL_CONTENT]",
        "[/TOOL_RESULTS]",
        "[SYSTEM_PROMPT]",
        "[/SYSTEM_PROMPT]",
        "[MODEL_SETTINGS]",
        "[/MODEL_SETTINGS]",
        "[THINK]",
        "[/THINK]",
        "[SUFFIX]",
        "[PREFIX]",
        "[MIDDLE]",
    ];
    for (i, name) in CONTROL.iter().enumerate() {
        let id = vocabulary.len() - 1 - i;
        vocabulary.pieces[id] = (*name).to_owned();
        vocabulary.kinds[id] = TokenKind::Control;
    }
    // They would name tokens that are others now.
    vocabulary.rules = None;
}

/// A model that thinks now and then, whatever it is asked: where its last tokens are those of
/// [`with_control_tokens`], those around thoughts are made likely.
pub fn thinking(seed: u64) -> Setup {
    let mut setup = Setup {
        template: "v13",
        vocabulary: with_control_tokens,
        ..Setup::default()
    };
    let ids = ["[THINK]", "[/THINK]"].map(|name| setup.served().tokenizer.token(name).unwrap());
    setup.sampling.logit_bias = ids.map(|id| (id, 11.0)).to_vec();
    setup.sampling.seed = Some(seed);
    setup
}

/// A client that takes every status as an answer.
fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into()
}

impl Running {
    pub fn get(&self, path: &str) -> (u16, Value) {
        let mut response = agent().get(format!("{}{path}", self.url)).call().unwrap();
        let status = response.status().as_u16();
        (status, response.body_mut().read_json().unwrap_or_default())
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.post_text(path, &body.to_string());
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    pub fn post_text(&self, path: &str, body: &str) -> (u16, String) {
        let request = agent().post(format!("{}{path}", self.url));
        let mut response = request.content_type("application/json").send(body).unwrap();
        let status = response.status().as_u16();
        (status, response.body_mut().read_to_string().unwrap())
    }

    /// Status and body, whatever they are; why there is none.
    pub fn post_bytes(&self, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let request = agent().post(format!("{}{path}", self.url));
        let response = request.content_type("application/json").send(body);
        let mut response = response.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response
            .body_mut()
            .read_to_vec()
            .map_err(|error| error.to_string())?;
        Ok((status, body))
    }

    /// The data of the events of a stream.
    pub fn stream(&self, path: &str, body: &Value) -> Vec<String> {
        let (status, text) = self.post_text(path, &body.to_string());
        assert_eq!(status, 200, "{text}");
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(str::to_owned).collect()
    }
}
