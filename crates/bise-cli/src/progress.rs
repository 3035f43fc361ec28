//! How far the work is: a bar on the terminal, where it takes over a second.

use crate::interrupt::Interrupt;
use crate::messages::is_hosted;
use crate::shown;
use bise_model::Watch;
use bise_quantize::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Work that takes less is not worth a bar.
const SOON: Duration = Duration::from_secs(1);

/// A bar on standard error, if that is a terminal; gone when it is dropped.
pub struct Bar {
    bar: ProgressBar,
    start: Instant,
    /// Whether it is taken away, or never to be shown.
    ended: AtomicBool,
    /// Where the part of the work begins that is watched.
    from: AtomicU64,
}

impl Bar {
    /// `what` is done with so many bytes.
    pub fn bytes(what: &'static str, total: u64) -> Self {
        Self::new(what, "{bytes}/{total_bytes}", total)
    }

    /// `what` is done with so many `things`.
    pub fn count(what: &'static str, total: u64, things: &str) -> Self {
        Self::new(what, &format!("{{pos}}/{{len}} {things}"), total)
    }

    /// `what` comes with so many bytes, at a rate that is shown.
    pub fn download(what: &'static str, total: u64) -> Self {
        Self::new(what, "{bytes}/{total_bytes}, {bytes_per_sec}", total)
    }

    /// `what` goes on, nobody knows how long.
    pub fn waiting(what: &'static str) -> Arc<Self> {
        let bar = Arc::new(Self::new(what, "", 0));
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        bar.bar.set_style(style.expect("a valid template"));
        let waiting = Arc::downgrade(&bar);
        std::thread::spawn(move || {
            std::thread::sleep(SOON);
            if let Some(bar) = waiting.upgrade() {
                bar.show();
                bar.bar.enable_steady_tick(Duration::from_millis(100));
            }
        });
        bar
    }

    fn new(what: &'static str, count: &str, total: u64) -> Self {
        let style =
            ProgressStyle::with_template(&format!("{{msg}} {{wide_bar}} {count}, {{eta}} left"));
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        Self {
            bar: bar
                .with_style(style.expect("a valid template"))
                .with_message(what),
            start: Instant::now(),
            ended: AtomicBool::new(is_hosted()),
            from: AtomicU64::new(0),
        }
    }

    /// So much more is done.
    pub fn advance(&self, more: u64) {
        self.show();
        self.bar.inc(more);
    }

    /// So much more is done, or less.
    pub fn moved(&self, by: i64) {
        match u64::try_from(by) {
            Ok(more) => self.advance(more),
            Err(_) => self.bar.dec(by.unsigned_abs()),
        }
    }

    /// So much is done in all.
    pub fn set(&self, done: u64) {
        self.show();
        self.bar.set_position(done);
    }

    /// So much is done, of so much.
    pub fn set_of(&self, done: usize, all: usize) {
        self.bar.set_length(all as u64);
        self.set(done as u64);
    }

    fn show(&self) {
        let ended = self.ended.load(Ordering::Relaxed);
        if !ended && self.bar.is_hidden() && self.start.elapsed() >= SOON {
            shown::show(&self.bar);
        }
    }

    /// Takes it away for good; false when it was gone already.
    pub fn end(&self) -> bool {
        let first = !self.ended.swap(true, Ordering::Relaxed);
        if first {
            shown::forget();
            self.bar.finish_and_clear();
        }
        first
    }

    /// A bar of tokens that contexts process, which [`watch`](Self::watch) moves on.
    pub fn tokens(what: &'static str, total: usize) -> Arc<Self> {
        Arc::new(Self::count(what, total as u64, "tokens"))
    }

    /// Counts what one context processes from now on after the first `done` tokens.
    pub fn after(&self, done: usize) {
        self.from.store(done as u64, Ordering::Relaxed);
    }

    /// Moves with what a context processes.
    pub fn watch(self: &Arc<Self>) -> Watch {
        let bar = self.clone();
        Arc::new(move |done, _| {
            bar.set(bar.from.load(Ordering::Relaxed) + done as u64);
            ControlFlow::Continue(())
        })
    }

    /// Moves with what a session reads at once, until it ends; `interrupt` stops the session.
    pub fn watch_reading(self: &Arc<Self>, interrupt: &Interrupt) -> Watch {
        let (bar, stop) = (self.clone(), interrupt.flag());
        Arc::new(move |done, all| {
            if all > 1 && !bar.ended.load(Ordering::Relaxed) {
                bar.set_of(done, all);
            }
            match stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.end();
    }
}

/// A bar of the quantizer, which stops when it is told to.
pub struct Stoppable {
    pub bar: Bar,
    pub stop: Arc<AtomicBool>,
}

impl Progress for Stoppable {
    fn start(&self, bytes: u64) {
        self.bar.bar.set_length(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.bar.advance(bytes);
    }

    fn finish(&self) {
        self.bar.end();
    }

    fn wants_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
