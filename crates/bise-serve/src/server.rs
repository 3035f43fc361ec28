//! A server, from when it listens to when it ends.

use crate::http::connections::Connections;
use crate::http::state::State;
use crate::http::{recorder, router};
use crate::options::ServerOptions;
use crate::served::Served;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, lookup_host};
use tokio::time::sleep;

/// How often measurements are put in order, and the thread that runs the model is looked after.
const ROUND: Duration = Duration::from_secs(1);

/// Why there is no server, or none any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Another program listens there.
    #[error(
        "port {port} of {host} is taken by another program; --port names another one, and 0 takes any \
         that is free"
    )]
    Taken {
        /// The host that was asked for.
        host: String,
        /// The port that was asked for.
        port: u16,
    },
    /// The address is none of this machine's, or may not be listened at.
    #[error("cannot listen at {host}, port {port}")]
    Address {
        /// The host that was asked for.
        host: String,
        /// The port that was asked for.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// Other machines could use the server.
    #[error(
        "other machines reach this server at {host}, so it needs a key: name a file of keys with \
         --api-key-file, or set BISE_API_KEY; --no-key lets everybody use it"
    )]
    NoKey {
        /// The host that was asked for.
        host: String,
    },
    /// The thread that runs the model has ended.
    #[error("the thread that runs the model has ended; this is a fault of the program")]
    Failed,
}

/// A server that listens. Its model may come later.
pub struct Server {
    listener: TcpListener,
    state: Arc<State>,
}

/// Tells a server how far its model is.
#[derive(Clone)]
pub struct Loading(Arc<State>);

impl Loading {
    /// There are so many bytes of weights.
    pub fn size(&self, bytes: u64) {
        self.0.size.store(bytes, Ordering::Relaxed);
    }

    /// So many more bytes are ready.
    pub fn advance(&self, bytes: u64) {
        self.0.loaded.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The model is there.
    pub fn ready(&self, served: Arc<Served>) {
        self.0.ready(served);
    }
}

impl Server {
    /// Listens at the host and port of `options`.
    ///
    /// # Errors
    /// When the address is none, or taken, or other machines reach it and there is no key.
    pub async fn bind(options: ServerOptions) -> Result<Self, ServerError> {
        let (host, port) = (options.host.clone(), options.port);
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ServerError::Taken {
                host: host.clone(),
                port,
            },
            _ => ServerError::Address {
                host: host.clone(),
                port,
                source,
            },
        };
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = lookup_host((name, port)).await.map_err(failed)?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        let is_closed = addresses.iter().all(|address| address.ip().is_loopback());
        if !is_closed && options.keys.is_empty() && !options.no_key {
            return Err(ServerError::NoKey { host });
        }
        let listener = TcpListener::bind(&addresses[..]).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let state = State::new(options, address, recorder::handle());
        let state = Arc::new(state);
        Ok(Self { listener, state })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.state.address
    }

    /// Where to say how the model is coming.
    pub fn loading(&self) -> Loading {
        Loading(self.state.clone())
    }

    /// Answers requests until `end` is ready; then takes no more, and lets answers go on for the
    /// grace that there is.
    ///
    /// # Errors
    /// When the model cannot be run any more.
    pub async fn run(self, end: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self { listener, state } = self;
        let options = &state.options;
        let mut connections = Connections::new(&listener, router(state.clone()), options);
        tokio::select! {
            () = end => {}
            () = connections.serve() => {}
            () = look_after(&state) => return Err(ServerError::Failed),
        }
        state.end();
        let stop = || stop(state.clone());
        connections.finish(options.grace, stop).await;
        stop().await;
        Ok(())
    }
}

/// Keeps measurements in order for as long as the model can be run.
async fn look_after(state: &State) {
    loop {
        sleep(ROUND).await;
        state.metrics.run_upkeep();
        if state.has_failed() {
            // Unless it was stopped by who is about to end the server.
            return sleep(ROUND / 10).await;
        }
    }
}

/// Gives up all answers, of which those who wait for them are told.
async fn stop(state: Arc<State>) {
    let stop = move || {
        if let Some(served) = state.loaded_model() {
            served.scheduler.stop();
        }
    };
    // It waits for a thread, and has nothing to say.
    let _ = tokio::task::spawn_blocking(stop).await;
}
