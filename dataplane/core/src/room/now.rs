//! An instant, as both clocks tell it.

use crate::Millis;

/// One instant: deadlines count on `mono`, what people and other processes read is in `unix`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic milliseconds since an origin of this process.
    pub mono: Millis,
    /// Unix time.
    pub unix: Millis,
}

impl Now {
    /// The monotonic time of a Unix time: in the past as far as the origin allows, in the future by the difference.
    #[must_use]
    pub fn mono_of(self, unix: Millis) -> Millis {
        if unix > self.unix { self.mono + unix.since(self.unix) } else { self.mono - self.unix.since(unix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_time_has_its_place_on_the_monotonic_clock() {
        let now = Now { mono: Millis(10_000), unix: Millis(1_000_000) };
        assert_eq!(now.mono_of(Millis(999_000)), Millis(9_000));
        assert_eq!(now.mono_of(Millis(1_002_000)), Millis(12_000));
        assert_eq!(now.mono_of(Millis(1)), Millis::ZERO);
    }
}
