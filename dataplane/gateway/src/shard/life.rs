//! How connections end, and what time does to them.

use std::sync::Arc;

use bytes::Bytes;
use throng_core::fanout::Outbox;
use throng_core::{Lane, Millis};
use throng_proto::codes::CloseCode;
use throng_ws::frame;

use super::conn::{Place, Stage};
use super::wheel::{STEP_MS, step_of};
use super::{Sent, Shard, Transport};
use crate::traffic::{Member, ToHub};

/// How long a closed connection is read on, so that its last frame is not lost to a reset.
const LINGER_MS: u64 = 2000;
/// How often what waits for a slow client is looked through.
const OUTBOX_LOOK_MS: u64 = 1000;
/// How often pending joins and empty rooms are looked through.
const SWEEP_MS: u64 = 500;
/// How often what waits for slow clients is summed up.
const SUM_MS: u64 = 2000;
/// What those are told who have not gone before the gateway does.
const STOPS: &str = "this gateway stops: resume with your token";
/// How long an empty room stays subscribed, for those who come back.
const ROOM_LINGER_MS: u64 = 5000;

impl<T: Transport> Shard<T> {
    /// Closes a connection with a code and words. Its session may be resumed.
    pub(super) fn close(&mut self, conn: u32, code: CloseCode, reason: &str) {
        let Some(record) = self.conn(conn) else { return };
        match record.stage {
            Stage::Closing => {}
            Stage::Head(_) => self.drop_conn(conn),
            Stage::Open => {
                self.counts.closed(code);
                self.detach(conn, false);
                self.last_frame(conn, frame::close(code.number(), reason));
            }
        }
    }

    /// The gateway ends now: everybody who is still here is told so. What does not go out at once is lost.
    pub fn stop(&mut self) {
        let all: Vec<u32> = self.conns.iter().filter_map(|(number, _)| u32::try_from(number).ok()).collect();
        for conn in all {
            self.close(conn, CloseCode::GoingAway, STOPS);
        }
        self.close_failed();
    }

    /// Sends the last frame, after which nothing but the end of the stream follows.
    pub(super) fn last_frame(&mut self, conn: u32, frame: Bytes) {
        let Some(record) = self.conns.get_mut(conn as usize) else { return };
        match record.outbox.take() {
            // What waits is not worth waiting for, except the rest of a frame, which cannot be left out.
            Some(mut outbox) => match outbox.next(self.now) {
                Some(throng_core::fanout::Next::Write(rest)) if outbox.in_frame() => {
                    let mut last = Outbox::with_rest(rest, self.now);
                    let unbounded = throng_core::fanout::Limits { bytes: usize::MAX, age_ms: LINGER_MS };
                    let _ = last.barrier(frame, &unbounded);
                    record.outbox = Some(Box::new(last));
                }
                _ => self.write_last(conn, &frame),
            },
            None => self.write_last(conn, &frame),
        }
        self.linger(conn);
        self.writable(conn);
    }

    fn write_last(&mut self, conn: u32, frame: &Bytes) {
        match self.io.send(conn, frame) {
            Sent::Bytes(sent) if sent == frame.len() => self.io.finish(conn),
            Sent::Bytes(_) | Sent::Blocked | Sent::Closed => {}
        }
    }

    /// Reads on for a while without listening.
    pub(super) fn linger(&mut self, conn: u32) {
        let now = self.now;
        self.detach(conn, false);
        if let Some(record) = self.conns.get_mut(conn as usize) {
            record.stage = Stage::Closing;
            record.end_step = step_of(now + LINGER_MS);
            record.look_step = self.wheel.enter(conn, now + LINGER_MS, now);
        }
        if !self.step_out(conn) {
            // Too many are read on already: what goes out at once must do.
            self.writable(conn);
            self.drop_conn(conn);
        }
    }

