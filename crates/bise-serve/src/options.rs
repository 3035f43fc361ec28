//! How a server is run.

use std::time::Duration;

/// What a server is told, besides its model.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The name or address to listen at.
    pub host: String,
    /// The port; 0 for any that is free.
    pub port: u16,
    /// What requests must show as their key; none is asked for when empty.
    pub keys: Vec<String>,
    /// Whether there may be no key although other machines reach the host.
    pub no_key: bool,
    /// Web pages of other origins that may use the server: `https://example.com`, or `*` for all.
    pub allow_origins: Vec<String>,
    /// Names of this server in a request's `Host`, besides loopback names and its address.
    pub allow_hosts: Vec<String>,
    /// Bytes of a request's body at most.
    pub body: usize,
    /// How long answers may go on after the server was asked to end.
    pub grace: Duration,
    /// Whether texts may stand in logs.
    pub log_text: bool,
    /// Connections that are open at a time; others wait until one of them is closed.
    pub connections: usize,
    /// How long a client may take for what it has to do.
    pub patience: Patience,
}

/// How long a client may take before it is given up.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the head of a request, from when the connection is free for it.
    pub head: Duration,
    /// For the body of a request.
    pub body: Duration,
    /// For a piece of a response that waits for it.
    pub response: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            body: Duration::from_secs(60),
            response: Duration::from_secs(60),
        }
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8080,
            keys: Vec::new(),
            no_key: false,
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            body: 32 << 20,
            grace: Duration::from_secs(30),
            log_text: false,
            connections: 1024,
            patience: Patience::default(),
        }
    }
}
