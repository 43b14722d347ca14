//! Limits that all reactors of a gateway share: connections of a user, of an address and altogether, and admission.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use throng_core::{Millis, UserId};
use xxhash_rust::xxh3::xxh3_64;

use crate::options::Limits;
use crate::seats::Seats;

/// Counts by hash, so that a key costs eight bytes whatever its length. Lost on a restart, as the connections are.
#[derive(Default)]
struct Counts(Mutex<HashMap<u64, u32>>);

impl Counts {
    fn enter(&self, key: u64, most: u32) -> bool {
        let mut counts = locked(&self.0);
        let count = counts.entry(key).or_insert(0);
        let fits = most == 0 || *count < most;
        *count += u32::from(fits);
        fits
    }

    fn leave(&self, key: u64) {
        let mut counts = locked(&self.0);
        if let Some(count) = counts.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&key);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shared by all reactors of a process; each call holds a lock for a few dozen nanoseconds, at connect, hello and close.
pub struct Guard {
    users: Counts,
    addresses: Counts,
    pub(crate) seats: Seats,
    bucket: Mutex<Bucket>,
    per_user: u32,
    per_address: u32,
    accepts_per_s: u64,
}

/// Thousandths of a `hello` that may be taken in.
struct Bucket {
    milli: u64,
    at: Millis,
}

impl Guard {
    /// A guard with nobody inside.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let accepts_per_s = u64::from(limits.accepts_per_s);
        Self {
            users: Counts::default(),
            addresses: Counts::default(),
            seats: Seats::new(limits.connections),
            bucket: Mutex::new(Bucket { milli: accepts_per_s * 1000, at: Millis::ZERO }),
            per_user: limits.connections_per_user,
            per_address: limits.connections_per_address,
            accepts_per_s,
        }
    }

    /// Counts a connection of an address; false if it has as many as it may.
    pub fn enter_address(&self, address: u64) -> bool {
        self.per_address == 0 || self.addresses.enter(address, self.per_address)
    }

    /// Uncounts it.
    pub fn leave_address(&self, address: u64) {
        if self.per_address != 0 {
            self.addresses.leave(address);
        }
    }

    /// Counts a connection of a user; false if it has as many as it may.
    pub fn enter_user(&self, user: &UserId) -> bool {
        self.per_user == 0 || self.users.enter(xxh3_64(user.as_str().as_bytes()), self.per_user)
    }

    /// Uncounts it.
    pub fn leave_user(&self, user: &UserId) {
        if self.per_user != 0 {
            self.users.leave(xxh3_64(user.as_str().as_bytes()));
        }
    }

    /// Takes in a `hello`, or says after how many milliseconds to come again. The last quarter of a second's allowance
    /// is kept for resumes: who was here before comes first.
    pub fn admit(&self, resume: bool, now: Millis) -> Result<(), u64> {
        if self.accepts_per_s == 0 {
            return Ok(());
        }
        let mut bucket = locked(&self.bucket);
        let most = self.accepts_per_s * 1000;
        bucket.milli = (bucket.milli + now.since(bucket.at) * self.accepts_per_s).min(most);
        bucket.at = bucket.at.max(now);
        let kept = if resume { 0 } else { most / 4 };
        if bucket.milli >= kept + 1000 {
            bucket.milli -= 1000;
            Ok(())
        } else {
            Err(((kept + 1000 - bucket.milli) / self.accepts_per_s).max(1) + 250)
        }
    }
}

/// What stands for an address in the counts.
#[must_use]
pub fn address_key(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => u64::from(u32::from(v4)),
        // A home or a phone has a whole /64.
        IpAddr::V6(v6) => xxh3_64(v6.octets().first_chunk::<8>().unwrap_or(&[0; 8])) | 1 << 63,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(limits: &Limits) -> Guard {
        Guard::new(limits)
    }

    #[test]
    fn a_user_has_at_most_so_many_connections_at_a_time() {
        let guard = guard(&Limits { connections_per_user: 2, ..Limits::default() });
        let ana = UserId::new("ana").unwrap();
        assert!(guard.enter_user(&ana) && guard.enter_user(&ana));
        assert!(!guard.enter_user(&ana));
        guard.leave_user(&ana);
        assert!(guard.enter_user(&ana));
    }

    #[test]
    fn no_limit_counts_nothing() {
        let guard = guard(&Limits { connections_per_address: 0, accepts_per_s: 0, ..Limits::default() });
        assert!((0..100_000).all(|_| guard.enter_address(1)));
        assert!((0..100_000).all(|_| guard.admit(false, Millis::ZERO).is_ok()));
    }

    #[test]
    fn resumes_are_taken_in_when_new_sessions_are_not_any_more() {
        let guard = guard(&Limits { accepts_per_s: 100, ..Limits::default() });
        let now = Millis(10_000);
        let new = (0..200).filter(|_| guard.admit(false, now).is_ok()).count();
        assert_eq!(new, 75);
        let resumed = (0..200).filter(|_| guard.admit(true, now).is_ok()).count();
        assert_eq!(resumed, 25);
        let retry_ms = guard.admit(false, now).unwrap_err();
        assert!(guard.admit(false, now + retry_ms).is_ok());
    }
}
