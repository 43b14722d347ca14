//! Who has to connect, and when: at a pace, and after a failure later and later.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::conn::ConnId;

/// Waits before another try double from the first to the second, and are jittered.
const RETRY_US: (u64, u64) = (250_000, 8_000_000);
/// Unused turns are not saved up for longer than this.
const BURST_US: u64 = 20_000;

/// Connections that are wanted and not there. Unlike a scenario's opening it never ends and never gives up.
#[derive(Debug)]
pub(super) struct Comers {
    due: BTreeSet<(u64, ConnId)>,
    /// Those in `due`.
    waiting: HashSet<ConnId>,
    failures: HashMap<ConnId, u32>,
    turn_us: u64,
    /// When the next may go.
    next_us: u64,
}

impl Comers {
    /// All of these, at most `per_s` a second.
    pub(super) fn new(ids: impl IntoIterator<Item = ConnId>, per_s: u32, now_us: u64) -> Self {
        let waiting: HashSet<ConnId> = ids.into_iter().collect();
        let due = waiting.iter().map(|id| (now_us, *id)).collect();
        let turn_us = 1_000_000 / u64::from(per_s.max(1));
        Self { due, waiting, failures: HashMap::new(), turn_us, next_us: now_us }
    }

    /// Whose turn it is, if anybody's.
    pub(super) fn next(&mut self, now_us: u64) -> Option<ConnId> {
        let first = self.due.first().copied().filter(|(due_us, _)| *due_us <= now_us && self.next_us <= now_us)?;
        self.due.remove(&first);
        self.waiting.remove(&first.1);
        self.next_us = self.next_us.max(now_us.saturating_sub(BURST_US)) + self.turn_us;
        Some(first.1)
    }

    /// It is there.
    pub(super) fn came(&mut self, id: ConnId) {
        self.failures.remove(&id);
    }

    /// It is not there, or not any more: it comes again after `retry_ms`, or later each time if nobody said when.
    pub(super) fn failed(&mut self, id: ConnId, retry_ms: Option<u64>, now_us: u64) {
        if !self.waiting.insert(id) {
            return;
        }
        let failures = self.failures.entry(id).or_default();
        let longest = RETRY_US.0.saturating_mul(1 << (*failures).min(16)).min(RETRY_US.1);
        *failures += 1;
        // The same for the same connection, and different for each: a crowd that was cut off together comes back spread.
        let spread = (id as u64).wrapping_add(u64::from(*failures)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let wait_us = retry_ms.map_or(longest / 2, |ms| ms * 1000) + spread % (longest / 2);
        self.due.insert((now_us + wait_us, id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_comes_once_at_the_pace() {
        let mut comers = Comers::new(0..100, 100, 0);
        let mut came = Vec::new();
        for now_us in (0..1_000_000).step_by(1_000) {
            came.extend(std::iter::from_fn(|| comers.next(now_us)));
            assert!(came.len() as u64 <= now_us / 10_000 + 1, "{} after {now_us} us", came.len());
        }
        assert_eq!(came, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn who_fails_again_and_again_waits_longer_but_not_for_ever() {
        let mut comers = Comers::new([7], 100, 0);
        let (mut now_us, mut waits) = (0, Vec::new());
        for _ in 0..12 {
            let begun_us = now_us;
            while comers.next(now_us).is_none() {
                now_us += 1_000;
            }
            waits.push(now_us - begun_us);
            comers.failed(7, None, now_us);
        }
        assert!(waits[1] < 300_000 && waits[8] >= 4_000_000 && waits[11] <= 8_001_000, "{waits:?}");
        assert!(comers.next(now_us + 20_000_000).is_some());
        comers.came(7);
        comers.failed(7, Some(2_000), now_us);
        comers.failed(7, None, now_us);
        assert_eq!(comers.next(now_us + 1_900_000), None);
        assert!(comers.next(now_us + 20_100_000).is_some());
        assert_eq!(comers.next(now_us + 40_000_000), None, "it waited once");
    }
}
