//! A server, from when it listens to when it ends.

use crate::http::router;
use crate::http::state::State;
use crate::options::ServerOptions;
use crate::served::Served;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;

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
    /// When the address is none, or taken.
    pub async fn bind(options: ServerOptions) -> io::Result<Self> {
        let listener = TcpListener::bind((options.host.as_str(), options.port)).await?;
        let recorder = PrometheusBuilder::new().build_recorder();
        let metrics = recorder.handle();
        // Another server of this process has one already.
        let _ = metrics::set_global_recorder(recorder);
        let state = Arc::new(State::new(options, metrics));
        Ok(Self { listener, state })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where to say how the model is coming.
    pub fn loading(&self) -> Loading {
        Loading(self.state.clone())
    }

    /// Answers requests until `end` is ready; then takes no more, and lets answers go on for the
    /// grace that there is.
    ///
    /// # Errors
    /// When connections cannot be taken.
    pub async fn run(self, end: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let Self { listener, state } = self;
        axum::serve(listener, router(state))
            .with_graceful_shutdown(end)
            .await
    }
}
