//! The clock of all processes of a bench.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of the machine's monotonic clock: the same in every process, so that a stamp of one can be read in another.
pub(super) fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    micros(now.tv_sec, now.tv_nsec)
}

/// CPU time that this process has used, in microseconds.
pub(super) fn own_cpu_us() -> u64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    micros(used.tv_sec, used.tv_nsec)
}

fn micros(seconds: i64, nanos: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0) * 1_000_000 + u64::try_from(nanos).unwrap_or(0) / 1_000
}
