//! An echo server on one thread: what the Autobahn suite talks to, and the shortest honest use of this crate.
//!
//! `cargo run -p throng-ws --example echo -- 9001` listens on 127.0.0.1. A connection costs its slab entry; a frame is
//! read into the one buffer that all connections share and answered from there.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};

use bytes::{Buf, Bytes};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;
use throng_ws::{Decoder, Event, Flow, Limits, Opening, frame, handshake};

/// The suite sends messages of 16 MiB, and 4 MiB in fragments of 64 bytes.
const LIMITS: Limits = Limits { message_bytes: 16 << 20, fragments: 1 << 17, header_bytes: 8 << 10 };
const SCRATCH_BYTES: usize = 64 << 10;
const MAX_CONNECTIONS: usize = 64;
/// The token of the listener; connections use their slab keys.
const LISTENER: Token = Token(usize::MAX);

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let Some(port) = port else {
        return Err(io::Error::new(ErrorKind::InvalidInput, "usage: echo PORT"));
    };
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Slab<Connection> = Slab::with_capacity(MAX_CONNECTIONS);
    let mut events = Events::with_capacity(MAX_CONNECTIONS + 1);
    let mut scratch = vec![0; SCRATCH_BYTES];
    eprintln!("echoes on ws://{}", listener.local_addr()?);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept_all(&listener, poll.registry(), &mut connections)?;
                continue;
            }
            let key = event.token().0;
            let Some(connection) = connections.get_mut(key) else { continue };
            if connection.serve(&mut scratch).is_err() || connection.is_over() {
                connections.remove(key);
            }
        }
    }
}

fn accept_all(listener: &TcpListener, registry: &Registry, connections: &mut Slab<Connection>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) if connections.len() < MAX_CONNECTIONS => {
                let entry = connections.vacant_entry();
                registry.register(&mut stream, Token(entry.key()), Interest::READABLE | Interest::WRITABLE)?;
                stream.set_nodelay(true)?;
                entry.insert(Connection::new(stream));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// What a connection is doing.
enum State {
    /// The HTTP head so far.
    Handshake(Vec<u8>),
    Open(Decoder),
    /// The last bytes are queued or sent. What still comes is read and thrown away: to close while input waits would
    /// reset the connection, and the peer would lose our last words.
    Closing {
        shut: bool,
    },
}

struct Connection {
    stream: TcpStream,
    state: State,
    queue: VecDeque<Bytes>,
    peer_closed: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { stream, state: State::Handshake(Vec::new()), queue: VecDeque::new(), peer_closed: false }
    }

    fn is_over(&self) -> bool {
        self.peer_closed
    }

    /// Reads and writes until the socket blocks, as edge-triggered polling wants. Reading waits for writing, so that a
    /// peer that reads nothing makes the server queue the answers to one read at most.
    fn serve(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        loop {
            self.flush()?;
            if !self.queue.is_empty() || self.peer_closed {
                return Ok(());
            }
            match self.stream.read(scratch) {
                Ok(0) => self.peer_closed = true,
                Ok(size) => self.take(scratch.get_mut(..size).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, input: &mut [u8]) {
        match &mut self.state {
            State::Closing { .. } => {}
            State::Open(_) => self.take_frames(input),
            State::Handshake(head) => {
                head.extend_from_slice(input);
                let head = std::mem::take(head);
                self.take_head(head);
            }
        }
    }

    fn take_head(&mut self, mut head: Vec<u8>) {
        let used = match handshake::read(&head, &LIMITS) {
            Opening::NeedMore => {
                self.state = State::Handshake(head);
                return;
            }
            Opening::Upgrade(upgrade) => {
                self.queue.push_back(upgrade.accept(None).into());
                upgrade.head_bytes
            }
            Opening::PlainHttp => {
                let hint = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
                self.close_with(Bytes::from_static(hint));
                return;
            }
            Opening::Bad(refusal) => {
                self.close_with(refusal.to_bytes().into());
                return;
            }
        };
        self.state = State::Open(Decoder::default());
        self.take_frames(head.get_mut(used..).unwrap_or_default());
    }

    fn take_frames(&mut self, input: &mut [u8]) {
        let State::Open(decoder) = &mut self.state else { return };
        let queue = &mut self.queue;
        let fed = decoder.feed(input, &LIMITS, &mut |event| {
            match event {
                Event::Text(text) => queue.push_back(frame::text(text)),
                Event::Binary(payload) => queue.push_back(frame::binary(payload)),
                Event::Ping(payload) => queue.push_back(frame::pong(payload)),
                Event::Pong(_) => {}
                Event::Close(received) => queue.push_back(frame::close_reply(received)),
            }
            Flow::Continue
        });
        match fed {
            Ok(fed) if fed.open => {}
            Ok(_) => self.state = State::Closing { shut: false },
            Err(error) => self.close_with(frame::close(error.close_code(), &error.to_string())),
        }
    }

    fn close_with(&mut self, last_words: Bytes) {
        self.queue.push_back(last_words);
        self.state = State::Closing { shut: false };
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.queue.front_mut() {
            match self.stream.write(bytes) {
                Ok(size) => bytes.advance(size),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if bytes.is_empty() {
                self.queue.pop_front();
            }
        }
        if let State::Closing { shut: shut @ false } = &mut self.state {
            *shut = true;
            self.stream.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}
