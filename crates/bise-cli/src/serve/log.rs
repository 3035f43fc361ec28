//! The log on standard error: a line for each request.

use clap::ValueEnum;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Lines that may wait for whoever reads standard error; then some are left out.
const WAITING: usize = 4096;
/// How long the last lines may take.
const LAST: Duration = Duration::from_secs(1);

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// A JSON object each
    Json,
    /// Not at all
    Off,
}

/// What goes to the thread that writes: a line, or a wish to know when all before it is written.
enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Hands lines to a thread, so that who does not read standard error holds no request up.
#[derive(Clone)]
pub struct Log(SyncSender<Message>);

impl Log {
    /// Begins to write lines in this format; once a program.
    pub fn start(format: Format) -> Self {
        let (sender, messages) = mpsc::sync_channel(WAITING);
        std::thread::spawn(move || write(&messages));
        let (log, writer) = (Self(sender.clone()), move || Self(sender.clone()));
        let lines = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("warn,bise_serve=info"))
            .with_ansi(io::stderr().is_terminal())
            .with_writer(writer);
        // A host may have another log already, which it keeps.
        let _ = match format {
            Format::Text => lines.try_init(),
            Format::Json => lines.json().flatten_event(true).try_init(),
            Format::Off => Ok(()),
        };
        std::panic::set_hook(Box::new(|panic| {
            // What it says may be somebody's text.
            let place = panic.location().map(ToString::to_string);
            let place = place.unwrap_or_else(|| "an unknown place".to_owned());
            let mut err = io::stderr();
            let _ = writeln!(err, "error: a fault of the program at {place}; please report it");
        }));
        log
    }

    /// Waits until what was logged is written, if somebody reads it.
    pub fn flush(&self) {
        let (sender, written) = mpsc::sync_channel(1);
        if self.0.try_send(Message::Flush(sender)).is_ok() {
            let _ = written.recv_timeout(LAST);
        }
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.try_send(Message::Line(line.to_vec()));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(messages: &Receiver<Message>) {
    let mut err = io::stderr();
    for message in messages {
        match message {
            // When nobody reads, there is nobody to tell.
            Message::Line(line) => drop(err.write_all(&line)),
            Message::Flush(written) => drop(written.send(())),
        }
    }
}
