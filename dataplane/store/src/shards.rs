//! Which shard of a room a session belongs to.
//!
//! The number of shards is a power of two, so that doubling it moves a session from shard `i` to `i` or `i + n`. The owner
//! keeps the number in the room's meta. When it doubles, it writes the new meta, then each moved session to its new shard,
//! then removes it from the old one; a reader that finds a session twice takes the larger connection epoch.

use throng_core::SessionId;
use xxhash_rust::xxh3::xxh3_64;

/// Most members a shard should have. A hash of 50,000 members is the most that one Redis call should ever touch.
pub const SHARD_MEMBERS: u64 = 50_000;
/// A shard is meant to be filled to this; the rest is for the unevenness of the hash (0.5 % at this size).
const FILL_MEMBERS: u64 = 48_000;
/// Most shards of a room: 49 million members.
pub const MAX_SHARDS: u16 = 1024;

/// How many shards a room of so many members needs.
#[must_use]
pub fn shards_for(members: u64) -> u16 {
    let needed = members.div_ceil(FILL_MEMBERS).max(1).next_power_of_two();
    u16::try_from(needed).unwrap_or(MAX_SHARDS).min(MAX_SHARDS)
}

/// The shard of a session in a room of `shards` shards (a power of two).
#[must_use]
pub fn shard_of(session: SessionId, shards: u16) -> u16 {
    let mask = shards.max(1) - 1;
    u16::try_from(xxh3_64(&session.0.to_le_bytes()) & u64::from(mask)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_shard_is_never_meant_to_hold_more_than_50_000() {
        assert_eq!(shards_for(0), 1);
        assert_eq!(shards_for(48_000), 1);
        assert_eq!(shards_for(48_001), 2);
        assert_eq!(shards_for(1_000_000), 32);
        assert_eq!(shards_for(10_000_000), 256);
        assert_eq!(shards_for(u64::MAX / 4), MAX_SHARDS);
    }

    #[test]
    fn sessions_spread_evenly() {
        let mut counts = [0_u64; 32];
        for session in 0..320_000 {
            counts[usize::from(shard_of(SessionId(session), 32))] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn doubling_leaves_a_session_or_moves_it_by_the_old_number(session: u64, exponent in 0_u32..9) {
            let shards = 1_u16 << exponent;
            let (old, new) = (shard_of(SessionId(session), shards), shard_of(SessionId(session), shards * 2));
            prop_assert!(old < shards);
            prop_assert!(new == old || new == old + shards);
        }
    }
}
