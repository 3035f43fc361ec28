//! `bise serve`: a model for clients that speak HTTP.
//!
//! The server listens first and loads the model behind, so that who started it knows the port at
//! once, and clients are told how far it is.

mod args;
mod log;

pub use args::Args;

use crate::interrupt::Interrupt;
use crate::loading;
use crate::machine;
use crate::messages::note;
use crate::outcome::Outcome;
use crate::runtime;
use anyhow::{Context as _, Error, Result, anyhow};
use bise_serve::scheduler::SchedulerOptions;
use bise_serve::{Loading, Served, ServedOptions, Server, ServerOptions};
use log::Log;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often it is looked whether the server should end.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the command.
pub fn run(args: Args) -> Result<Outcome> {
    let options = args.server()?;
    let log = Log::start(args.log_format());
    let interrupt = Interrupt::listen();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(machine::cores().clamp(2, 8))
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let outcome = runtime.block_on(serve(args, options, &interrupt));
    // A model that is still being loaded holds nobody up.
    runtime.shutdown_background();
    log.flush();
    outcome
}

async fn serve(args: Args, options: ServerOptions, interrupt: &Interrupt) -> Result<Outcome> {
    let server = Server::bind(options).await?;
    tell(format_args!("listening at http://{}", server.address()));
    let parent_left = watch_parent(args.exits_with_parent());
    let end = async {
        while !interrupt.pressed() && !parent_left.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK).await;
        }
    };
    let loading = server.loading();
    let load = tokio::task::spawn_blocking(move || load(&args, &loading));
    let failed = async {
        let problem: Error = match load.await {
            Ok(Ok(())) => {
                tell("ready");
                std::future::pending().await
            }
            Ok(Err(problem)) => problem,
            Err(_) => anyhow!("the model could not be loaded; this is a fault of the program"),
        };
        problem
    };
    tokio::select! {
        ended = server.run(end) => ended.map(|()| Outcome::Done).map_err(Error::from),
        problem = failed => Err(problem),
    }
}

/// Prints a line for whoever started the server, who need not read it.
fn tell(line: impl Display) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Becomes true when the other end of standard input is closed, if that is what is waited for.
fn watch_parent(wanted: bool) -> Arc<AtomicBool> {
    let left = Arc::new(AtomicBool::new(false));
    let noticed = left.clone();
    if wanted {
        std::thread::spawn(move || {
            let mut some = [0; 1024];
            while io::stdin().read(&mut some).is_ok_and(|n| n > 0) {}
            noticed.store(true, Ordering::Relaxed);
        });
    }
    left
}

/// Loads the model, and says so.
fn load(args: &Args, loading: &Loading) -> Result<()> {
    let served = served(args, &|more, all| {
        loading.size(all);
        loading.advance(more);
    })?;
    loading.ready(Arc::new(served));
    Ok(())
}

/// The model that `args` name, loaded and answering; `watch` is told that so many more bytes of so
/// many are there.
pub fn served(args: &Args, watch: &(dyn Fn(u64, u64) + Sync)) -> Result<Served> {
    let (which, runtime) = (args.path(), &args.runtime);
    let model = runtime.open_watched(which, watch)?;
    let named = args.template.as_deref();
    let tokenizer = runtime::tokenizer_for(&model, which, named)?;
    let template = match runtime::template(named, which, model.metadata(), &tokenizer) {
        // What was asked for has to work.
        Err(problem) if named.is_some() => return Err(problem),
        template => template.map_err(|problem| format!("{problem:#}")),
    };
    let (engine, context) = args.together.engine(runtime, &model)?;
    let sequences = args.together.sequences();
    if !runtime.quiet() {
        note(format_args!(
            "up to {sequences} answers at a time, texts of up to {context} tokens, \
             {} for their keys and values",
            loading::size(engine.kv_memory)
        ));
    }
    let options = ServedOptions {
        names: args.names(model.metadata())?,
        template,
        pooling: args.pooling(model.metadata())?,
        engine,
        scheduler: SchedulerOptions {
            sequences,
            queue: args.queue(),
            context,
        },
        sampling: args.sampling(&tokenizer)?,
    };
    Served::start(model, tokenizer, options).context("cannot start a thread")
}