    /// Counts a connection among those that are told to come again or are closed; false: there are too many of them.
    pub(super) fn step_out(&mut self, conn: u32) -> bool {
        let Some(record) = self.conns.get_mut(conn as usize) else { return true };
        let seat = self.shared.guard.seats.step_out(record.seat);
        record.seat = seat.unwrap_or(record.seat);
        seat.is_some()
    }

    /// Forgets a connection and its socket.
    pub(super) fn drop_conn(&mut self, conn: u32) {
        if self.forget(conn) {
            self.counts.dropped += 1;
            self.io.close(conn);
        }
    }

    /// Forgets a connection; false: there is none.
    pub(super) fn forget(&mut self, conn: u32) -> bool {
        self.detach(conn, false);
        let record = self.conns.try_remove(conn as usize);
        record.is_some_and(|record| {
            self.shared.guard.seats.leave(record.seat);
            true
        })
    }

    /// Takes a connection out of its rooms and out of all counts. Harmless when repeated.
    pub(super) fn detach(&mut self, conn: u32, ended: bool) {
        let Some(record) = self.conns.get_mut(conn as usize) else { return };
        if std::mem::take(&mut record.counted_address) {
            self.shared.guard.leave_address(record.address);
        }
        let Some(user) = record.user.take() else { return };
        let member = Member { user, session: record.session, conn_epoch: record.conn_epoch };
        let memberships = std::mem::take(&mut record.rooms);
        let hash = self.hash_of(&member.user);
        if let Ok(entry) = self.users.find_entry(hash, |known| *known == conn) {
            entry.remove();
        }
        self.shared.guard.leave_user(&member.user);
        self.counts.sessions_closed += 1;
        let mut rooms = Vec::with_capacity(memberships.len());
        for membership in memberships {
            if let Some(room) = self.room(membership.room) {
                rooms.push(room.id.clone());
            }
            match membership.place {
                Place::Live(at) => self.remove_sub(membership.room, at),
                Place::Pending(pending) => self.forget_pending(pending),
            }
        }
        self.hub.push(ToHub::Gone { member, rooms, ended });
    }

    /// Does what is due: deadlines of connections, then those of rooms and joins.
    pub(super) fn look_at_due(&mut self) {
        while let Some((step, conns)) = self.wheel.take(self.now) {
            for conn in conns {
                if self.conn(conn).is_some_and(|conn| conn.look_step == step) {
                    self.look_at(conn);
                }
            }
        }
        self.close_failed();
        if self.now.since(self.swept) >= SWEEP_MS {
            self.swept = self.now;
            self.sweep_pending();
            self.sweep_rooms();
            self.close_failed();
        }
        if self.now.since(self.summed) >= SUM_MS {
            self.summed = self.now;
            let outboxes = self.conns.iter().filter_map(|(_, conn)| conn.outbox.as_ref());
            self.waiting = outboxes.fold((0, 0), |(conns, bytes), outbox| (conns + 1, bytes + outbox.bytes() as u64));
        }
    }

    fn look_at(&mut self, conn: u32) {
        let Some(next) = self.due(conn) else { return };
        let now = self.now;
        if let Some(record) = self.conns.get_mut(conn as usize) {
            record.look_step = self.wheel.enter(conn, next.max(now + STEP_MS), now);
        }
    }

