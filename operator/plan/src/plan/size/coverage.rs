//! How many of the Pods say what they carry. Where too few do, nobody can tell that a pool is too large.

use super::pressure::{Readings, Silence};

/// Fewest Pods that must be heard of for a pool to shrink, in percent.
const ENOUGH_PERCENT: usize = 80;

/// Who is heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Coverage {
    /// Pods that may have users.
    pub(super) pods: usize,
    /// Those that do not say what they carry.
    pub(super) gaps: Option<Gaps>,
}

/// Pods that do not say what they carry; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Gaps {
    /// How many.
    pub(in super::super) pods: usize,
    /// The name of the first.
    pub(in super::super) first: String,
    /// What is wrong with it.
    pub(in super::super) silence: Silence,
}

impl Coverage {
    pub(super) fn of(readings: &Readings) -> Self {
        let mut silent = readings.pods.iter().filter_map(|reading| Some((&reading.pod, reading.pressure.err()?)));
        let gaps = silent.next().map(|(pod, silence)| Gaps { pods: 1 + silent.count(), first: pod.clone(), silence });
        Self { pods: readings.pods.len(), gaps }
    }

    /// Every Pod is heard of.
    pub(super) const fn is_whole(&self) -> bool {
        self.gaps.is_none()
    }

    /// How many Pods are silent.
    pub(super) fn silent(&self) -> usize {
        self.gaps.as_ref().map_or(0, |gaps| gaps.pods)
    }

    /// Too few are heard of to shrink the pool.
    pub(super) fn frozen(&self) -> bool {
        (self.pods - self.silent().min(self.pods)) * 100 < self.pods * ENOUGH_PERCENT
    }
}

#[cfg(test)]
mod tests {
    use super::super::pressure::Reading;
    use super::*;

    #[test]
    fn below_four_fifths_it_is_frozen() {
        for pods in 0..=20usize {
            for silent in 0..=pods {
                let reading = |at: usize| Reading {
                    pod: format!("p{at}"),
                    serves: true,
                    pressure: if at < silent { Err(Silence::Missing) } else { Ok(0.5) },
                };
                let coverage = Coverage::of(&Readings { pods: (0..pods).map(reading).collect(), too_hot: None });
                assert_eq!(coverage.frozen(), 5 * (pods - silent) < 4 * pods, "{silent} of {pods} are silent");
                assert_eq!((coverage.is_whole(), coverage.silent()), (silent == 0, silent));
            }
        }
    }
}
