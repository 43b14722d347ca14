//! The connection that replaces another one whose gateway goes: it is opened first, and taken once it is a WebSocket.

use std::io::{ErrorKind, Read as _, Write as _};

use mio::net::TcpStream;

use super::super::clock::now_us;
use super::super::notes::{Closing, Note, Shared};
use super::{Conn, ConnId, Phase};

/// A connection on its way to replace another.
#[derive(Debug)]
pub(super) struct Next {
    stream: TcpStream,
    out: Vec<u8>,
    read: Vec<u8>,
    since_us: u64,
}

impl Conn {
    /// Takes a socket that connects, and moves to it as soon as it is a WebSocket. This connection goes on until then, and
    /// is kept until the new one is in its rooms.
    pub(in crate::bench) fn replace_by(&mut self, stream: TcpStream, upgrade: Vec<u8>) {
        self.next = Some(Next { stream, out: upgrade, read: Vec::new(), since_us: now_us() });
    }

    /// Its gateway goes, and nothing replaces it yet.
    pub(in crate::bench) fn wants_replacement(&self) -> bool {
        self.leaving && self.next.is_none() && self.phase == Phase::Ready
    }

    /// Something is about to replace it, or has just done so.
    pub(in crate::bench) const fn is_replaced(&self) -> bool {
        self.next.is_some() || self.old.is_some()
    }

    /// Gives a replacement up that is no WebSocket after so long.
    pub(in crate::bench) fn give_up_next(&mut self, id: ConnId, now_us: u64, after_us: u64, shared: &mut Shared) {
        if self.next.as_ref().is_some_and(|next| now_us > next.since_us + after_us) {
            self.not_replaced(id, Closing::broken("no answer to the upgrade in time"), shared);
        }
    }

    fn not_replaced(&mut self, id: ConnId, closing: Closing, shared: &mut Shared) {
        self.next = None;
        shared.notes.push(Note::NotReplaced { conn: id, closing });
    }

    /// Goes on with the upgrade of the connection that replaces this one.
    pub(in crate::bench) fn pump_next(&mut self, id: ConnId, shared: &mut Shared) {
        let Some(next) = &mut self.next else { return };
        match next.pump() {
            Ok(false) => {}
            Ok(true) => {
                // From here on nothing of the old one is read: what it had still to say comes again over the new one.
                let next = self.next.take();
                self.old = std::mem::replace(&mut self.stream, next.map(|next| next.stream));
                self.partial.clear();
                self.out.clear();
                self.phase = Phase::Greeting;
                self.tally.moved = true;
                // The new one may be told to go as well, even before it is in its rooms.
                self.leaving = false;
                let hello = self.hello(shared);
                self.send(id, &hello, shared);
            }
            Err(closing) => self.not_replaced(id, closing, shared),
        }
    }
}

impl Next {
    /// Writes and reads what it can; true: it is a WebSocket now.
    fn pump(&mut self) -> Result<bool, Closing> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(bytes) => drop(self.out.drain(..bytes)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Closing::broken(&error.to_string())),
            }
        }
        let mut space = [0; 1024];
        loop {
            match self.stream.read(&mut space) {
                Ok(0) => return Err(Closing::broken("the server closed the connection")),
                Ok(bytes) => self.read.extend_from_slice(space.get(..bytes).unwrap_or_default()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Closing::broken(&error.to_string())),
            }
        }
        // A server says nothing more before the hello.
        if memchr::memmem::find(&self.read, b"\r\n\r\n").is_none() {
            return Ok(false);
        }
        if self.read.starts_with(b"HTTP/1.1 101 ") { Ok(true) } else { Err(Closing::refused(&self.read)) }
    }
}
