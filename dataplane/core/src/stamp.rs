//! The order of a room: epochs, numbers and cursors.

use std::fmt;
use std::ops::{Index, IndexMut};

use crate::Lane;

/// Fencing number of a claim on a slot: `incarnation * 2^40 + mod_revision`. Only grows; below 2^53, so that it is
/// exact as a JSON number. Zero is "no epoch yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Before any owner.
    pub const NONE: Self = Self(0);

    /// The epoch of a claim that etcd wrote at `mod_revision` under `incarnation`.
    #[must_use]
    pub const fn of_claim(incarnation: u64, mod_revision: u64) -> Self {
        Self((incarnation << 40) + mod_revision)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One number a lane: the last `seq` of each, zero before the first message. Indexed by [`Lane`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Seqs(pub [u64; Lane::COUNT]);

impl Seqs {
    /// Nothing yet.
    pub const ZERO: Self = Self([0; Lane::COUNT]);

    /// The larger number of each lane.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        let mut larger = self;
        for lane in Lane::ALL {
            larger[lane] = larger[lane].max(other[lane]);
        }
        larger
    }
}

impl Index<Lane> for Seqs {
    type Output = u64;

    #[expect(clippy::indexing_slicing, reason = "a lane is always inside an array by lane")]
    fn index(&self, lane: Lane) -> &u64 {
        &self.0[lane.index()]
    }
}

impl IndexMut<Lane> for Seqs {
    #[expect(clippy::indexing_slicing, reason = "a lane is always inside an array by lane")]
    fn index_mut(&mut self, lane: Lane) -> &mut u64 {
        &mut self.0[lane.index()]
    }
}

/// Place of a message in its room. Never has two contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Stamp {
    /// Under which claim it was ordered.
    pub epoch: Epoch,
    /// Priority class.
    pub lane: Lane,
    /// 1, 2, 3 ... within the lane and epoch, so that a hole is visible to anyone.
    pub seq: u64,
}

/// How far a reader has come in a room: everything up to `seq[lane]` of `epoch` is behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The epoch that the numbers belong to.
    pub epoch: Epoch,
    /// Last number behind the reader, a lane.
    pub seq: Seqs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_incarnation_outranks_every_revision_of_an_earlier_one() {
        assert!(Epoch::of_claim(2, 1) > Epoch::of_claim(1, (1 << 40) - 1));
        assert!(Epoch::of_claim(8191, 1).0 < 1 << 53);
    }

    #[test]
    fn a_cursor_reads_as_the_protocol_writes_it() {
        let cursor: Cursor = serde_json::from_str(r#"{"epoch":7,"seq":[0,3,118,9]}"#).unwrap();
        assert_eq!(cursor, Cursor { epoch: Epoch(7), seq: Seqs([0, 3, 118, 9]) });
    }
}
