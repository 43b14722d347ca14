//! The clients: who is in which room, and how they come back when their connection is gone. They do what the protocol's
//! page tells a client to do: keep their token and cursors, wait a random and growing time, try another gateway.

use std::collections::{BTreeSet, HashMap};

use rand::RngExt as _;
use throng_core::Lane;

use super::args::FailoverArgs;
use crate::bench::clock::now_us;
use crate::bench::commands;
use crate::bench::conn::{ConnId, Identity};
use crate::bench::fleet::Fleet;
use crate::bench::frames::RoomKey;
use crate::bench::notes::{Note, Opened};
use crate::bench::publisher::AFTER_LAST_ID;
use crate::bench::token::Signer;

/// Rooms of one connection, at most: the server's limit without the hot room.
const ROOMS_PER_CLIENT: u32 = 99;
/// Who hears nothing for so long asks whether anybody is there ...
const ASK_AFTER_US: u64 = 1_000_000;
/// ... and takes the connection for dead after so long.
const DEAD_AFTER_US: u64 = 3_000_000;
/// First wait before coming back, at most; it doubles with each failure.
const WAIT_US: u64 = 250_000;
const LONGEST_WAIT_US: u64 = 10_000_000;
/// Before a room that a resume left out is joined again.
const REJOIN_US: u64 = 300_000;
/// Time between two looks at all connections.
const LOOK_US: u64 = 100_000;
/// Id of a ping.
const PING_ID: u64 = AFTER_LAST_ID;

/// Members of the rooms beside the hot one, by room.
pub(super) struct Rooms {
    /// The room that everybody is in.
    pub(super) hot: RoomKey,
    /// The others.
    pub(super) quiet: Vec<(RoomKey, Vec<ConnId>)>,
}

impl Rooms {
    /// Makes clients, not opened yet, and spreads them over the rooms.
    pub(super) fn fill(
        args: &FailoverArgs,
        fleet: &mut Fleet,
        signer: &Signer,
        gateways: usize,
    ) -> anyhow::Result<Self> {
        let seats = args.rooms.saturating_mul(u32::from(args.room_members)).div_ceil(args.members);
        anyhow::ensure!(
            seats <= ROOMS_PER_CLIENT && u32::from(args.room_members) <= args.members,
            "{} rooms of {} members are too many for {} clients: one is in 100 rooms at most",
            args.rooms,
            args.room_members,
            args.members
        );
        let hot = fleet.shared.parser.room("hot");
        let mut rooms_of = vec![vec![hot]; args.members as usize];
        let mut quiet = Vec::with_capacity(args.rooms as usize);
        for number in 0..args.rooms {
            let room = fleet.shared.parser.room(&format!("room-{number}"));
            let members = members(number, u32::from(args.room_members), args.members);
            for member in &members {
                if let Some(rooms) = rooms_of.get_mut(*member) {
                    rooms.push(room);
                }
            }
            quiet.push((room, members));
        }
        for (number, rooms) in rooms_of.into_iter().enumerate() {
            let token = signer.sign(&format!("bench-{number}"), Some(Lane::Protected))?;
            // Nothing is left out for a budget: what is declared missing was lost on the way.
            let max_rate = Some(0);
            fleet.add(Identity { endpoint: number % gateways, token, rooms, max_rate, ..Identity::default() });
        }
        Ok(Self { hot, quiet })
    }
}

/// Neighbours in a circle of all clients, the distance growing with each turn, so that members sit at both gateways or at
/// one.
fn members(room: u32, count: u32, of: u32) -> Vec<ConnId> {
    let (first, turn) = (room % of, room / of);
    let step = 1 + turn % (of / count).max(1);
    (0..count).map(|place| ((first + place * step) % of) as usize).collect()
}

/// Keeps everybody connected.
pub(in crate::bench) struct Crowd {
    gateways: usize,
    back: BTreeSet<(u64, ConnId)>,
    rejoin: BTreeSet<(u64, ConnId, usize)>,
    leaving: BTreeSet<(u64, ConnId)>,
    failures: HashMap<ConnId, u32>,
    asked: HashMap<ConnId, u64>,
    looked_us: u64,
    /// Connections that were open and ended, or were taken for dead.
    pub(in crate::bench) disconnects: u64,
    /// Returns that had to begin a new session.
    pub(in crate::bench) sessions_lost: u64,
    /// Returns with `recovered: false` in some room.
    pub(in crate::bench) partly: u64,
    /// Connections whose gateway said that it goes.
    pub(in crate::bench) goaways: u64,
    /// Why the first connection ended.
    pub(in crate::bench) first_end: Option<String>,
}

impl Crowd {
    /// Everybody is connected.
    pub(in crate::bench) fn new(gateways: usize) -> Self {
        Self {
            gateways,
            back: BTreeSet::new(),
            rejoin: BTreeSet::new(),
            leaving: BTreeSet::new(),
            failures: HashMap::new(),
            asked: HashMap::new(),
            looked_us: 0,
            disconnects: 0,
            sessions_lost: 0,
            partly: 0,
            goaways: 0,
            first_end: None,
        }
    }

    /// Nobody is away, and everybody is in all rooms.
    pub(in crate::bench) fn is_complete(&self, fleet: &Fleet) -> bool {
        self.back.is_empty()
            && self.rejoin.is_empty()
            && self.leaving.is_empty()
            && (0..fleet.conns().len()).all(|id| fleet.is_ready(id))
    }

