//! The referee: whether one subscriber of one room got what the room promises.
//!
//! The law, per subscriber, lane and epoch: what it received and what was declared missing are together exactly the numbers
//! (cursor at join + 1)..last, in order and none twice. A number that was both received and declared counts as received.
//! `last` is what `sealed` said of an ended epoch, else the largest number that anybody knows. Numbers above it lie outside.

use throng_core::{Cursor, Epoch, Gap, Lane, Seqs, Stamp};

use super::runs::Runs;
use super::truth::Truth;

/// What one subscriber saw of one room. Lives as long as the bench, over reconnections.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    epochs: Vec<EpochLedger>,
    faults: Faults,
}

/// Faults that show at once, without knowing what else there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Numbers received again, or not above the cursor of the join.
    pub(super) duplicated: u64,
    /// Numbers received after a larger one of their lane and epoch.
    pub(super) reordered: u64,
    /// Segments of an epoch that no `sealed` announced, and `sealed` that took numbers back.
    pub(super) unannounced: u64,
}

/// Verdict on one lane of one subscriber, over all epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LaneVerdict {
    /// Numbers received, inside the law.
    pub(super) received: u64,
    /// Numbers declared missing and not received.
    pub(super) declared: u64,
    /// Numbers neither received nor declared.
    pub(super) lost: u64,
}

#[derive(Debug)]
struct EpochLedger {
    epoch: Epoch,
    /// Cursor at the join; zero for an epoch that began later.
    start: Seqs,
    lanes: [LaneLedger; Lane::COUNT],
    /// Where it ended, if a `sealed` said so.
    sealed: Option<Seqs>,
}

#[derive(Debug, Default)]
struct LaneLedger {
    received: Runs,
    declared: Runs,
}

impl Ledger {
    /// The room was joined: the law begins after `cursor`. A second call, after a leave, moves the beginning: what lies
    /// between was not asked for.
    pub(super) fn join(&mut self, cursor: Cursor) {
        for older in self.epochs.iter_mut().filter(|ledger| ledger.epoch != cursor.epoch) {
            older.end_here();
        }
        let known = self.position(cursor.epoch);
        let Some(ledger) = known.and_then(|at| self.epochs.get_mut(at)) else {
            self.epochs.push(EpochLedger::new(cursor.epoch, cursor.seq));
            return;
        };
        for (lane, seqs) in ledger.lanes.iter_mut().zip(Lane::ALL) {
            let last = lane.received.last().max(ledger.start[seqs]);
            lane.declared.add(last + 1, cursor.seq[seqs]);
        }
    }

