//! Writing: at once if nothing waits, else into the connection's outbox.

use bytes::Bytes;
use throng_core::Lane;
use throng_core::fanout::{Entry, Next, Outbox, Overflow};
use throng_proto::client::{Body, Error, Format, Ok, Reply};
use throng_proto::codes::{CloseCode, ErrorCode};

use super::conn::{Conn, Stage};
use super::frames::{gap_frame, reply_frame};
use super::{Sent, Shard, Transport};
use crate::counters::Withheld;
use crate::traffic::Failure;

impl<T: Transport> Shard<T> {
    /// Answers a command.
    pub(super) fn reply(&mut self, conn: u32, id: u64, body: Body) {
        let Some(format) = self.conn(conn).map(Conn::format) else { return };
        self.send(conn, Lane::Control, reply_frame(format, &Reply { id, body }));
    }

    /// Answers a command with success.
    pub(super) fn ok(&mut self, conn: u32, id: u64, ok: Ok) {
        self.reply(conn, id, Body::Ok(Box::new(ok)));
    }

    /// Answers a command with an error.
    pub(super) fn refuse(&mut self, conn: u32, id: u64, code: ErrorCode, message: &str) {
        self.fail(conn, id, Failure::new(code, message));
    }

    /// Answers a command with an error.
    pub(super) fn fail(&mut self, conn: u32, id: u64, failure: Failure) {
        let Failure { code, message, retry_ms } = failure;
        self.counts.failed(code);
        self.reply(conn, id, Body::Error(Error { code, message, retry_ms }));
    }

    /// Sends a frame that belongs to no numbered message.
    pub(super) fn send(&mut self, conn: u32, lane: Lane, frame: Bytes) {
        self.send_entry(conn, lane, Entry { frame, room: None, covers: None });
    }

    /// Sends a frame. A failure closes the connection at the end of the turn.
    pub(super) fn send_entry(&mut self, conn: u32, lane: Lane, entry: Entry) {
        let Some(record) = self.conns.get_mut(conn as usize).filter(|conn| conn.is_open()) else { return };
        let was_behind = record.outbox.is_some();
        let result = match &mut record.outbox {
            Some(outbox) => outbox.push(lane, entry, self.now, &self.limits),
            none => match self.io.send(conn, &entry.frame) {
                Sent::Bytes(sent) => {
                    self.counts.writes += 1;
                    self.counts.egress_bytes += sent as u64;
                    if sent < entry.frame.len() {
                        *none = Some(Box::new(Outbox::with_rest(entry.frame.slice(sent..), self.now)));
                    }
                    Ok(())
                }
                Sent::Blocked => {
                    let mut outbox = Box::new(Outbox::default());
                    let result = outbox.push(lane, entry, self.now, &self.limits);
                    *none = Some(outbox);
                    result
                }
                Sent::Closed => {
                    self.failed.push((conn, CloseCode::Normal));
                    Ok(())
                }
            },
        };
        let is_behind = record.outbox.is_some();
        if result == Err(Overflow) {
            self.failed.push((conn, CloseCode::Slow));
        } else if is_behind && !was_behind {
            self.watch_outbox(conn);
        }
    }

    /// Sends a frame that keeps its place between all others.
    pub(super) fn send_barrier(&mut self, conn: u32, frame: Bytes) {
        let limits = self.limits;
        match self.conns.get_mut(conn as usize).and_then(|conn| conn.outbox.as_mut()) {
            Some(outbox) => {
                if outbox.barrier(frame, &limits).is_err() {
                    self.failed.push((conn, CloseCode::Slow));
                }
            }
            None => self.send(conn, Lane::Control, frame),
        }
    }

    /// The socket can be written again.
    pub fn writable(&mut self, conn: u32) {
        loop {
            let Some(record) = self.conns.get_mut(conn as usize) else { return };
            let format = record.format();
            let Some(outbox) = &mut record.outbox else { return };
            match outbox.next(self.now) {
                None => {
                    record.outbox = None;
                    if matches!(record.stage, Stage::Closing) {
                        self.io.finish(conn);
                    }
                    return;
                }
                Some(Next::Declare { room, gaps }) => {
                    let frame = match self.rooms.get(room as usize) {
                        Some(room) => gap_frame(format, &room.id, &gaps),
                        None => Bytes::new(),
                    };
                    self.counts.declare(Withheld::Slow, &gaps, 1);
                    outbox.declare(frame, self.now);
                }
                Some(Next::Write(bytes)) => match self.io.send(conn, &bytes) {
                    Sent::Bytes(sent) => {
                        self.counts.writes += 1;
                        self.counts.egress_bytes += sent as u64;
                        outbox.wrote(sent);
                        if sent < bytes.len() {
                            return;
                        }
                    }
                    Sent::Blocked => return,
                    Sent::Closed => return self.drop_conn(conn),
                },
            }
        }
    }

    /// Closes the connections that failed while others were served.
    pub(super) fn close_failed(&mut self) {
        while let Some((conn, code)) = self.failed.pop() {
            match code {
                CloseCode::Normal => self.drop_conn(conn),
                _ => self.close(conn, code, "your connection is too slow: resume with your token"),
            }
        }
    }

    /// The format of a connection.
    pub(super) fn format_of(&self, conn: u32) -> Format {
        self.conn(conn).map_or(Format::Json, Conn::format)
    }
}
