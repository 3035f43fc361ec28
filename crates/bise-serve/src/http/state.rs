//! What all handlers see.

use crate::fault::Fault;
use crate::options::ServerOptions;
use crate::served::Served;
use axum::http::StatusCode;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The server's state, shared by all requests.
pub type App = Arc<State>;

/// A server whose model may still be on its way.
pub struct State {
    /// How it is run.
    pub options: ServerOptions,
    /// Bytes of weights that are ready, and that there are.
    pub loaded: AtomicU64,
    /// Bytes of all weights; 0 before it is known.
    pub size: AtomicU64,
    /// The model, when it is loaded.
    served: OnceLock<Arc<Served>>,
    /// What metrics are read from.
    pub metrics: PrometheusHandle,
}

impl State {
    /// A server without a model yet.
    pub fn new(options: ServerOptions, metrics: PrometheusHandle) -> Self {
        Self {
            options,
            loaded: AtomicU64::new(0),
            size: AtomicU64::new(0),
            served: OnceLock::new(),
            metrics,
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
}
