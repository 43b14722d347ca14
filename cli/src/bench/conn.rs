//! One connection of the load client: from the TCP connect to the last frame, without a task or a buffer of its own while
//! nothing is under way.

mod next;

use std::io::{ErrorKind, Read as _, Write as _};

use mio::net::TcpStream;
use throng_core::{Cursor, Epoch, Seqs, Stamp};

use self::next::Next;
use super::checker::Ledger;
use super::commands;
use super::frames::{Item, OkReply, RoomKey, SegmentItem};
use super::notes::{Answer, Closing, Note, Opened, Receipt, Shared};
use super::wire::{self, Op};

/// Id of the hello; joins follow. Scenarios choose ids from [`FIRST_FREE_ID`].
const HELLO_ID: u64 = 1;
const FIRST_JOIN_ID: u64 = 2;
/// Ids of joins that go on from a cursor.
const FIRST_REJOIN_ID: u64 = 500;
/// First id that a scenario may use.
pub(super) const FIRST_FREE_ID: u64 = 1_000;

/// Least space for one read.
const READ_BYTES: usize = 64 << 10;

/// A connection's place in its fleet.
pub(super) type ConnId = usize;

/// Who a connection is, and what it does once it is open.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// Which gateway, as a place in the fleet's endpoints.
    pub(super) endpoint: usize,
    /// A signed token.
    pub(super) token: Box<str>,
    /// Rooms to join.
    pub(super) rooms: Vec<RoomKey>,
    /// Budget to ask for; none: the server's default.
    pub(super) max_rate: Option<u32>,
    /// It only looks on: nothing that it gets is its own. Viewers are what budgets are measured on.
    pub(super) viewer: bool,
    /// Its segments give the observed tick, its count events are told.
    pub(super) watched: bool,
}

/// Where a connection is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not opened.
    Idle,
    /// Connecting, or waiting for the answer to the upgrade.
    Upgrading,
    /// Waiting for the answer to the hello.
    Greeting,
    /// Waiting for so many rooms.
    Joining(usize),
    /// Open, and in its rooms.
    Ready,
    /// Ended by either side.
    Closed,
}

/// What a connection received, for figures per viewer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Bytes, all told.
    pub(super) bytes: u64,
    /// Pings answered.
    pub(super) pings: u32,
    /// Messages of lanes 2-3 inside the window.
    pub(super) budgeted: u64,
    /// When anything was last heard, or the connection was last opened.
    pub(super) heard_us: u64,
    segment_us: u64,
    /// It has changed to another gateway, and nothing came over that yet.
    moved: bool,
    second: u64,
    in_second: u64,
}

/// One connection. Its ledgers outlive the socket.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) identity: Identity,
    pub(super) tally: Tally,
    /// False: it stalls, and leaves what the server sends in the socket.
    pub(super) reading: bool,
    phase: Phase,
    stream: Option<TcpStream>,
    partial: Vec<u8>,
    out: Vec<u8>,
    seats: Vec<Seat>,
    /// What to resume the session with.
    resume: Option<String>,
    /// How it came into its rooms this time.
    how: Opened,
    /// The gateway has said that it goes: the connection is to be replaced.
    leaving: bool,
    /// The connection that replaces this one, as long as it is not a WebSocket yet.
    next: Option<Next>,
    /// The one that was replaced; it stays until this one is in its rooms.
    old: Option<TcpStream>,
}

#[derive(Debug)]
struct Seat {
    room: RoomKey,
    ledger: Ledger,
}

