//! Connections: so many at a time, and none that takes time without end.

use crate::options::{Patience, ServerOptions};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutWriter;

/// How long to wait for connections again when the system gives none: it has no files left.
const PAUSE: Duration = Duration::from_millis(100);
/// How long answers that were given up may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The open connections of a server, all of which are closed when it is dropped.
pub struct Connections<'l> {
    listener: &'l TcpListener,
    router: Router,
    http: http1::Builder,
    patience: Patience,
    most: usize,
    open: JoinSet<()>,
    ending: GracefulShutdown,
}

impl<'l> Connections<'l> {
    /// Connections to `listener`, of which there are none yet.
    pub fn new(listener: &'l TcpListener, router: Router, options: &ServerOptions) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(options.patience.head);
        Self {
            listener,
            router,
            http,
            patience: options.patience,
            most: options.connections.max(1),
            open: JoinSet::new(),
            ending: GracefulShutdown::new(),
        }
    }

    /// Takes connections and answers their requests, and does not end.
    pub async fn serve(&mut self) {
        loop {
            tokio::select! {
                stream = self.listener.accept(), if self.open.len() < self.most => match stream {
                    Ok((stream, _)) => self.take(stream),
                    // Who wanted it may have gone; or there are no files left.
                    Err(_) => sleep(PAUSE).await,
                },
                Some(_) = self.open.join_next() => {}
            }
        }
    }

    fn take(&mut self, stream: TcpStream) {
        // Tokens are to go out one by one; where that cannot be set they come a little later.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(self.patience.response));
        let service = TowerToHyperService::new(self.router.clone());
        let stream = TokioIo::new(Box::pin(stream));
        let connection = self.http.serve_connection(stream, service);
        let connection = self.ending.watch(connection);
        self.open.spawn(async move {
            // A client that has left, or was too slow: its request's line tells.
            let _ = connection.await;
        });
    }

    /// Closes connections as soon as they have the answer that they wait for; after `grace`, calls
    /// `give_up` and closes all that are left. New ones are answered once.
    pub async fn finish<F: Future>(mut self, grace: Duration, give_up: impl FnOnce() -> F) {
        let Self { open, ending, .. } = &mut self;
        let ending = std::mem::take(ending);
        let _open = std::mem::take(open);
        self.http.keep_alive(false);
        let end = async {
            let mut closed = pin!(ending.shutdown());
            if timeout(grace, &mut closed).await.is_err() {
                give_up().await;
                // Who does not listen even then is cut off.
                let _ = timeout(LAST_WORDS, closed).await;
            }
        };
        tokio::select! {
            () = end => {}
            () = self.serve() => {}
        }
    }
}
