//! How far the bench is, on stderr: a bar on a terminal, else a line now and then.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::clock::now_us;

/// Time between two lines where there is no terminal.
const LINE_EVERY_US: u64 = 5_000_000;

/// Progress of one bench.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    stage: Cell<&'static str>,
    said_us: Cell<u64>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(1);
            let style = ProgressStyle::with_template("{msg:32} {wide_bar} {pos}/{len}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, stage: Cell::new(""), said_us: Cell::new(0) }
    }

    /// One that says nothing.
    pub(super) fn hidden() -> Self {
        Self { bar: Some(ProgressBar::hidden()), stage: Cell::new(""), said_us: Cell::new(0) }
    }

    /// Something new begins.
    pub(super) fn stage(&self, name: &'static str) {
        self.stage.set(name);
        self.said_us.set(now_us());
        match &self.bar {
            Some(bar) => {
                bar.set_position(0);
                bar.set_message(name);
            }
            None => eprintln!("bench: {name}"),
        }
    }

    /// So much of it is done.
    pub(super) fn at(&self, done: u64, of: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(of);
            bar.set_position(done);
        } else if now_us() > self.said_us.get() + LINE_EVERY_US {
            self.said_us.set(now_us());
            eprintln!("bench: {} {done}/{of}", self.stage.get());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
