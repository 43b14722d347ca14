//! Timers of a reactor: one entry a connection in a hashed wheel, no matter how many deadlines it has.
//!
//! An entry says when to look at a connection again; what is due then, the connection's record knows. A deadline that
//! moves later costs nothing: the look comes too early and enters the connection again.

use throng_core::Millis;

/// Length of one step of the wheel.
pub(super) const STEP_MS: u64 = 128;
/// Steps of the wheel: about 65 s. Later deadlines are looked at once a turn.
const STEPS: u64 = 512;

/// The step of a moment: steps since the origin.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "wraps after 17 years")]
pub(super) const fn step_of(at: Millis) -> u32 {
    (at.0 / STEP_MS) as u32
}

/// The wheel. Holds numbers of connections; a stale one is found out by its owner.
pub(super) struct Wheel {
    slots: Vec<Vec<u32>>,
    /// The first step that was not looked at yet.
    next: u64,
}

impl Default for Wheel {
    fn default() -> Self {
        Self { slots: (0..STEPS).map(|_| Vec::new()).collect(), next: 0 }
    }
}

impl Wheel {
    /// Enters a connection for the step of `at`, or the end of the wheel if that is nearer. Returns the step.
    pub(super) fn enter(&mut self, conn: u32, at: Millis, now: Millis) -> u32 {
        // Never a whole turn ahead of what was looked at, or two steps would share a slot.
        let latest = self.next + STEPS - 1;
        let step = at.0.div_ceil(STEP_MS).max(now.0 / STEP_MS).clamp(self.next, latest);
        if let Some(slot) = usize::try_from(step % STEPS).ok().and_then(|slot| self.slots.get_mut(slot)) {
            slot.push(conn);
        }
        step_of(Millis(step * STEP_MS))
    }

    /// Takes the connections of the next step that has passed, with the step; none if all passed steps were taken.
    pub(super) fn take(&mut self, now: Millis) -> Option<(u32, Vec<u32>)> {
        let passed = now.0 / STEP_MS;
        if self.next > passed {
            return None;
        }
        let step = self.next;
        self.next += 1;
        let slot = usize::try_from(step % STEPS).ok().and_then(|slot| self.slots.get_mut(slot))?;
        Some((step_of(Millis(step * STEP_MS)), std::mem::take(slot)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_that_stood_still_loses_nobody() {
        let mut wheel = Wheel::default();
        let entered = wheel.enter(7, Millis(5000), Millis(0));
        let late = wheel.enter(8, Millis(900_000), Millis(800_000));
        let mut seen = Vec::new();
        while let Some((step, conns)) = wheel.take(Millis(1_000_000)) {
            seen.extend(conns.into_iter().map(|conn| (conn, step)));
        }
        assert_eq!(seen, [(7, entered), (8, late)]);
    }

    #[test]
    fn everybody_is_looked_at_in_time_and_late_deadlines_once_a_turn() {
        let mut wheel = Wheel::default();
        let start = Millis(1_000_000);
        while wheel.take(start).is_some() {}
        wheel.enter(1, start + 5000, start);
        wheel.enter(2, start + 500_000, start);
        let mut seen = Vec::new();
        for ms in (0..70_000).step_by(100) {
            while let Some((_, conns)) = wheel.take(start + ms) {
                seen.extend(conns.into_iter().map(|conn| (conn, ms)));
            }
        }
        assert_eq!(seen.len(), 2);
        assert!(seen[0].0 == 1 && (5000..5300).contains(&seen[0].1), "{seen:?}");
        assert!(seen[1].0 == 2 && seen[1].1 > 60_000, "{seen:?}");
    }
}
