//! Signals that ask the program to end: Ctrl-C (SIGINT), SIGTERM, and SIGHUP of a terminal that
//! goes away.
//!
//! Where nothing would be lost the program ends at once, with 128 and the signal's number. Work
//! that would leave something behind asks to be told instead, as [`Interrupt`]; if it is told
//! again, the program ends all the same.

use crate::{messages, shown};
use anyhow::{Context as _, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

const SIGINT: i32 = 2;

/// What there is to know about signals.
#[derive(Default)]
struct State {
    /// How many signals the work takes that goes on; 0 when there is none.
    patience: u32,
    /// How long it may take after the first one, and what is said if it takes longer.
    grace: Option<(Duration, &'static str)>,
    /// Since the last look.
    times: u32,
    /// The one that counts: any other goes before Ctrl-C.
    signal: Option<i32>,
    /// How the terminal was before lines were edited on it.
    #[cfg(unix)]
    terminal: Option<rustix::termios::Termios>,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);
/// Whether there is a signal.
static FLAG: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

fn state() -> std::sync::MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens from now on; once a program.
#[cfg(unix)]
pub fn listen() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGTERM};
    let heard = [SIGINT, SIGTERM, SIGHUP]
        .into_iter()
        .filter(|&signal| !is_ignored(signal));
    let mut signals =
        signal_hook::iterator::Signals::new(heard).context("cannot listen for signals")?;
    std::thread::spawn(move || signals.forever().for_each(heed));
    Ok(())
}

/// Listens from now on; once a program.
#[cfg(not(unix))]
pub fn listen() -> Result<()> {
    ctrlc::set_handler(|| heed(SIGINT)).context("cannot listen for Ctrl-C")
}

/// Whether whoever started the program wants it to ignore a signal, as `nohup` does. Linux tells;
/// elsewhere there is no such file.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// There was no signal.
pub fn forget() {
    *state() = State::default();
    FLAG.store(false, Ordering::Relaxed);
}

/// A signal has come.
pub fn heed(signal: i32) {
    let mut state = state();
    if signal != SIGINT || state.signal.is_none() {
        state.signal = Some(signal);
    }
    FLAG.store(true, Ordering::Relaxed);
    state.times += 1;
    if state.times >= state.patience.max(1) {
        end(&state);
    }
    if let Some((grace, last_words)) = state.grace {
        drop(state);
        std::thread::sleep(grace);
        let state = self::state();
        if state.grace.is_some() {
            messages::note(last_words);
            end(&state);
        }
    }
}

/// Ends the program, and leaves the terminal as it was.
fn end(state: &State) -> ! {
    shown::clear();
    #[cfg(unix)]
    if let Some(terminal) = &state.terminal {
        use rustix::termios::{OptionalActions, tcsetattr};
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, terminal);
        messages::say("\x1b[?2004l");
    }
    std::process::exit(code(state).into())
}

fn code(state: &State) -> u8 {
    (128 + state.signal.unwrap_or(SIGINT)) as u8
}

/// The exit code of a program that a signal has ended.
pub fn exit_code() -> u8 {
    code(&state())
}

/// Remembers how the terminal is, before lines are edited on it.
#[cfg(unix)]
pub fn remember_terminal() {
    state().terminal = rustix::termios::tcgetattr(std::io::stdin()).ok();
}

/// Windows gives the terminal back by itself.
#[cfg(not(unix))]
pub fn remember_terminal() {}

/// Work that wants to end well: it looks whether there was a signal, and a second one ends the
/// program.
pub struct Interrupt(());

impl Interrupt {
    /// Begins the work.
    pub fn listen() -> Self {
        Self::listen_until(2)
    }

    /// Begins work that takes signals: number `last` since [`clear`](Self::clear) ends the program.
    pub fn listen_until(last: u32) -> Self {
        let work = Self(());
        work.resume(last);
        work
    }

    /// Begins work that loses nothing when it is cut off, but is better ended: if that takes longer
    /// than `grace`, the program says `last_words` and ends.
    pub fn listen_for(grace: Duration, last_words: &'static str) -> Self {
        let work = Self::listen();
        state().grace = Some((grace, last_words));
        work
    }

    /// From here on the work takes the time that it needs.
    pub fn take_time(&self) {
        state().grace = None;
    }

    /// Nothing is to be lost for a while: signals end the program at once.
    pub fn rest(&self) {
        let mut state = state();
        state.patience = 0;
        state.times = 0;
        if self.asked_to_end_with(&state) {
            end(&state);
        }
    }

    /// Goes on after a [`rest`](Self::rest).
    pub fn resume(&self, last: u32) {
        let mut state = state();
        (state.patience, state.times) = (last, 0);
    }

    /// The flag that becomes true.
    pub fn flag(&self) -> Arc<AtomicBool> {
        FLAG.clone()
    }

    /// Whether there was a signal.
    pub fn pressed(&self) -> bool {
        FLAG.load(Ordering::Relaxed)
    }

    /// Whether there was another signal than Ctrl-C.
    pub fn asked_to_end(&self) -> bool {
        self.asked_to_end_with(&state())
    }

    fn asked_to_end_with(&self, state: &State) -> bool {
        state.signal.is_some_and(|signal| signal != SIGINT)
    }

    /// Forgets that Ctrl-C was pressed.
    pub fn clear(&self) {
        let mut state = state();
        state.times = 0;
        if !self.asked_to_end_with(&state) {
            state.signal = None;
            FLAG.store(false, Ordering::Relaxed);
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        let mut state = state();
        (state.patience, state.grace) = (0, None);
    }
}
