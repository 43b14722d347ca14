//! How many connections a gateway has, counted over all its reactors.
//!
//! `limits.connections` counts those that were let in and are not on their way out: they are *inside*. Sockets that are
//! told to come again, and closed ones that are read on for a moment so that their last frame is not lost, are *outside*:
//! if they counted, clients that come again would keep each other out. They are bounded on their own, by a quarter of the
//! limit; where even that is full, a socket is closed at once and hears nothing.

use std::sync::atomic::{AtomicU32, Ordering};

/// Sockets outside that there is always room for.
const MIN_OUTSIDE: u32 = 64;

/// As what a connection counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// Let in.
    Inside,
    /// Told to come again, or closed and read on.
    Outside,
    /// Not counted: there is no limit, or it was asked to leave and will be closed soon.
    Free,
}

/// The counts. Shared by all reactors of a process; lost with it, as the connections are.
#[derive(Debug)]
pub(crate) struct Seats {
    /// 0: any number.
    most: u32,
    inside: AtomicU32,
    outside: AtomicU32,
}

impl Seats {
    /// Room for so many connections; 0: any number.
    pub(crate) const fn new(most: u32) -> Self {
        Self { most, inside: AtomicU32::new(0), outside: AtomicU32::new(0) }
    }

    /// Seats a new connection: inside as long as there is room, else outside; none: close its socket at once.
    pub(crate) fn enter(&self) -> Option<Seat> {
        if self.most == 0 {
            return Some(Seat::Free);
        }
        if take(&self.inside, self.most) { Some(Seat::Inside) } else { self.step_out(Seat::Free) }
    }

    /// Seats outside who had another seat, which is free then; none: close its socket at once, it still has its seat.
    pub(crate) fn step_out(&self, seat: Seat) -> Option<Seat> {
        if self.most == 0 || seat == Seat::Outside {
            return Some(seat);
        }
        take(&self.outside, (self.most / 4).max(MIN_OUTSIDE)).then(|| {
            self.leave(seat);
            Seat::Outside
        })
    }

    /// Frees a seat.
    pub(crate) fn leave(&self, seat: Seat) {
        match seat {
            Seat::Inside => drop(self.inside.fetch_sub(1, Ordering::Relaxed)),
            Seat::Outside => drop(self.outside.fetch_sub(1, Ordering::Relaxed)),
            Seat::Free => {}
        }
    }
}

/// Adds one, up to so many. The counts guard no other memory, so no order is needed.
fn take(count: &AtomicU32, most: u32) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < most).then_some(now + 1)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_come_together_get_exactly_as_many_seats_as_there_are() {
        let seats = Seats::new(1000);
        let inside: usize = std::thread::scope(|scope| {
            let come = || (0..1000).filter(|_| seats.enter() == Some(Seat::Inside)).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(come)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(inside, 1000);
        assert_eq!(seats.outside.load(Ordering::Relaxed), 250, "a quarter waits outside, the others are gone");
    }

    #[test]
    fn whoever_steps_out_makes_room_and_has_no_second_seat() {
        let seats = Seats::new(1);
        assert_eq!([seats.enter(), seats.enter()], [Some(Seat::Inside), Some(Seat::Outside)]);
        assert_eq!(seats.step_out(Seat::Inside), Some(Seat::Outside));
        assert_eq!(seats.step_out(Seat::Outside), Some(Seat::Outside));
        assert_eq!(seats.outside.load(Ordering::Relaxed), 2);
        assert_eq!(seats.enter(), Some(Seat::Inside));
    }

    #[test]
    fn outside_is_bounded_and_whoever_finds_no_place_there_keeps_its_seat_until_it_leaves() {
        let seats = Seats::new(2);
        assert_eq!([seats.enter(), seats.enter()], [Some(Seat::Inside); 2]);
        assert_eq!((0..1000).filter_map(|_| seats.enter()).count(), 64);
        assert_eq!(seats.step_out(Seat::Inside), None);
        assert_eq!(seats.enter(), None);
        seats.leave(Seat::Inside);
        assert_eq!([seats.enter(), seats.enter()], [Some(Seat::Inside), None]);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let seats = Seats::new(0);
        assert!((0..100_000).all(|_| seats.enter() == Some(Seat::Free) && seats.step_out(Seat::Free).is_some()));
    }
}
