//! Sets of numbers as ranges: what a subscriber received, and what was declared missing.

/// Numbers as sorted ranges `(first, last)` that neither overlap nor touch. Numbers that arrive in order cost one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs(Vec<(u64, u64)>);

impl Runs {
    /// Adds `from..=to` and says how many of them are new. Nothing if `to < from`.
    pub(super) fn add(&mut self, from: u64, to: u64) -> u64 {
        if to < from {
            return 0;
        }
        match self.0.last_mut() {
            Some(last) if last.1 + 1 == from => last.1 = to,
            Some(last) if from <= last.1 => return self.merge(from, to),
            _ => self.0.push((from, to)),
        }
        to - from + 1
    }

    /// The general case: joins every range that `from..=to` overlaps or touches.
    fn merge(&mut self, from: u64, to: u64) -> u64 {
        let begin = self.0.partition_point(|run| run.1 + 1 < from);
        let end = self.0.partition_point(|run| run.0 <= to + 1);
        let joined = self.0.get(begin..end).unwrap_or_default();
        let known: u64 = joined.iter().map(|run| run.1 - run.0 + 1).sum();
        let first = joined.first().map_or(from, |run| run.0.min(from));
        let last = joined.last().map_or(to, |run| run.1.max(to));
        self.0.splice(begin..end, [(first, last)]);
        last - first + 1 - known
    }

    /// How many numbers of `from..=to` are in the set.
    pub(super) fn count_within(&self, from: u64, to: u64) -> u64 {
        let begin = self.0.partition_point(|run| run.1 < from);
        self.0
            .get(begin..)
            .unwrap_or_default()
            .iter()
            .take_while(|run| run.0 <= to)
            .map(|run| (run.1.min(to) + 1).saturating_sub(run.0.max(from)))
            .sum()
    }

    /// The largest number, zero of an empty set.
    pub(super) fn last(&self) -> u64 {
        self.0.last().map_or(0, |run| run.1)
    }

    /// The numbers of `from..=to` that are not in the set, as ranges.
    pub(super) fn missing(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut next = from;
        for (first, last) in self.0.iter().copied().filter(|run| run.1 >= from && run.0 <= to) {
            if next < first {
                missing.push((next, first - 1));
            }
            next = next.max(last + 1);
        }
        if next <= to {
            missing.push((next, to));
        }
        missing
    }

    /// The numbers that are in either set.
    pub(super) fn union(&self, other: &Self) -> Self {
        let mut all: Vec<_> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        let mut union = Self::default();
        for (from, to) in all {
            union.add(from, to);
        }
        union
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_in_order_are_one_range() {
        let mut runs = Runs::default();
        for number in 1..1000 {
            assert_eq!(runs.add(number, number), 1);
        }
        assert_eq!(runs, Runs(vec![(1, 999)]));
    }

    #[test]
    fn the_empty_range_adds_nothing() {
        let mut runs = Runs::default();
        assert_eq!(runs.add(5, 4), 0);
        assert_eq!(runs.count_within(0, 100), 0);
        assert_eq!(runs.last(), 0);
    }

    proptest! {
        /// Whatever ranges are added in whatever order, the set counts as a plain set of numbers does.
        #[test]
        fn ranges_count_as_a_set_of_numbers_does(
            ranges in prop::collection::vec((1u64..60, 0u64..8), 0..40), other in prop::collection::vec((1u64..60, 0u64..8), 0..10),
            from in 0u64..70, length in 0u64..70,
        ) {
            let (mut runs, mut numbers) = (Runs::default(), BTreeSet::new());
            for (first, extra) in ranges {
                let new = (first..=first + extra).filter(|n| numbers.insert(*n)).count();
                prop_assert_eq!(runs.add(first, first + extra), new as u64);
            }
            prop_assert!(runs.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            prop_assert_eq!(runs.last(), numbers.last().copied().unwrap_or(0));
            prop_assert_eq!(runs.count_within(from, from + length), numbers.range(from..=from + length).count() as u64);
            let holes: Vec<u64> = runs.missing(from, from + length).into_iter().flat_map(|(a, b)| a..=b).collect();
            let absent: Vec<u64> = (from..=from + length).filter(|n| !numbers.contains(n)).collect();
            prop_assert_eq!(holes, absent);
            let mut more = Runs::default();
            for (first, extra) in other {
                more.add(first, first + extra);
                numbers.extend(first..=first + extra);
            }
            prop_assert_eq!(runs.union(&more).count_within(0, 1000), numbers.len() as u64);
        }
    }
}