    /// Takes note of who left and who came.
    pub(in crate::bench) fn note(&mut self, note: &Note, fleet: &mut Fleet) {
        match note {
            Note::Ready { conn, how } => {
                self.failures.remove(conn);
                self.sessions_lost += u64::from(*how == Opened::Fresh);
                self.partly += u64::from(*how == Opened::Partly);
            }
            Note::Unjoined { conn, room } => {
                self.rejoin.insert((now_us() + REJOIN_US, *conn, room.0));
            }
            Note::GoAway { conn, after_ms } => {
                self.goaways += 1;
                let wait_us = rand::rng().random_range(0..(after_ms * 1000).max(1));
                self.leaving.insert((now_us() + wait_us, *conn));
            }
            Note::NotReplaced { conn, closing } => {
                let wait_us = self.wait_us(*conn, closing.retry_ms());
                self.leaving.insert((now_us() + wait_us, *conn));
            }
            Note::Closed { conn, closing } => {
                let shared = &mut fleet.shared;
                if let Some(place) = shared.ended.iter().position(|ended| ended == conn) {
                    shared.ended.swap_remove(place);
                    self.disconnects += 1;
                    self.first_end.get_or_insert_with(|| closing.to_string());
                }
                self.away(*conn, closing.retry_ms(), fleet);
            }
            _ => {}
        }
    }

    /// Opens who is due, and looks after the silent.
    pub(in crate::bench) fn pump(&mut self, fleet: &mut Fleet, now_us: u64) {
        while let Some((due_us, id)) = self.back.first().copied().filter(|(due_us, _)| *due_us <= now_us) {
            self.back.remove(&(due_us, id));
            if fleet.open(id).is_err() {
                self.away(id, None, fleet);
            }
        }
        while let Some((due_us, id)) = self.leaving.first().copied().filter(|(due_us, _)| *due_us <= now_us) {
            self.leaving.remove(&(due_us, id));
            self.elsewhere(id, fleet);
            if fleet.replace_conn(id).is_err() {
                self.leaving.insert((now_us + WAIT_US, id));
            }
        }
        while let Some(entry) = self.rejoin.first().copied().filter(|(due_us, ..)| *due_us <= now_us) {
            self.rejoin.remove(&entry);
            fleet.rejoin(entry.1, RoomKey(entry.2));
        }
        if now_us > self.looked_us + LOOK_US {
            self.looked_us = now_us;
            for id in 0..fleet.conns().len() {
                self.look(id, fleet, now_us);
            }
        }
    }

    fn look(&mut self, id: ConnId, fleet: &mut Fleet, now_us: u64) {
        fleet.give_up_next(id, now_us, DEAD_AFTER_US);
        let Some(conn) = fleet.conns().get(id).filter(|conn| !conn.is_away()) else { return };
        let (ready, heard_us) = (conn.is_ready(), conn.tally.heard_us);
        let silent_us = now_us.saturating_sub(heard_us);
        // It was asked in this silence, and had its time to answer: a bench that could not run for seconds hears of the past first.
        let asked_us = self.asked.get(&id).copied().filter(|asked_us| *asked_us >= heard_us);
        let in_vain = asked_us.is_some_and(|asked_us| now_us > asked_us + (DEAD_AFTER_US - ASK_AFTER_US));
        if silent_us > DEAD_AFTER_US && (in_vain || !ready) {
            fleet.cut(id);
            if ready {
                self.disconnects += 1;
                self.first_end
                    .get_or_insert_with(|| "nothing was heard for three seconds, not even an answer to a ping".into());
            }
            self.away(id, None, fleet);
        } else if ready && silent_us > ASK_AFTER_US && asked_us.is_none() {
            self.asked.insert(id, now_us);
            fleet.send(id, &commands::ping(PING_ID));
        }
    }

    /// It comes back after a while, at the next gateway.
    fn away(&mut self, id: ConnId, retry_ms: Option<u64>, fleet: &mut Fleet) {
        let due_us = now_us() + self.wait_us(id, retry_ms);
        self.rejoin.retain(|(_, conn, _)| *conn != id);
        self.leaving.retain(|(_, conn)| *conn != id);
        self.elsewhere(id, fleet);
        self.back.insert((due_us, id));
    }

    /// Its next connection goes to the next gateway.
    fn elsewhere(&self, id: ConnId, fleet: &mut Fleet) {
        if let Some(conn) = fleet.conns().get(id) {
            fleet.redirect(id, (conn.identity.endpoint + 1) % self.gateways);
        }
    }

    /// How long it waits after one more failure.
    fn wait_us(&mut self, id: ConnId, retry_ms: Option<u64>) -> u64 {
        let failures = self.failures.entry(id).or_default();
        *failures += 1;
        let most_us = (WAIT_US << (*failures - 1).min(10)).min(LONGEST_WAIT_US);
        retry_ms.unwrap_or(0) * 1000 + rand::rng().random_range(0..most_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_room_are_different_people_and_rooms_are_spread_evenly() {
        let mut load = vec![0; 100];
        for room in 0..400 {
            let members = members(room, 2, 100);
            assert_ne!(members[0], members[1]);
            for member in members {
                load[member] += 1;
            }
        }
        assert_eq!((load.iter().min(), load.iter().max()), (Some(&8), Some(&8)));
    }
}
