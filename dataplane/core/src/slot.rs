//! Hash buckets of rooms and of users.

use xxhash_rust::xxh3::xxh3_64;

/// Number of slots, of rooms and again of users.
pub const SLOTS: u16 = 4096;

/// A hash bucket, 0 to 4,095: the unit in which rooms and users belong to Pods and move between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Slot(u16);

impl Slot {
    /// The slot of a room's or user's id: the low 12 bits of its XXH3, 64 bits wide. Part of the wire format: golden
    /// vectors below, never to be changed.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "twelve bits are left")]
    pub fn of(id: &str) -> Self {
        Self((xxh3_64(id.as_bytes()) & u64::from(SLOTS - 1)) as u16)
    }

    /// The slot of a number below [`SLOTS`].
    #[inline]
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < SLOTS { Some(Self(number)) } else { None }
    }

    /// Its number, below [`SLOTS`].
    #[inline]
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Its place in an array of [`SLOTS`].
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All slots, in order.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        (0..SLOTS).map(Self)
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with another implementation of XXH3 (the Python package `xxhash`).
    #[test]
    fn golden_vectors() {
        let long = "a".repeat(128);
        let vectors = [
            ("", 1218),
            ("final", 1764),
            ("room-1", 3591),
            ("room-2", 2552),
            ("ana", 1530),
            ("決勝", 3221),
            (long.as_str(), 876),
            ("user:42", 1194),
        ];
        for (id, slot) in vectors {
            assert_eq!(Slot::of(id).number(), slot, "{id:?}");
        }
    }

    #[test]
    fn slots_are_4096() {
        assert_eq!(Slot::all().len(), 4096);
        assert_eq!(Slot::new(4095).map(Slot::number), Some(4095));
        assert_eq!(Slot::new(4096), None);
    }
}
