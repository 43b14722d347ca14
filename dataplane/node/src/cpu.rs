//! How much of the CPU that it may use a role uses: the load `cpu_percent` of pressure samples.
//!
//! What it may use is the limit of its container (`cpu.max` of cgroup v2, the smallest on the way up) or, without one, the
//! cores of its node; but no more cores than it has threads for its work. So 100 always means that more is not to be had.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The use is taken over this long, however many ask.
const OVER: Duration = Duration::from_secs(1);
/// Where the kernel shows cgroup v2.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Measures the CPU use of a role.
pub struct Meter {
    /// CPU time spent until now, microseconds.
    spent_us: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Cores that it may use; fractions are usual.
    cores: f64,
    last: Mutex<Taken>,
}

/// The latest measurement.
struct Taken {
    at: Instant,
    spent_us: u64,
    percent: f64,
}

impl Meter {
    /// Of the whole process; its work is done by so many threads.
    #[must_use]
    pub fn of_process(threads: usize) -> Self {
        Self::new(threads, process_us)
    }

    /// Of the thread that calls this, where a process has several roles and each but its gateways one thread.
    #[must_use]
    pub fn of_this_thread() -> Self {
        let thread = rustix::thread::gettid().as_raw_nonzero();
        Self::new(1, move || thread_us(thread.get()))
    }

    /// Of whatever has spent `spent_us` microseconds of CPU time, on so many threads.
    #[must_use]
    pub fn new(threads: usize, spent_us: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let last = Taken { at: Instant::now(), spent_us: spent_us(), percent: 0.0 };
        let cores = allowed_cores().min(threads.max(1) as f64);
        Self { spent_us: Box::new(spent_us), cores, last: Mutex::new(last) }
    }

    /// Its use in percent of what it may use, over the last second or longer; 0 in the first second.
    pub fn percent(&self) -> f64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = last.at.elapsed();
        if passed >= OVER {
            let spent_us = (self.spent_us)();
            let percent = percent(spent_us.saturating_sub(last.spent_us), passed, self.cores);
            *last = Taken { at: Instant::now(), spent_us, percent };
        }
        last.percent
    }
}

/// Never shows more than what it measured last.
impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("cores", &self.cores).finish_non_exhaustive()
    }
}

fn percent(spent_us: u64, passed: Duration, cores: f64) -> f64 {
    100.0 * spent_us as f64 / (passed.as_secs_f64() * 1e6 * cores)
}

/// CPU time of this process, microseconds.
fn process_us() -> u64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(spent.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(spent.tv_nsec).unwrap_or(0) / 1000
}

/// CPU time of a thread of this process, microseconds, to the clock tick (10 ms); 0 where the system does not tell.
fn thread_us(thread: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    ticks(&stat).unwrap_or(0) * 1_000_000 / rustix::param::clock_ticks_per_second()
}

/// User and system time: fields 14 and 15 of proc(5). The name, field 2, may hold blanks and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Cores that this process may use.
fn allowed_cores() -> f64 {
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = group.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    limit(Path::new(CGROUPS), path).map_or(cores, |limit| cores.min(limit))
}

/// The smallest limit on the way from a group up to the root, in cores.
fn limit(root: &Path, group: &str) -> Option<f64> {
    let group = root.join(group);
    let ways = group.ancestors().take_while(|group| group.starts_with(root));
    let limits = ways.filter_map(|group| quota(&fs::read_to_string(group.join("cpu.max")).ok()?));
    limits.reduce(f64::min)
}

/// The cores that a `cpu.max` allows; none: as many as there are.
fn quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_hundred_percent_is_all_that_it_may_use() {
        for (spent_us, cores, is) in
            [(500_000, 1.0, 50.0), (500_000, 0.5, 100.0), (1_000_000, 4.0, 25.0), (0, 2.0, 0.0)]
        {
            assert!((percent(spent_us, Duration::from_secs(1), cores) - is).abs() < 1e-9, "{spent_us} {cores}");
        }
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("pods/one")).unwrap();
        assert_eq!(limit(root, "pods/one"), None);
        fs::write(root.join("pods/one/cpu.max"), "max 100000\n").unwrap();
        assert_eq!(limit(root, "pods/one"), None);
        fs::write(root.join("pods/cpu.max"), "50000 100000\n").unwrap();
        assert_eq!(limit(root, "pods/one"), Some(0.5));
        fs::write(root.join("pods/one/cpu.max"), "200000 100000\n").unwrap();
        assert_eq!(limit(root, "pods/one"), Some(0.5));
        assert_eq!(limit(root, ""), None, "a container sees its own group as the root");
        fs::write(root.join("cpu.max"), "25000 100000\n").unwrap();
        assert_eq!(limit(root, ""), Some(0.25));
    }

    #[test]
    fn it_measures_what_was_spent_since_the_last_time_it_looked() {
        let spent = Arc::new(AtomicU64::new(5_000_000));
        let told = Arc::clone(&spent);
        let meter = Meter::new(1, move || told.load(Ordering::Relaxed));
        spent.fetch_add(300_000, Ordering::Relaxed);
        assert!(meter.percent().abs() < 1e-9, "a second has not passed");
        std::thread::sleep(OVER);
        let first = meter.percent();
        assert!(first > 1.0, "{first}");
        assert!((meter.percent() - first).abs() < 1e-9, "asked again at once it says the same");
    }

    #[test]
    fn the_time_of_a_process_and_of_a_thread_goes_on_while_they_work() {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        let (process, of_thread) = (process_us(), thread_us(thread));
        let began = Instant::now();
        let mut sum = 0u64;
        while thread_us(thread) == of_thread && began.elapsed() < Duration::from_secs(20) {
            sum = (0..100_000u64).fold(sum, u64::wrapping_add);
        }
        assert!(thread_us(thread) > of_thread && process_us() > process, "{sum}");
        assert_eq!(ticks("7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 30 12 1"), Some(42));
        assert!(allowed_cores() > 0.0);
    }
}
