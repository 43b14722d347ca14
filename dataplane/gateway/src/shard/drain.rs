//! Sending everybody elsewhere, at a pace that the rest of the fleet can take in: idle users first, speakers last.

use throng_core::Millis;
use throng_core::gateway::LEAVE_MS;
use throng_proto::client::{Body, GoAway};

use super::conn::Conn;
use super::wheel::step_of;
use super::{Shard, Transport};
use crate::seats::Seat;

/// Within what a client is asked to go: who begins at the last moment must still find the way to another gateway before this
/// connection closes.
const AFTER_MS: u64 = LEAVE_MS - 3_000;

/// A drain on its way.
#[derive(Debug)]
pub(super) struct Drain {
    /// The first goaway.
    begun: Millis,
    /// From the first to the last.
    span_ms: u64,
    /// In order; done up to `sent`.
    order: Vec<(u32, u32)>,
    sent: usize,
    /// Everybody is to go, whoever comes later too.
    all: bool,
}

impl<T: Transport> Shard<T> {
    /// Asks everybody to go, at this pace or at that of the configuration (0), and faster where the deadline is sooner.
    pub(super) fn drain(&mut self, within_ms: u64, per_s: u32) {
        let order = self.idle_first();
        let span_ms = self.span_ms(order.len(), per_s).min(within_ms.saturating_sub(LEAVE_MS));
        self.drain = Some(Drain { begun: self.now, span_ms, order, sent: 0, all: true });
        self.drain_some();
    }

    /// Asks some to connect anew. One after the other: while others are asked, nobody else is.
    pub(super) fn shed(&mut self, users: u64, per_s: u32) {
        if self.drain.is_some() {
            return;
        }
        let mut order = self.idle_first();
        order.truncate(usize::try_from(users).unwrap_or(usize::MAX));
        let span_ms = self.span_ms(order.len(), per_s);
        self.drain = Some(Drain { begun: self.now, span_ms, order, sent: 0, all: false });
        self.drain_some();
    }

    fn span_ms(&self, users: usize, per_s: u32) -> u64 {
        let per_s = if per_s == 0 { self.shared.options.drain_per_s.max(1) } else { per_s };
        users as u64 * 1000 / u64::from(per_s)
    }

    /// Connections that are not on their way out, those first that have not said anything for longest.
    fn idle_first(&self) -> Vec<(u32, u32)> {
        let mut order: Vec<(u32, u32, u32)> = self
            .conns
            .iter()
            .filter(|(_, conn)| !conn.leaving)
            .filter_map(|(number, conn)| Some((conn.spoke_step, u32::try_from(number).ok()?, conn.generation)))
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, conn, generation)| (conn, generation)).collect()
    }

    pub(super) fn undrain(&mut self) {
        self.drain = None;
    }

    /// Says goodbye to those whose turn has come.
    pub(super) fn drain_some(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let passed_ms = self.now.since(drain.begun);
        let all = drain.order.len();
        let due = if passed_ms >= drain.span_ms {
            all
        } else {
            usize::try_from(all as u64 * passed_ms / drain.span_ms.max(1)).unwrap_or(all)
        };
        let turn: Vec<(u32, u32)> = drain.order.get(drain.sent..due).unwrap_or_default().to_vec();
        drain.sent = due.max(drain.sent);
        for (conn, generation) in turn {
            if self.conn(conn).is_some_and(|conn| conn.generation == generation) {
                self.send_away(conn);
            }
        }
        // Who has come since is not listed, and goes at once.
        let told = self.drain.as_ref().filter(|drain| drain.sent == drain.order.len()).map(|drain| drain.all);
        if told == Some(false) {
            self.drain = None;
        }
        if told == Some(true) {
            let late: Vec<u32> = self
                .conns
                .iter()
                .filter(|(_, conn)| !conn.leaving && conn.user.is_some())
                .filter_map(|(number, _)| u32::try_from(number).ok())
                .collect();
            for conn in late {
                self.send_away(conn);
            }
        }
        self.close_failed();
    }

    fn send_away(&mut self, conn: u32) {
        let resume = self.resume_token(conn);
        let (now, end) = (self.now, step_of(self.now + LEAVE_MS));
        let Some(record) = self.conns.get_mut(conn as usize) else { return };
        record.leaving = true;
        // Whoever comes in its place need not wait until it has gone.
        self.shared.guard.seats.leave(std::mem::replace(&mut record.seat, Seat::Free));
        record.end_step = end;
        record.look_step = self.wheel.enter(conn, now + LEAVE_MS, now);
        if record.is_open() {
            self.counts.goaways += 1;
            let goaway = GoAway { after_ms: AFTER_MS, resume, reason: "draining".to_owned() };
            self.reply(conn, 0, Body::GoAway(goaway));
        }
    }

    /// Connections that are still here, those asked to go included.
    #[must_use]
    pub fn left(&self) -> usize {
        self.conns.iter().filter(|(_, conn)| Conn::is_open(conn)).count()
    }
}