impl Conn {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            identity,
            tally: Tally::default(),
            reading: true,
            phase: Phase::Idle,
            stream: None,
            partial: Vec::new(),
            out: Vec::new(),
            seats: Vec::new(),
            resume: None,
            how: Opened::Fresh,
            leaving: false,
            next: None,
            old: None,
        }
    }

    /// Open, and in its rooms.
    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Takes a socket that connects, and asks for the upgrade as soon as it can.
    pub(super) fn open(&mut self, stream: TcpStream, upgrade: Vec<u8>) {
        self.stream = Some(stream);
        self.tally.heard_us = super::clock::now_us();
        self.partial.clear();
        self.out = upgrade;
        self.phase = Phase::Upgrading;
    }

    /// Neither open nor on its way there.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Closed)
    }

    /// What it saw of a room.
    pub(super) fn ledger(&self, room: RoomKey) -> Option<&Ledger> {
        self.seats.iter().find(|seat| seat.room == room).map(|seat| &seat.ledger)
    }

    /// Enters a room again that a resume left out, from where it had come.
    pub(super) fn rejoin(&mut self, id: ConnId, room: RoomKey, shared: &mut Shared) {
        let place = self.identity.rooms.iter().position(|own| *own == room);
        let cursor = self.ledger(room).and_then(Ledger::cursor);
        if let (Some(place), Some(cursor)) = (place, cursor) {
            let text = commands::join_since(FIRST_REJOIN_ID + place as u64, shared.parser.name(room), cursor);
            self.send(id, &text, shared);
        }
    }

    /// Ledgers of the rooms it was in.
    pub(super) fn ledgers(&self) -> impl Iterator<Item = (RoomKey, &Ledger)> {
        self.seats.iter().map(|seat| (seat.room, &seat.ledger))
    }

    /// Sends a command.
    pub(super) fn send(&mut self, id: ConnId, text: &str, shared: &mut Shared) {
        self.frame(Op::Text, text.as_bytes());
        self.flush(id, shared);
    }

    /// The socket can be written to.
    pub(super) fn writable(&mut self, id: ConnId, shared: &mut Shared) {
        if shared.bare && self.phase == Phase::Upgrading {
            // The bare loop speaks first, and of one room only. One byte all the same: where the kernel forgot a connection
            // (its queue was full, and it answered with a SYN cookie), only data makes it remember.
            self.out = vec![0];
            for room in self.identity.rooms.clone() {
                self.seat(room).join(Cursor { epoch: Epoch(1), seq: Seqs::ZERO });
            }
            self.ready(id, shared);
        }
        self.flush(id, shared);
    }

    /// Reads until the socket is empty; `to_the_end`: the server has closed too, which no event tells again. `scratch` is lent.
    pub(super) fn readable(&mut self, id: ConnId, to_the_end: bool, scratch: &mut Vec<u8>, shared: &mut Shared) {
        while self.reading
            && let Some(stream) = &mut self.stream
        {
            let kept = self.partial.len();
            if scratch.len() < kept + READ_BYTES {
                scratch.resize((kept + READ_BYTES) * 2, 0);
            }
            let (head, space) = scratch.split_at_mut(kept);
            head.copy_from_slice(&self.partial);
            match stream.read(space) {
                Ok(0) => return self.close(id, Closing::broken("the server closed the connection"), shared),
                Ok(read) => {
                    let full = read == space.len();
                    self.tally.bytes += read as u64;
                    shared.stats.bytes += read as u64;
                    let bytes = scratch.get(..kept + read).unwrap_or_default();
                    match self.consume(id, bytes, shared) {
                        Ok(consumed) => {
                            self.partial.clear();
                            self.partial.extend_from_slice(bytes.get(consumed..).unwrap_or_default());
                        }
                        Err(closing) => return self.close(id, closing, shared),
                    }
                    if !full && !to_the_end {
                        // Less than asked for: the socket is empty, and the next edge comes with the next bytes.
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.close(id, Closing::broken(&error.to_string()), shared),
            }
        }
    }

    /// Ends the connection from this side, without a word to the server.
    pub(super) fn cut(&mut self) {
        if matches!(self.phase, Phase::Joining(_)) {
            // Not in all of its rooms yet: there is nothing to go on with.
            self.resume = None;
        }
        self.stream = None;
        self.phase = Phase::Closed;
        self.partial = Vec::new();
        self.out = Vec::new();
        (self.leaving, self.next, self.old) = (false, None, None);
    }

    /// Ends the connection; next time it begins a new session.
    pub(super) fn forget_session(&mut self) {
        self.cut();
        self.resume = None;
    }

    /// Keeps of its rooms where it stands, and nothing of how it came there.
    pub(super) fn forget_past(&mut self) {
        for seat in &mut self.seats {
            seat.ledger.forget_past();
        }
    }

    fn close(&mut self, id: ConnId, closing: Closing, shared: &mut Shared) {
        let (was, told) = (self.phase, self.leaving);
        self.cut();
        shared.closed(id, was, told, closing);
    }

    /// Reads what is complete and says how many bytes that was.
    fn consume(&mut self, id: ConnId, bytes: &[u8], shared: &mut Shared) -> Result<usize, Closing> {
        let mut at = 0;
        if self.phase == Phase::Upgrading {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(0) };
            if !bytes.starts_with(b"HTTP/1.1 101 ") {
                return Err(Closing::refused(bytes));
            }
            at = end + 4;
            self.phase = Phase::Greeting;
            let hello = self.hello(shared);
            self.send(id, &hello, shared);
        }
        let now_us = super::clock::now_us();
        self.tally.heard_us = now_us;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(frame) = wire::decode(rest).map_err(|error| Closing::broken(&error.to_string()))? else {
                return Ok(at);
            };
            at += frame.payload.end;
            let payload = rest.get(frame.payload).unwrap_or_default();
            match frame.op {
                Op::Text => self.text(id, payload, now_us, shared)?,
                Op::Ping => {
                    self.tally.pings += 1;
                    shared.stats.pings += 1;
                    self.frame(Op::Pong, payload);
                    self.flush(id, shared);
                }
                Op::Pong => {}
                Op::Close => return Err(Closing::from_frame(payload)),
            }
        }
    }

    /// Goes on with the session if it has one, else begins one.
    fn hello(&self, shared: &Shared) -> String {
        let max_rate = self.identity.max_rate;
        let Some(resume) = &self.resume else { return commands::hello(HELLO_ID, &self.identity.token, max_rate) };
        let cursor = |seat: &Seat| Some((seat.room, seat.ledger.cursor()?));
        let rooms = self.seats.iter().filter_map(cursor);
        let rooms = rooms.map(|(room, cursor)| (shared.parser.name(room), cursor)).collect();
        commands::resume(HELLO_ID, resume, rooms, max_rate)
    }

    fn text(&mut self, id: ConnId, payload: &[u8], now_us: u64, shared: &mut Shared) -> Result<(), Closing> {
        let items = shared.parser.parse(payload).map_err(|error| Closing::broken(&error.to_string()))?;
        for item in items.iter() {
            match item {
                Item::Segment(segment) => self.segment(id, segment, now_us, shared),
                Item::Sealed { room, epoch, last, next_epoch } => {
                    self.seat(*room).sealed(*epoch, *last, *next_epoch);
                }
                Item::Reply { id: command, result } if (FIRST_REJOIN_ID..FIRST_FREE_ID).contains(command) => {
                    self.rejoined(id, *command - FIRST_REJOIN_ID, result.as_deref().ok(), shared);
                }
                Item::Reply { id: command, result } if *command < FIRST_FREE_ID => {
                    let ok = result.as_ref().map_err(|error| {
                        // A session that cannot be resumed is begun anew next time.
                        self.resume = None;
                        Closing::broken(&format!("the server answered {}: {}", error.code, error.message))
                    })?;
                    self.opening(id, *command, ok, shared)?;
                }
                Item::Reply { id: command, result } => {
                    let result = match result {
                        Ok(ok) => Ok(Answer::from(&**ok)),
                        Err(error) => Err(error.clone()),
                    };
                    shared.notes.push(Note::Reply { conn: id, id: *command, result });
                }
                Item::Event(event) => {
                    if self.identity.watched || event.kind != "count" {
                        shared.notes.push(Note::Event { conn: id, event: event.clone() });
                    }
                }
                Item::GoAway(goaway) if shared.follows_goaway => {
                    if let Some(resume) = &goaway.resume {
                        self.resume = Some(resume.clone());
                    }
                    self.leaving = true;
                    shared.notes.push(Note::GoAway { conn: id, after_ms: goaway.after_ms });
                }
                Item::GoAway(goaway) => {
                    return Err(Closing::broken(&format!("the server said goaway within {} ms", goaway.after_ms)));
                }
            }
        }
        Ok(())
    }

    /// The answer to the hello or to one of the first joins.
    fn opening(&mut self, id: ConnId, command: u64, ok: &OkReply, shared: &mut Shared) -> Result<(), Closing> {
        match (self.phase, command) {
            (Phase::Greeting, HELLO_ID) if self.resume.is_some() => {
                self.resume.clone_from(&ok.resume);
                let all = ok.rooms.values().all(|room| room.recovered && room.code.is_none());
                let inside = |room: &RoomKey| {
                    ok.rooms.iter().any(|(name, line)| line.code.is_none() && shared.parser.find(name) == Some(*room))
                };
                let outside: Vec<_> = self.identity.rooms.iter().copied().filter(|room| !inside(room)).collect();
                self.how = if all && outside.is_empty() { Opened::Recovered } else { Opened::Partly };
                self.ready(id, shared);
                shared.notes.extend(outside.into_iter().map(|room| Note::Unjoined { conn: id, room }));
            }
            (Phase::Greeting, HELLO_ID) => {
                self.resume.clone_from(&ok.resume);
                self.how = Opened::Fresh;
                let rooms = self.identity.rooms.clone();
                self.phase = Phase::Joining(rooms.len());
                for (room, command) in rooms.iter().zip(FIRST_JOIN_ID..) {
                    let join = commands::join(command, shared.parser.name(*room));
                    self.frame(Op::Text, join.as_bytes());
                }
                self.flush(id, shared);
                if rooms.is_empty() {
                    self.ready(id, shared);
                }
            }
            (Phase::Joining(left), _) => {
                let cursor = ok.cursor().ok_or_else(|| Closing::broken("the answer to a join has no cursor"))?;
                let place = usize::try_from(command - FIRST_JOIN_ID).unwrap_or(usize::MAX);
                let room = self.identity.rooms.get(place).copied();
                let room = room.ok_or_else(|| Closing::broken("an answer to a join that was not sent"))?;
                self.seat(room).join(cursor);
                self.phase = Phase::Joining(left - 1);
                if left == 1 {
                    self.ready(id, shared);
                }
            }
            _ => return Err(Closing::broken("an answer to a command that was not sent")),
        }
        Ok(())
    }

    /// The answer to a join from a cursor: the law goes on where it was.
    fn rejoined(&mut self, id: ConnId, place: u64, ok: Option<&OkReply>, shared: &mut Shared) {
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        let Some(room) = self.identity.rooms.get(place).copied() else { return };
        match ok {
            Some(ok) => {
                for gap in &ok.gaps {
                    self.seat(room).declared(*gap);
                }
            }
            None => shared.notes.push(Note::Unjoined { conn: id, room }),
        }
    }

    fn ready(&mut self, id: ConnId, shared: &mut Shared) {
        self.phase = Phase::Ready;
        self.old = None;
        shared.notes.push(Note::Ready { conn: id, how: self.how });
    }

    #[expect(clippy::indexing_slicing, reason = "an array by lane")]
    fn segment(&mut self, id: ConnId, item: &SegmentItem, now_us: u64, shared: &mut Shared) {
        let stats = &mut shared.stats;
        let Some(seat) = self.seats.iter_mut().find(|seat| seat.room == item.room) else {
            stats.strangers += 1;
            return;
        };
        for run in &item.runs {
            seat.ledger.received(item.epoch, run.lane, run.from, run.to);
        }
        for gap in &item.gaps {
            seat.ledger.declared(*gap);
            stats.declared += (gap.to + 1).saturating_sub(gap.from);
        }
        let receipt = |(stamp, publish): &(Stamp, u64)| Receipt {
            conn: id,
            publish: *publish,
            stamp: Some(*stamp),
            at_us: now_us,
        };
        shared.receipts.extend(item.probes.iter().map(receipt));
        if shared.silence.room == Some(item.room) {
            if self.tally.segment_us > shared.silence.since_us {
                let silent_us = now_us.saturating_sub(self.tally.segment_us);
                shared.silence.times.record_us(silent_us);
                shared.silence.long += u64::from(silent_us > shared.silence.bound_us);
                if std::mem::take(&mut self.tally.moved) {
                    shared.silence.moved.record_us(silent_us);
                }
            }
            self.tally.segment_us = now_us;
        }
        stats.received += item.messages;
        stats.delivered += item.measured.len() as u64;
        stats.frames += 1;
        for (lane, sent_us) in &item.measured {
            stats.latency[lane.index()].record_us(now_us.saturating_sub(*sent_us));
        }
        let Some(window_us) = shared.window_us else { return };
        self.tally.budgeted += item.budgeted;
        if self.identity.watched {
            stats.watched_us.push(now_us);
        }
        if self.identity.viewer {
            let second = now_us.saturating_sub(window_us) / 1_000_000;
            if second != self.tally.second {
                (self.tally.second, self.tally.in_second) = (second, 0);
            }
            self.tally.in_second += item.budgeted;
            stats.burst_max = stats.burst_max.max(self.tally.in_second);
        }
    }

    #[expect(clippy::indexing_slicing, reason = "the place was found, or is that of the seat just pushed")]
    fn seat(&mut self, room: RoomKey) -> &mut Ledger {
        let place = self.seats.iter().position(|seat| seat.room == room).unwrap_or_else(|| {
            self.seats.push(Seat { room, ledger: Ledger::default() });
            self.seats.len() - 1
        });
        &mut self.seats[place].ledger
    }

    fn frame(&mut self, op: Op, payload: &[u8]) {
        // Any key will do: it protects proxies from scripts in browsers, and there are neither here.
        wire::encode(op, payload, [0x5a, 0xa5, 0x3c, 0xc3], &mut self.out);
    }

    /// Writes what the socket takes; the rest waits for it to become writable.
    fn flush(&mut self, id: ConnId, shared: &mut Shared) {
        let mut written = 0;
        while let (Some(stream), Some(rest)) = (&mut self.stream, self.out.get(written..)) {
            if rest.is_empty() {
                break;
            }
            match stream.write(rest) {
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
                Err(error) => return self.close(id, Closing::broken(&error.to_string()), shared),
            }
        }
        self.out.drain(..written);
    }
}
