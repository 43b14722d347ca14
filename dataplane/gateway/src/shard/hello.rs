//! Hello: who a connection is, and, on resume, what it goes on with.

use std::collections::BTreeMap;
use std::sync::Arc;

use throng_core::fanout::{Cohort, RateClass};
use throng_core::{Cursor, RoomId, SessionId};
use throng_proto::client::{Hello, Ok, Recovered};
use throng_proto::codes::{CloseCode, ErrorCode};

use super::conn::{Declared, Group};
use super::{Shard, Transport};
use crate::auth::{AuthError, Resumed, Rights};
use crate::options::Downstream;
use crate::traffic::{Failure, Member, ToHub};

/// A hello with `resume` whose rooms are on their way. Bounded by the rooms of a connection.
#[derive(Debug)]
pub(super) struct Resume {
    conn: u32,
    generation: u32,
    id: u64,
    left: usize,
    rooms: BTreeMap<String, Recovered>,
}

impl<T: Transport> Shard<T> {
    pub(super) fn hello(&mut self, conn: u32, id: u64, hello: Hello) {
        if self.conn(conn).is_none_or(|conn| conn.user.is_some()) {
            return self.refuse(conn, id, ErrorCode::BadRequest, "hello was said before; use refresh for a new token");
        }
        let now_s = self.now_s();
        let resumes = hello.resume.is_some();
        let who = match (&hello.token, &hello.resume) {
            (Some(token), None) => self.keys.verifier.verify(token, now_s).map(|token| Resumed {
                user: token.user,
                session: SessionId(self.new_session()),
                conn_epoch: 0,
                expires_s: token.expires_s,
                rights: token.rights,
            }),
            (None, Some(token)) => self.keys.signer.verify(token, now_s),
            _ => return self.refuse(conn, id, ErrorCode::BadRequest, "give either token or resume"),
        };
        let mut who = match who {
            Ok(who) => who,
            Err(error) => return self.unwelcome(conn, id, error),
        };
        if let Err(retry_ms) = self.shared.guard.admit(resumes, self.now) {
            return self.close(conn, CloseCode::TryAgain, &format!("{{\"retry_ms\":{retry_ms}}}"));
        }
        if resumes {
            self.replace(&who);
        }
        if !self.shared.guard.enter_user(&who.user) {
            return self.close(conn, CloseCode::TooManyConnections, "you have as many connections as you may");
        }
        // Unix time makes it grow over gateways that know nothing of each other.
        who.conn_epoch = self.shared.origin.unix(self.now).0.max(who.conn_epoch + 1);
        self.counts.hellos += 1;
        self.counts.resumes += u64::from(resumes);
        self.settle(conn, &who, hello.max_rate);
        self.hub.push(ToHub::Online(Member {
            user: who.user.clone(),
            session: who.session,
            conn_epoch: who.conn_epoch,
        }));
        if resumes && !hello.rooms.is_empty() {
            self.resume_rooms(conn, id, hello.rooms);
        } else {
            self.welcome(conn, id, BTreeMap::new());
        }
    }

    fn unwelcome(&mut self, conn: u32, id: u64, error: AuthError) {
        self.counts.unauthorized += 1;
        self.refuse(conn, id, error.code(), &error.to_string());
        let code = if error == AuthError::Expired { CloseCode::TokenExpired } else { CloseCode::Unauthorized };
        self.close(conn, code, &error.to_string());
    }

    /// Ends connections that the session had here: their sockets may be dead and not know it.
    fn replace(&mut self, who: &Resumed) {
        for conn in self.conns_of(&who.user) {
            if self.conn(conn).is_some_and(|conn| conn.session == who.session && !conn.leaving) {
                self.close(conn, CloseCode::Replaced, "your session goes on in another connection");
            }
        }
    }

    /// Writes into the record what is known of its user now.
    fn settle(&mut self, conn: u32, who: &Resumed, max_rate: Option<u32>) {
        let class = class_of(max_rate, &self.downstream);
        let hash = self.hash_of(&who.user);
        let now = self.now;
        let Some(record) = self.conns.get_mut(conn as usize) else { return };
        record.user = Some(who.user.clone());
        record.session = who.session;
        record.conn_epoch = who.conn_epoch;
        record.expires_s = who.expires_s;
        record.best_lane = who.rights.best_lane;
        record.rights = who.rights.rooms.is_some().then(|| Arc::new(who.rights.clone()));
        record.group = Group::new(record.format(), class, Cohort::of(who.session));
        record.declared = Declared::new(max_rate);
        // The end of the token may be nearer than the look at the handshake's deadline.
        record.look_step = self.wheel.enter(conn, now, now);
        let (conns, hasher) = (&self.conns, &self.hasher);
        self.users.insert_unique(hash, conn, |known| {
            let user = conns.get(*known as usize).and_then(|conn| conn.user.as_ref());
            user.map_or(0, |user| std::hash::BuildHasher::hash_one(hasher, user))
        });
    }

    fn new_session(&mut self) -> u64 {
        self.next_id += 1;
        let text = [self.seed.to_le_bytes(), self.next_id.to_le_bytes(), self.now.0.to_le_bytes()].concat();
        xxhash_rust::xxh3::xxh3_64_with_seed(&text, self.seed)
    }

