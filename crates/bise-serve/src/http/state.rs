//! What all handlers see.

use crate::fault::Fault;
use crate::options::ServerOptions;
use crate::served::Served;
use axum::http::StatusCode;
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// The server's state, shared by all requests.
pub type App = Arc<State>;

/// Bodies up to this many bytes are read whenever they come, and parsed at once.
pub const SMALL: usize = 64 << 10;

/// A server whose model may still be on its way.
pub struct State {
    /// How it is run.
    pub options: ServerOptions,
    /// Where it listens.
    pub address: SocketAddr,
    /// Bytes of weights that are ready, and that there are.
    pub loaded: AtomicU64,
    /// Bytes of all weights; 0 before it is known.
    pub size: AtomicU64,
    /// The model, when it is loaded.
    served: OnceLock<Arc<Served>>,
    /// What metrics are read from.
    pub metrics: PrometheusHandle,
    /// Room for bodies that are being read, a permit for each [`SMALL`] bytes: for eight of the
    /// largest.
    pub room: Semaphore,
    /// No more requests are answered.
    ending: AtomicBool,
}

impl State {
    /// A server without a model yet.
    pub fn new(options: ServerOptions, address: SocketAddr, metrics: PrometheusHandle) -> Self {
        Self {
            address,
            loaded: AtomicU64::new(0),
            size: AtomicU64::new(0),
            served: OnceLock::new(),
            metrics,
            room: Semaphore::new(8 * options.body.div_ceil(SMALL)),
            ending: AtomicBool::new(false),
            options,
        }
    }

    /// From now on the model is there.
    pub fn ready(&self, served: Arc<Served>) {
        // Only one is loaded.
        let _ = self.served.set(served);
    }

    /// The share of the weights that is ready.
    pub fn progress(&self) -> f64 {
        let size = self.size.load(Ordering::Relaxed);
        let loaded = self.loaded.load(Ordering::Relaxed);
        match size {
            0 => 0.0,
            _ => (loaded as f64 / size as f64).min(1.0),
        }
    }

    /// The model, if it is loaded.
    pub fn loaded_model(&self) -> Option<&Arc<Served>> {
        self.served.get()
    }

    /// The model.
    ///
    /// # Errors
    /// 503, with how far it is, while it is loaded.
    pub fn served(&self) -> Result<&Arc<Served>, Fault> {
        self.served.get().ok_or_else(|| {
            let percent = (self.progress() * 100.0) as u32;
            let message = format!("the model is being loaded: {percent} %");
            Fault::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message)
                .code("loading_model")
                .retry_after(1)
        })
    }

    /// From now on no more requests are answered; those that are go on.
    pub fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
        if let Some(served) = self.served.get() {
            served.scheduler.end();
        }
    }

    /// Whether the server is about to end.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// Whether the thread that runs the model has ended although it should not.
    pub fn has_failed(&self) -> bool {
        let served = self.served.get();
        !self.is_ending() && served.is_some_and(|served| !served.scheduler.is_open())
    }
}
