//! Who looks on while a model comes: a bar, and Ctrl-C.

use crate::interrupt::Interrupt;
use crate::messages::note;
use crate::progress::Bar;
use anyhow::Result;
use bise_hub::{Hub, Name, Pulled, Watch};
use std::sync::OnceLock;

/// Gets `name`, for a person who was asked.
pub fn get(hub: &Hub, name: &Name) -> Result<Pulled> {
    let interrupt = Interrupt::listen();
    let looker = Looker::new(&interrupt);
    let pulled = hub.pull(name, &looker);
    looker.end();
    Ok(pulled?)
}

/// Shows what comes, and stops when Ctrl-C was pressed.
pub struct Looker<'a> {
    interrupt: &'a Interrupt,
    bar: OnceLock<Bar>,
}

impl<'a> Looker<'a> {
    /// Listens to `interrupt`.
    pub fn new(interrupt: &'a Interrupt) -> Self {
        let bar = OnceLock::new();
        Self { interrupt, bar }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = self.bar.get() {
            bar.end();
        }
    }
}

impl Watch for Looker<'_> {
    fn total(&self, bytes: u64) {
        self.bar.get_or_init(|| Bar::download("getting", bytes));
    }

    fn advance(&self, bytes: i64) {
        if let Some(bar) = self.bar.get() {
            bar.moved(bytes);
        }
    }

    fn note(&self, what: &str) {
        if !what.is_empty() && what != "checking" {
            note(what);
        }
    }

    fn stopped(&self) -> bool {
        self.interrupt.pressed()
    }
}
