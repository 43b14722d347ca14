//! Something that goes on in the background of a scenario.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Something that is done again and again in a thread of its own.
pub(crate) struct Repeat {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Repeat {
    pub(crate) fn start(every: Duration, what: impl Fn() -> Result<()> + Send + 'static) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            while !theirs.load(Ordering::Relaxed) {
                what()?;
                std::thread::sleep(every);
            }
            Ok(())
        });
        Self { ended, thread: Some(thread) }
    }

    /// Whether nothing went wrong so far.
    pub(crate) fn goes_on(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends it; what went wrong.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it runs once")?;
        thread.join().ok().context("a thread has panicked")?
    }
}

impl Drop for Repeat {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}