    /// How far the subscriber has come, for a resume: in the newest epoch, what it received or was told to be missing.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        let newest = self.epochs.iter().max_by_key(|ledger| ledger.epoch)?;
        let mut seq = newest.start;
        for (lane, seen) in Lane::ALL.into_iter().zip(&newest.lanes) {
            seq[lane] = seq[lane].max(seen.received.last()).max(seen.declared.last());
        }
        Some(Cursor { epoch: newest.epoch, seq })
    }

    /// Keeps the cursor and nothing else: no verdict is wanted, and the past would fill the memory.
    pub(super) fn forget_past(&mut self) {
        if let Some(Cursor { epoch, seq }) = self.cursor() {
            self.epochs.clear();
            self.epochs.push(EpochLedger::new(epoch, seq));
        }
    }

    /// Messages `from..=to` of a lane arrived, in this order.
    pub(super) fn received(&mut self, epoch: Epoch, lane: Lane, from: u64, to: u64) {
        let (ledger, faults) = self.open(epoch);
        let behind = ledger.start[lane];
        let seen = ledger.lane(lane);
        let again = behind.min(to).saturating_sub(from - 1) + seen.received.count_within(from, to);
        let last = seen.received.last();
        let overdue = (last.min(to) + 1).saturating_sub(from.max(behind + 1));
        faults.reordered += overdue.saturating_sub(seen.received.count_within(from, to));
        faults.duplicated += again;
        seen.received.add(from.max(behind + 1), to);
    }

    /// The server declared that these numbers are not delivered. Gaps of an epoch before the join do not matter.
    pub(super) fn declared(&mut self, gap: Gap) {
        let Some(ledger) = self.position(gap.epoch).and_then(|at| self.epochs.get_mut(at)) else { return };
        let behind = ledger.start[gap.lane];
        ledger.lane(gap.lane).declared.add(gap.from.max(behind + 1), gap.to);
    }

    /// The server said that an epoch ends at `last` and which one follows. A repetition may only raise `last`; an epoch
    /// that ended before the join does not matter.
    pub(super) fn sealed(&mut self, epoch: Epoch, last: Seqs, next_epoch: Epoch) {
        let Some(ledger) = self.position(epoch).and_then(|at| self.epochs.get_mut(at)) else { return };
        if let Some(before) = ledger.sealed {
            self.faults.unannounced += u64::from(before.max(last) != last);
        }
        ledger.sealed = Some(ledger.sealed.map_or(last, |before| before.max(last)));
        if next_epoch > epoch && self.position(next_epoch).is_none() {
            self.epochs.push(EpochLedger::new(next_epoch, Seqs::ZERO));
        }
    }

    /// Whether a message was received, or declared missing, or came before the join.
    pub(super) fn accounts_for(&self, stamp: Stamp) -> bool {
        let Stamp { epoch, lane, seq } = stamp;
        let Some(ledger) = self.position(epoch).and_then(|at| self.epochs.get(at)) else { return false };
        let within =
            |seen: &LaneLedger| seen.received.count_within(seq, seq) + seen.declared.count_within(seq, seq) > 0;
        seq <= ledger.start[lane] || ledger.lanes.get(lane.index()).is_some_and(within)
    }

    /// Faults so far.
    pub(super) const fn faults(&self) -> Faults {
        self.faults
    }

    /// Judges everything, lane by lane, once no more is to come.
    pub(super) fn verdict(&self, truth: &Truth) -> [LaneVerdict; Lane::COUNT] {
        Lane::ALL.map(|lane| {
            let mut verdict = LaneVerdict::default();
            for ledger in &self.epochs {
                ledger.judge(lane, truth, &mut verdict);
            }
            let newest = self.epochs.iter().map(|ledger| ledger.epoch).max().unwrap_or(Epoch::NONE);
            if !self.epochs.is_empty() {
                // Epochs that others were told of, and this subscriber never.
                verdict.lost += truth.after(newest).map(|last| last[lane]).sum::<u64>();
            }
            verdict
        })
    }

    /// What was neither received nor declared, in the epochs that this subscriber heard of.
    pub(super) fn holes(&self, truth: &Truth) -> impl Iterator<Item = Gap> {
        let of_lane = |ledger: &EpochLedger, lane: Lane| {
            let last = ledger.sealed.unwrap_or_else(|| truth.last(ledger.epoch))[lane];
            let covered = ledger.lanes.get(lane.index()).map(|seen| seen.received.union(&seen.declared));
            let epoch = ledger.epoch;
            let ranges = covered.unwrap_or_default().missing(ledger.start[lane] + 1, last);
            ranges.into_iter().map(move |(from, to)| Gap { epoch, lane, from, to })
        };
        self.epochs.iter().flat_map(move |ledger| Lane::ALL.into_iter().flat_map(move |lane| of_lane(ledger, lane)))
    }

    fn position(&self, epoch: Epoch) -> Option<usize> {
        self.epochs.iter().rposition(|ledger| ledger.epoch == epoch)
    }

    /// The ledger of an epoch; one that nothing announced is opened, and held against the server.
    #[expect(clippy::indexing_slicing, reason = "the position was found, or is that of the ledger just pushed")]
    fn open(&mut self, epoch: Epoch) -> (&mut EpochLedger, &mut Faults) {
        let at = self.position(epoch).unwrap_or_else(|| {
            self.faults.unannounced += 1;
            self.epochs.push(EpochLedger::new(epoch, Seqs::ZERO));
            self.epochs.len() - 1
        });
        (&mut self.epochs[at], &mut self.faults)
    }
}

impl EpochLedger {
    fn new(epoch: Epoch, start: Seqs) -> Self {
        Self { epoch, start, lanes: Default::default(), sealed: None }
    }

    #[expect(clippy::indexing_slicing, reason = "a lane is always inside an array by lane")]
    fn lane(&mut self, lane: Lane) -> &mut LaneLedger {
        &mut self.lanes[lane.index()]
    }

    #[expect(clippy::indexing_slicing, reason = "a lane is always inside an array by lane")]
    fn judge(&self, lane: Lane, truth: &Truth, verdict: &mut LaneVerdict) {
        let last = self.sealed.unwrap_or_else(|| truth.last(self.epoch))[lane];
        let first = self.start[lane] + 1;
        let seen = &self.lanes[lane.index()];
        let received = seen.received.count_within(first, last);
        let covered = seen.received.union(&seen.declared).count_within(first, last);
        verdict.received += received;
        verdict.declared += covered - received;
        verdict.lost += (last + 1).saturating_sub(first) - covered;
    }

