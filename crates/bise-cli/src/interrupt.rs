//! Ctrl-C: the first asks for a clean end, later ones end the program.

use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Becomes true when the user presses Ctrl-C.
#[derive(Clone)]
pub struct Interrupt {
    pressed: Arc<AtomicBool>,
    /// How often since the last look.
    times: Arc<AtomicU32>,
}

impl Interrupt {
    /// Starts to listen; once a program. The second press ends it.
    pub fn listen() -> Result<Self> {
        Self::listen_until(2)
    }

    /// Starts to listen; once a program. The press number `last` since [`clear`](Self::clear) ends it.
    pub fn listen_until(last: u32) -> Result<Self> {
        let interrupt = Self {
            pressed: Arc::default(),
            times: Arc::default(),
        };
        let seen = interrupt.clone();
        let handler = move || {
            seen.pressed.store(true, Ordering::Relaxed);
            if seen.times.fetch_add(1, Ordering::Relaxed) + 1 >= last {
                std::process::exit(130);
            }
        };
        ctrlc::set_handler(handler).context("cannot listen for Ctrl-C")?;
        Ok(interrupt)
    }

    /// The flag that becomes true.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.pressed.clone()
    }

    /// Whether it was pressed.
    pub fn pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// Forgets that it was pressed.
    pub fn clear(&self) {
        self.pressed.store(false, Ordering::Relaxed);
        self.times.store(0, Ordering::Relaxed);
    }
}
