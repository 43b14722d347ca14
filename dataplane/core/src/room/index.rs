//! An order of users that costs little to change and survives a move of the room: by hash of the name.
//!
//! A sorted array, cut into buckets by the leading bits of the hash so that an insertion moves only a few entries. The
//! place of a user in the order depends on the name alone, so a page can go on where the one before ended, whatever
//! joined or left in between and whoever owns the room by then.

use xxhash_rust::xxh3::xxh3_64;

use crate::UserId;

/// Entries of a bucket, on average, at which the buckets are halved: few enough to move within 2 KiB, many enough that
/// a small room has one bucket.
const HALVE_AT: usize = 128;
const MAX_BITS: u32 = 20;

/// Where the table keeps a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    hash: u64,
    place: u32,
}

/// Places in a table of users, ordered by (hash of the name, name).
#[derive(Debug)]
pub(super) struct Index {
    bits: u32,
    buckets: Vec<Vec<Entry>>,
    len: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self { bits: 0, buckets: vec![Vec::new()], len: 0 }
    }
}

/// Hash that orders users. Not part of any format, but two owners should agree while a list is being paged.
pub(super) fn hash_of(user: &UserId) -> u64 {
    xxh3_64(user.as_str().as_bytes())
}

impl Index {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The place of a user, `name` tells whose place it is.
    pub(super) fn find<'a>(&self, user: &UserId, hash: u64, name: impl Fn(u32) -> Option<&'a UserId>) -> Option<u32> {
        let bucket = self.buckets.get(self.bucket_of(hash))?;
        let first = bucket.partition_point(|entry| entry.hash < hash);
        let same = bucket.iter().skip(first).take_while(|entry| entry.hash == hash);
        same.map(|entry| entry.place).find(|&place| name(place) == Some(user))
    }

    /// Notes the place of a user who has none yet.
    pub(super) fn insert<'a>(
        &mut self,
        user: &UserId,
        hash: u64,
        place: u32,
        name: impl Fn(u32) -> Option<&'a UserId>,
    ) {
        if self.len >= self.buckets.len() * HALVE_AT && self.bits < MAX_BITS {
            self.halve();
        }
        let at = self.bucket_of(hash);
        if let Some(bucket) = self.buckets.get_mut(at) {
            let at = bucket.partition_point(|entry| (entry.hash, name_if(entry, hash, &name)) < (hash, Some(user)));
            bucket.insert(at, Entry { hash, place });
            self.len += 1;
        }
    }

    /// Forgets the place of a user.
    pub(super) fn remove(&mut self, hash: u64, place: u32) {
        let at = self.bucket_of(hash);
        let Some(bucket) = self.buckets.get_mut(at) else { return };
        let first = bucket.partition_point(|entry| entry.hash < hash);
        if let Some(offset) = bucket.iter().skip(first).position(|entry| *entry == Entry { hash, place }) {
            bucket.remove(first + offset);
            self.len -= 1;
        }
        if self.len == 0 {
            *self = Self::default();
        }
    }

    /// Places after `user` in the order, from the start without one.
    pub(super) fn after<'a, 'b>(
        &'b self,
        user: Option<&'b UserId>,
        name: impl Fn(u32) -> Option<&'a UserId> + 'b,
    ) -> impl Iterator<Item = u32> + 'b {
        let hash = user.map_or(0, hash_of);
        let entries = self.buckets.iter().skip(self.bucket_of(hash)).flatten();
        entries
            .skip_while(move |entry| {
                user.is_some_and(|user| (entry.hash, name_if(entry, hash, &name)) <= (hash, Some(user)))
            })
            .map(|entry| entry.place)
    }

    fn bucket_of(&self, hash: u64) -> usize {
        let leading = hash.checked_shr(u64::BITS - self.bits).unwrap_or(0);
        usize::try_from(leading).unwrap_or(0)
    }

    fn halve(&mut self) {
        self.bits += 1;
        let bit = 1u64 << (u64::BITS - self.bits);
        let buckets = std::mem::take(&mut self.buckets);
        self.buckets = buckets
            .into_iter()
            .flat_map(|mut lower| {
                let upper = lower.split_off(lower.partition_point(|entry| entry.hash & bit == 0));
                [lower, upper]
            })
            .collect();
    }
}

/// The name behind an entry, looked up only where the hash does not decide.
fn name_if<'a>(entry: &Entry, hash: u64, name: impl Fn(u32) -> Option<&'a UserId>) -> Option<&'a UserId> {
    if entry.hash == hash { name(entry.place) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user(number: u32) -> UserId {
        UserId::new(&format!("user-{number}")).unwrap()
    }

    proptest! {
        /// Whatever came and went, the order holds exactly who is in, sorted, and each is found.
        #[test]
        fn the_order_holds_exactly_who_is_in(changes in prop::collection::vec((any::<bool>(), 0u32..600), 0..900)) {
            let names: Vec<UserId> = (0..600).map(user).collect();
            let name = |place: u32| names.get(place as usize);
            let mut index = Index::default();
            let mut inside = std::collections::BTreeSet::new();
            for (join, number) in changes {
                let (who, hash) = (&names[number as usize], hash_of(&names[number as usize]));
                prop_assert_eq!(index.find(who, hash, name), inside.contains(&number).then_some(number));
                if join && inside.insert(number) {
                    index.insert(who, hash, number, name);
                } else if !join && inside.remove(&number) {
                    index.remove(hash, number);
                }
            }
            let listed: Vec<u32> = index.after(None, name).collect();
            let mut expected: Vec<u32> = inside.into_iter().collect();
            expected.sort_by_key(|&number| hash_of(&names[number as usize]));
            prop_assert_eq!(index.len(), expected.len());
            prop_assert_eq!(&listed, &expected);
            if let Some(&middle) = expected.get(expected.len() / 2) {
                let rest: Vec<u32> = index.after(Some(&names[middle as usize]), name).collect();
                prop_assert_eq!(&rest[..], &expected[expected.len() / 2 + 1..]);
            }
        }
    }

    #[test]
    fn users_whose_names_collide_are_told_apart() {
        let names = [user(0), user(1), user(2)];
        let name = |place: u32| names.get(place as usize);
        let mut index = Index::default();
        for (place, who) in names.iter().enumerate().rev() {
            index.insert(who, 7, u32::try_from(place).unwrap(), name);
        }
        assert_eq!(index.find(&names[1], 7, name), Some(1));
        assert_eq!(index.after(None, name).collect::<Vec<_>>(), [0, 1, 2]);
        index.remove(7, 1);
        assert_eq!(index.find(&names[1], 7, name), None);
        assert_eq!(index.find(&names[2], 7, name), Some(2));
    }
}