    /// The subscriber left before the epoch was sealed: nothing after what it received was owed to it.
    fn end_here(&mut self) {
        if self.sealed.is_none() {
            let mut last = self.start;
            for lane in Lane::ALL {
                last[lane] = last[lane].max(self.lane(lane).received.last());
            }
            self.sealed = Some(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const E7: Epoch = Epoch(7);
    const E9: Epoch = Epoch(9);

    fn joined_at(seq: u64) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.join(Cursor { epoch: E7, seq: Seqs([seq; 4]) });
        ledger
    }

    /// What everybody knows: lane 2 of epoch 7 ended at `last`, all else where the cursor was.
    fn truth(start: u64, last: u64) -> Truth {
        let mut truth = Truth::default();
        truth.saw(E7, Lane::Normal, last);
        for lane in [Lane::Control, Lane::Protected, Lane::Low] {
            truth.saw(E7, lane, start);
        }
        truth
    }

    fn normal(ledger: &Ledger, truth: &Truth) -> LaneVerdict {
        ledger.verdict(truth)[Lane::Normal.index()]
    }

    fn gap(from: u64, to: u64) -> Gap {
        Gap { epoch: E7, lane: Lane::Normal, from, to }
    }

    #[test]
    fn a_complete_history_is_without_fault() {
        let mut ledger = joined_at(100);
        ledger.received(E7, Lane::Normal, 101, 120);
        ledger.declared(gap(121, 130));
        ledger.received(E7, Lane::Normal, 131, 140);
        assert_eq!(ledger.faults(), Faults::default());
        assert_eq!(normal(&ledger, &truth(100, 140)), LaneVerdict { received: 30, declared: 10, lost: 0 });
    }

    #[test]
    fn a_hole_that_nobody_declared_is_a_loss() {
        let mut ledger = joined_at(0);
        ledger.received(E7, Lane::Normal, 1, 4);
        ledger.received(E7, Lane::Normal, 6, 9);
        assert_eq!(normal(&ledger, &truth(0, 10)), LaneVerdict { received: 8, declared: 0, lost: 2 });
    }

    #[test]
    fn a_subscriber_that_heard_nothing_lost_everything() {
        assert_eq!(normal(&joined_at(3), &truth(3, 10)).lost, 7);
    }

    #[test]
    fn the_same_number_twice_is_a_duplicate_and_a_late_one_is_reordered() {
        let mut ledger = joined_at(0);
        ledger.received(E7, Lane::Normal, 1, 3);
        ledger.received(E7, Lane::Normal, 3, 3);
        assert_eq!(ledger.faults(), Faults { duplicated: 1, ..Faults::default() });
        ledger.received(E7, Lane::Normal, 6, 6);
        ledger.received(E7, Lane::Normal, 4, 5);
        assert_eq!(ledger.faults(), Faults { duplicated: 1, reordered: 2, unannounced: 0 });
        assert_eq!(normal(&ledger, &truth(0, 6)).lost, 0);
    }

    #[test]
    fn a_number_at_or_before_the_cursor_is_a_duplicate() {
        let mut ledger = joined_at(5);
        ledger.received(E7, Lane::Normal, 4, 7);
        assert_eq!(ledger.faults(), Faults { duplicated: 2, ..Faults::default() });
        assert_eq!(normal(&ledger, &truth(5, 7)), LaneVerdict { received: 2, declared: 0, lost: 0 });
    }

    #[test]
    fn lanes_are_numbered_apart() {
        let mut ledger = joined_at(0);
        ledger.received(E7, Lane::Normal, 1, 9);
        ledger.received(E7, Lane::Control, 1, 2);
        assert_eq!(ledger.faults(), Faults::default());
    }

    #[test]
    fn a_number_both_received_and_declared_counts_as_received() {
        let mut ledger = joined_at(0);
        ledger.declared(gap(1, 10));
        ledger.received(E7, Lane::Normal, 4, 4);
        assert_eq!(ledger.faults(), Faults::default());
        assert_eq!(normal(&ledger, &truth(0, 10)), LaneVerdict { received: 1, declared: 9, lost: 0 });
    }

    #[test]
    fn declaring_what_never_existed_covers_nothing() {
        let mut ledger = joined_at(0);
        ledger.declared(gap(5, u64::MAX - 1));
        assert_eq!(normal(&ledger, &truth(0, 6)), LaneVerdict { received: 0, declared: 2, lost: 4 });
    }

    #[test]
    fn sealed_ends_an_epoch_and_what_lies_beyond_is_void() {
        let mut ledger = joined_at(0);
        ledger.received(E7, Lane::Normal, 1, 5);
        ledger.sealed(E7, Seqs([0, 0, 4, 0]), E9);
        ledger.received(E9, Lane::Normal, 1, 2);
        assert_eq!(ledger.faults(), Faults::default());
        let mut truth = truth(0, 5);
        truth.saw(E9, Lane::Normal, 3);
        assert_eq!(normal(&ledger, &truth), LaneVerdict { received: 6, declared: 0, lost: 1 });
    }

    #[test]
    fn an_epoch_without_sealed_is_held_against_the_server() {
        let mut ledger = joined_at(0);
        ledger.received(E9, Lane::Normal, 1, 1);
        assert_eq!(ledger.faults().unannounced, 1);
    }

    #[test]
    fn a_repeated_sealed_may_only_raise_last() {
        let mut ledger = joined_at(0);
        ledger.received(E7, Lane::Normal, 1, 4);
        ledger.sealed(E7, Seqs([0, 0, 4, 0]), E9);
        ledger.sealed(E7, Seqs([0, 0, 6, 0]), E9);
        ledger.declared(gap(5, 6));
        assert_eq!(ledger.faults(), Faults::default());
        assert_eq!(normal(&ledger, &truth(0, 6)), LaneVerdict { received: 4, declared: 2, lost: 0 });
        ledger.sealed(E7, Seqs([0, 0, 5, 0]), E9);
        assert_eq!(ledger.faults().unannounced, 1);
    }

    #[test]
    fn the_cursor_is_what_was_received_or_declared_in_the_newest_epoch() {
        assert_eq!(Ledger::default().cursor(), None);
        let mut ledger = joined_at(5);
        ledger.received(E7, Lane::Normal, 6, 8);
        ledger.declared(gap(9, 11));
        assert_eq!(ledger.cursor(), Some(Cursor { epoch: E7, seq: Seqs([5, 5, 11, 5]) }));
        ledger.sealed(E7, Seqs([5, 5, 11, 5]), E9);
        assert_eq!(ledger.cursor(), Some(Cursor { epoch: E9, seq: Seqs::ZERO }));
    }

    #[test]
    fn whoever_was_never_told_of_the_next_epoch_lost_all_of_it() {
        let mut ledger = joined_at(0);
        ledger.received(E7, Lane::Normal, 1, 4);
        let mut truth = truth(0, 4);
        truth.saw(E9, Lane::Normal, 8);
        assert_eq!(normal(&ledger, &truth).lost, 8);
    }

    #[test]
    fn what_was_sent_between_a_leave_and_the_next_join_is_not_missed() {
        let mut ledger = joined_at(0);
        ledger.received(E7, Lane::Normal, 1, 4);
        ledger.join(Cursor { epoch: E7, seq: Seqs([0, 0, 9, 0]) });
        ledger.received(E7, Lane::Normal, 10, 12);
        assert_eq!(ledger.faults(), Faults::default());
        assert_eq!(normal(&ledger, &truth(0, 12)).lost, 0);
    }

    proptest! {
        /// Take any number out of a complete history, or play any run of it again, and the referee notices.
        #[test]
        fn any_single_fault_is_seen(last in 2u64..200, at in 1u64..200, cut in 1u64..20, fault in 0u8..3) {
            let at = at.min(last);
            let mut ledger = joined_at(0);
            let mut from = 1;
            while from <= last {
                let to = (from + cut - 1).min(last);
                match fault {
                    0 if (from..=to).contains(&at) => {
                        if at > from { ledger.received(E7, Lane::Normal, from, at - 1); }
                        if at < to { ledger.received(E7, Lane::Normal, at + 1, to); }
                    }
                    1 if (from..=to).contains(&at) => {
                        ledger.received(E7, Lane::Normal, from, to);
                        ledger.received(E7, Lane::Normal, at, to);
                    }
                    _ => ledger.received(E7, Lane::Normal, from, to),
                }
                from = to + 1;
            }
            let verdict = normal(&ledger, &truth(0, last));
            prop_assert_eq!(verdict.lost, u64::from(fault == 0));
            prop_assert_eq!(ledger.faults().duplicated > 0, fault == 1);
            prop_assert_eq!(verdict.received + verdict.lost, last);
        }
    }
}