    /// Does what is due of a connection; when to look again, none if it is gone.
    fn due(&mut self, conn: u32) -> Option<Millis> {
        let now = self.now;
        let step = step_of(now);
        let shared = Arc::clone(&self.shared);
        let limits = &shared.options.limits;
        let record = self.conn_mut(conn)?;
        let at = |step: u32| Millis(u64::from(step) * STEP_MS);
        if record.end_step != 0 && step >= record.end_step {
            if matches!(record.stage, Stage::Closing) {
                self.drop_conn(conn);
                return None;
            }
            self.close(conn, CloseCode::GoingAway, STOPS);
            return None;
        }
        let end = if record.end_step == 0 { Millis(u64::MAX) } else { at(record.end_step) };
        match record.stage {
            Stage::Closing => return Some(end),
            Stage::Head(_) => {
                let deadline = at(record.opened_step) + limits.header_ms;
                if now >= deadline {
                    self.counts.head_timeouts += 1;
                    self.drop_conn(conn);
                    return None;
                }
                return Some(deadline);
            }
            Stage::Open => {}
        }
        if record.user.is_none() {
            let deadline = at(record.opened_step) + limits.hello_ms;
            if now >= deadline {
                self.close(conn, CloseCode::HelloTimeout, "say hello within the time given");
                return None;
            }
            return Some(deadline);
        }
        let expires = Millis(record.expires_s.saturating_mul(1000)).0.saturating_sub(shared.origin.unix_ms);
        if now.0 >= expires {
            self.close(conn, CloseCode::TokenExpired, "your token has expired: say hello with a new one");
            return None;
        }
        let outbox_look = self.expire_outbox(conn)?;
        let ping = self.keep_alive(conn)?;
        Some(end.min(Millis(expires)).min(outbox_look).min(ping))
    }

    /// Drops what waited too long for a slow client; when to look again.
    fn expire_outbox(&mut self, conn: u32) -> Option<Millis> {
        let (now, limits) = (self.now, self.limits);
        let Some(outbox) = &mut self.conn_mut(conn)?.outbox else { return Some(Millis(u64::MAX)) };
        if outbox.expire(now, &limits).is_err() {
            self.close(conn, CloseCode::Slow, "your connection is too slow: resume with your token");
            return None;
        }
        Some(now + OUTBOX_LOOK_MS)
    }

    /// Pings the silent and closes those that stay silent; when to look again.
    fn keep_alive(&mut self, conn: u32) -> Option<Millis> {
        let now = self.now;
        let ping_ms = u64::from(self.shared.options.ping_ms);
        let at = |step: u32| Millis(u64::from(step) * STEP_MS);
        let record = self.conn_mut(conn)?;
        let heard = at(record.heard_step);
        let jitter = u64::from(record.generation.wrapping_mul(2_654_435_761) >> 16) * ping_ms / 8 / 65_536;
        if now < heard + ping_ms + jitter {
            return Some(heard + ping_ms + jitter);
        }
        if record.pinged_step > record.heard_step {
            let give_up = at(record.pinged_step) + ping_ms;
            if now >= give_up {
                self.close(conn, CloseCode::Silent, "nothing was heard of you, not even a pong");
                return None;
            }
            return Some(give_up);
        }
        // Later than anything heard in this very step.
        record.pinged_step = step_of(now).max(record.heard_step + 1);
        self.counts.pings += 1;
        self.send(conn, Lane::Control, frame::ping(b""));
        Some(now + ping_ms)
    }

    /// Starts to look after an outbox that has just come to be.
    pub(super) fn watch_outbox(&mut self, conn: u32) {
        let now = self.now;
        let soon = step_of(now + OUTBOX_LOOK_MS + STEP_MS);
        if let Some(record) = self.conns.get_mut(conn as usize).filter(|conn| conn.look_step > soon) {
            record.look_step = self.wheel.enter(conn, now + OUTBOX_LOOK_MS, now);
        }
    }

    fn sweep_rooms(&mut self) {
        let now = self.now;
        let due: Vec<u32> = self
            .rooms
            .iter()
            .filter(|(_, room)| room.is_empty() && now.since(room.empty_since) >= ROOM_LINGER_MS)
            .filter_map(|(number, _)| u32::try_from(number).ok())
            .collect();
        for number in due {
            if let Some(room) = self.rooms.try_remove(number as usize) {
                self.room_of.remove(&room.id);
                self.hub.push(ToHub::Unwanted(room.id));
            }
        }
        let waiting: Vec<u32> = self
            .rooms
            .iter()
            .filter(|(_, room)| room.event.as_ref().is_some_and(|(_, by)| now >= *by))
            .filter_map(|(number, _)| u32::try_from(number).ok())
            .collect();
        for number in waiting {
            self.flush_event(number);
        }
    }
}
