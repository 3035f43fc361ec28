//! `bise serve`: a model for clients that speak HTTP.

use crate::messages::note;
use crate::outcome::Outcome;
use crate::runtime::{self, Runtime};
use crate::{interrupt, loading};
use anyhow::{Context as _, Result};
use bise_model::sampler::SamplerOptions;
use bise_serve::request::Pooling;
use bise_serve::scheduler::SchedulerOptions;
use bise_serve::{Served, ServedOptions, Server, ServerOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Serve a model to clients of OpenAI, Ollama, Anthropic and Mistral
#[derive(clap::Args)]
pub struct Args {
    /// The model [default: the tiny one that is part of the program]
    model: Option<PathBuf>,
    /// Address to listen at
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen at; 0 for any that is free
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Answers that are written at a time at most
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    sequences: u16,
    #[command(flatten)]
    runtime: Runtime,
}

/// Runs the command.
pub fn run(args: Args) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> Result<Outcome> {
    let options = ServerOptions {
        host: args.host.clone(),
        port: args.port,
        ..ServerOptions::default()
    };
    let server = Server::bind(options).await.context("cannot listen")?;
    println!("listening at http://{}", server.address()?);
    let loading = server.loading();
    let load = tokio::task::spawn_blocking(move || -> Result<()> {
        loading.ready(Arc::new(open(&args)?));
        note("ready");
        Ok(())
    });
    let interrupt = interrupt::Interrupt::listen();
    let end = async move {
        while !interrupt.pressed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    load.await.context("the model could not be loaded")??;
    server.run(end).await.context("cannot take connections")?;
    Ok(Outcome::Done)
}

/// Loads the model.
fn open(args: &Args) -> Result<Served> {
    let path = args.model.as_deref();
    let model = args.runtime.open(path)?;
    let tokenizer = runtime::tokenizer(&model, path)?;
    let template = runtime::template(None, path, model.metadata(), &tokenizer);
    let (engine, context) = args.runtime.engine(model.config())?;
    let options = ServedOptions {
        names: vec![loading::name(path)],
        template: template.map_err(|error| format!("{error:#}")),
        pooling: Pooling::Last,
        engine,
        scheduler: SchedulerOptions {
            sequences: usize::from(args.sequences),
            queue: 256,
            context,
        },
        sampling: SamplerOptions::default(),
    };
    Served::start(model, tokenizer, options).context("cannot start a thread")
}
