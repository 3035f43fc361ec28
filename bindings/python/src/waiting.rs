//! Waiting for work on other threads: Python's other threads run meanwhile, and Ctrl-C is heard.

use crate::errors::{Kind, error};
use pyo3::prelude::*;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How often it is looked whether there was a signal.
const LOOK: Duration = Duration::from_millis(50);

/// How long work may take to end when it is told to stop; after that it is left alone.
const GRACE: Duration = Duration::from_millis(300);

/// Does `work` on a thread of its own. After a signal whose handler raises, as Ctrl-C's does, `stop`
/// becomes true.
pub fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    stop: &Arc<AtomicBool>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (to, done) = mpsc::channel();
    std::thread::Builder::new()
        .name("bise".to_owned())
        .stack_size(8 << 20)
        .spawn(move || {
            // Nobody waits for it any more after a signal.
            let _ = to.send(work());
        })?;
    py.detach(move || {
        loop {
            match done.recv_timeout(LOOK) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let message = "a fault of the program; please report it".to_owned();
                    return Err(Python::attach(|py| error(py, Kind::BiseError, message)));
                }
            }
            if let Err(raised) = Python::attach(|py| py.check_signals()) {
                stop.store(true, Ordering::Relaxed);
                let _ = done.recv_timeout(GRACE);
                return Err(raised);
            }
        }
    })
}

/// Waits for what `next` gives, which takes no longer than it is told; to be called where Python's
/// other threads run.
pub fn until<T>(mut next: impl FnMut(Duration) -> Option<T>) -> PyResult<T> {
    loop {
        if let Some(got) = next(LOOK) {
            return Ok(got);
        }
        Python::attach(|py| py.check_signals())?;
    }
}

/// Waits for `future`, which wakes up this thread; to be called where Python's other threads run.
pub fn wait<T>(future: impl Future<Output = T>) -> PyResult<T> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut looked = Instant::now();
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return Ok(done);
        }
        std::thread::park_timeout(LOOK);
        if looked.elapsed() >= LOOK {
            Python::attach(|py| py.check_signals())?;
            looked = Instant::now();
        }
    }
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
