//! CPU time, memory and cores of the processes under test, from `/proc`.

use std::fs;

use anyhow::Context as _;
use rustix::process::{Pid, Signal};
use rustix::thread::{CpuSet, sched_setaffinity};

/// CPU time of all threads of a process since its start, in microseconds, to the clock tick (10 ms).
pub(super) fn cpu_us(pid: u32) -> anyhow::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| gone(pid))?;
    ticks(&stat)
        .map(|ticks| ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
        .with_context(|| format!("/proc/{pid}/stat has an unknown form"))
}

/// utime + stime: fields 14 and 15. The name, field 2, may hold blanks and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory of a process, in bytes.
pub(super) fn rss_bytes(pid: u32) -> anyhow::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).with_context(|| gone(pid))?;
    rss(&rollup).with_context(|| format!("/proc/{pid}/smaps_rollup has an unknown form"))
}

/// The same, cheap and a little less exact; none if the process is gone.
pub(super) fn rss_bytes_now(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Ends a process at once, as a crash would.
pub(super) fn kill(pid: u32) -> anyhow::Result<()> {
    signal(pid, Signal::KILL)
}

/// Sends a signal to one process.
pub(super) fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no number of a process")?;
    rustix::process::kill_process(number, signal).with_context(|| gone(pid))
}

fn rss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn gone(pid: u32) -> String {
    format!("process {pid} is gone")
}

/// Which cores the two sides of a bench run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Cores {
    /// Cores of the machine that the bench may use.
    pub(crate) available: usize,
    /// The core that the measured process is kept on; none: wherever the kernel likes.
    pub(crate) server: Option<usize>,
    /// The core that the load is kept on.
    pub(crate) load: Option<usize>,
}

impl Cores {
    /// With two cores or more: the measured process on core 0, the load on core 1. To be asked before anything is pinned.
    pub(super) fn apart() -> Self {
        let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let pinned = available >= 2;
        Self { available, server: pinned.then_some(0), load: pinned.then_some(1) }
    }

    /// Keeps the calling thread on the load's core. A machine that forbids it is measured as it is.
    pub(super) fn pin_load(self) {
        if let Some(core) = self.load {
            pin(None, core);
        }
    }

    /// Keeps all threads of a process on the server's core; those that it makes later inherit it.
    pub(super) fn pin_server(self, pid: u32) {
        let Some(core) = self.server else { return };
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return };
        for task in tasks.flatten() {
            let tid = task.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            if let Some(tid) = tid {
                pin(Some(tid), core);
            }
        }
    }
}

/// Keeps a thread, or the calling one, on a core.
pub(super) fn pin(thread: Option<Pid>, core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    // Forbidden in some containers; the figures then hold for threads that wander.
    let _ = sched_setaffinity(thread, &set);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_blanks_and_brackets_do_not_shift_the_fields() {
        let stat = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 700 30 0 0 20 0 1 0";
        assert_eq!(ticks(stat), Some(730));
        assert_eq!(ticks("nonsense"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(rss("55d0-7ffd ---p 0 0:0 0 [rollup]\nRss:    1234 kB\nPss: 1 kB\n"), Some(1234 * 1024));
        assert_eq!(rss(""), None);
    }

    #[test]
    fn this_process_has_used_memory() {
        assert!(rss_bytes(std::process::id()).unwrap() > 100_000);
        assert!(cpu_us(std::process::id()).is_ok());
        assert!(cpu_us(u32::MAX).is_err());
    }
}
