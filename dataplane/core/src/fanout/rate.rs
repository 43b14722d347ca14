//! Classes of subscribers that share frames.

use crate::SessionId;

/// How many samples of an overloaded room there are: viewers of different cohorts see different messages of it.
pub const COHORTS: u8 = 8;

/// The budgets that exist, messages a second. A declared rate is rounded down to one of them, so that frames stay shared.
const LADDER: [u32; 15] = [1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 60, 100, 150, 200, 400];

/// A downstream budget for lanes 2-3: one of fifteen, or none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RateClass(u8);

impl RateClass {
    /// Everything.
    pub const UNLIMITED: Self = Self(0);
    /// How many classes there are.
    pub const COUNT: usize = LADDER.len() + 1;

    /// The class of a declared rate, messages a second: the next budget at or below it. Zero asks for no budget.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "at most fifteen")]
    pub fn of(per_s: u32) -> Self {
        match per_s {
            0 => Self::UNLIMITED,
            _ => Self(LADDER.iter().filter(|&&step| step <= per_s).count() as u8),
        }
    }

    /// Messages a second, none if unlimited.
    #[must_use]
    pub fn per_s(self) -> Option<u32> {
        LADDER.get(usize::from(self.0).checked_sub(1)?).copied()
    }

    /// Its place in an array of [`Self::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The class at a place below [`Self::COUNT`].
    #[must_use]
    pub const fn at(index: u8) -> Option<Self> {
        if (index as usize) < Self::COUNT { Some(Self(index)) } else { None }
    }
}

/// Which of the [`COHORTS`] samples a session sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cohort(u8);

impl Cohort {
    /// The cohort of a session: the same wherever it connects.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "below eight")]
    pub fn of(session: SessionId) -> Self {
        Self((super::select::mix(session.0) % u64::from(COHORTS)) as u8)
    }

    /// The cohort of a number, modulo [`COHORTS`].
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number % COHORTS)
    }

    /// Its number, below [`COHORTS`].
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_rate_is_rounded_down_to_a_class() {
        assert_eq!(RateClass::of(20).per_s(), Some(20));
        assert_eq!(RateClass::of(29).per_s(), Some(20));
        assert_eq!(RateClass::of(1).per_s(), Some(1));
        assert_eq!(RateClass::of(9999).per_s(), Some(400));
        assert_eq!(RateClass::of(0).per_s(), None);
        assert!((1..1000).all(|rate| RateClass::of(rate).per_s().is_some_and(|class| class <= rate)));
    }

    #[test]
    fn sessions_spread_over_all_cohorts() {
        let mut seen = [0_u32; 8];
        for session in 0..8000 {
            seen[usize::from(Cohort::of(SessionId(session)).number())] += 1;
        }
        assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
    }
}