    /// The resume token of a connection as it is now.
    pub(super) fn resume_token(&self, conn: u32) -> String {
        let Some((record, user)) = self.conn(conn).and_then(|conn| Some((conn, conn.user.clone()?))) else {
            return String::new();
        };
        let rooms = record.rights.as_ref().and_then(|rights| rights.rooms.clone());
        self.keys.signer.sign(&Resumed {
            user,
            session: record.session,
            conn_epoch: record.conn_epoch,
            expires_s: record.expires_s,
            rights: Rights { rooms, best_lane: record.best_lane },
        })
    }

    fn welcome(&mut self, conn: u32, id: u64, rooms: BTreeMap<String, Recovered>) {
        let user = self.conn(conn).and_then(|conn| conn.user.as_ref()).map(|user| user.as_str().to_owned());
        let resume = self.resume_token(conn);
        let ok = Ok {
            user,
            resume: (!resume.is_empty()).then_some(resume),
            ping_ms: Some(self.shared.options.ping_ms),
            rooms,
            ..Ok::default()
        };
        self.ok(conn, id, ok);
    }

    pub(super) fn refresh(&mut self, conn: u32, id: u64, token: &str) {
        let verified = match self.keys.verifier.verify(token, self.now_s()) {
            Ok(verified) => verified,
            Err(error) => return self.refuse(conn, id, error.code(), &error.to_string()),
        };
        let now = self.now;
        let Some(record) = self.conns.get_mut(conn as usize) else { return };
        if record.user.as_ref() != Some(&verified.user) {
            return self.refuse(conn, id, ErrorCode::Forbidden, "the new token is of another user");
        }
        record.expires_s = verified.expires_s;
        record.best_lane = verified.rights.best_lane;
        record.rights = verified.rights.rooms.is_some().then(|| Arc::new(verified.rights));
        // The new end may be nearer than the next look.
        record.look_step = self.wheel.enter(conn, now, now);
        self.leave_uncovered(conn);
        let resume = self.resume_token(conn);
        self.ok(conn, id, Ok { resume: (!resume.is_empty()).then_some(resume), ..Ok::default() });
    }

    fn resume_rooms(&mut self, conn: u32, id: u64, rooms: BTreeMap<String, Cursor>) {
        let generation = self.conn(conn).map_or(0, |conn| conn.generation);
        let resume = Resume { conn, generation, id, left: rooms.len(), rooms: BTreeMap::new() };
        let Ok(number) = u32::try_from(self.resumes.insert(resume)) else { return };
        for (name, since) in rooms {
            let begun = RoomId::new(&name)
                .map_err(|error| Failure::new(ErrorCode::BadId, error.to_string()))
                .and_then(|room| self.begin_resume(conn, room, since, number));
            if let Err(failure) = begun {
                self.room_resumed(number, name, Err(failure.code));
            }
        }
    }

    /// A room of a resume is not waited for any more, because its connection is gone; nobody is answered.
    pub(super) fn resume_room_forgotten(&mut self, number: u32) {
        let Some(resume) = self.resumes.get_mut(number as usize) else { return };
        resume.left = resume.left.saturating_sub(1);
        if resume.left == 0 {
            self.resumes.try_remove(number as usize);
        }
    }

    /// A room of a resume is settled; the last one answers the hello.
    pub(super) fn room_resumed(&mut self, number: u32, room: String, result: Result<(Cursor, bool), ErrorCode>) {
        let Some(resume) = self.resumes.get_mut(number as usize) else { return };
        let recovered = match result {
            Ok((cursor, recovered)) => Recovered { cursor, recovered, error: None },
            Err(code) => Recovered { cursor: Cursor::default(), recovered: false, error: Some(code) },
        };
        self.counts.unrecovered += u64::from(!recovered.recovered);
        resume.rooms.insert(room, recovered);
        resume.left -= 1;
        if resume.left > 0 {
            return;
        }
        if let Some(mut resume) = self.resumes.try_remove(number as usize) {
            if self.conn(resume.conn).is_none_or(|conn| conn.generation != resume.generation || conn.user.is_none()) {
                return;
            }
            for (room, recovered) in &mut resume.rooms {
                // Rooms that were ready first have gone on since.
                let live = self.room_of.get(room.as_str()).and_then(|room| self.room(*room)?.position);
                if let (None, Some(position)) = (recovered.error, live) {
                    recovered.cursor = position;
                }
            }
            self.welcome(resume.conn, resume.id, resume.rooms);
        }
    }
}

/// The rate class of what a client declared.
pub(super) fn class_of(max_rate: Option<u32>, downstream: &Downstream) -> RateClass {
    match max_rate {
        None => RateClass::of(downstream.messages_per_second),
        Some(0) if downstream.allow_unlimited => RateClass::UNLIMITED,
        Some(0) => RateClass::of(downstream.max_messages_per_second.max(1)),
        Some(rate) => RateClass::of(rate.min(downstream.max_messages_per_second.max(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_rate_it_declares_as_far_as_it_may() {
        let downstream = Downstream { messages_per_second: 20, max_messages_per_second: 100, allow_unlimited: false };
        let per_s = |max_rate| class_of(max_rate, &downstream).per_s();
        assert_eq!(per_s(None), Some(20));
        assert_eq!(per_s(Some(5)), Some(5));
        assert_eq!(per_s(Some(999)), Some(100));
        assert_eq!(per_s(Some(0)), Some(100));
        assert_eq!(class_of(Some(0), &Downstream { allow_unlimited: true, ..downstream }), RateClass::UNLIMITED);
    }
}
