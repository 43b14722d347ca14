//! The shell around a shard: a thread, an epoll, one scratch buffer for all reads.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use throng_core::Millis;
use tokio::sync::mpsc;

use crate::counters::Counters;
use crate::http;
use crate::shard::{AddressPlace, Sent, Shard, Shared, Transport};
use crate::traffic::{ToHub, ToShard};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const SCRATCH_BYTES: usize = 64 * 1024;
/// Connections accepted in one turn, so that those who are here are served in between.
const ACCEPTS_A_TURN: usize = 128;
/// Reads of one connection in one turn.
const READS_A_TURN: usize = 4;
const BACKLOG: i32 = 4096;

/// A listener of which several may share an address: give each reactor one of its own.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A plain HTTP connection with what was read of it, and its place among those of its address.
pub(crate) type Handed = (std::net::TcpStream, Vec<u8>, AddressPlace);

/// The sockets of a reactor, by the shard's numbers.
pub(crate) struct Sockets {
    streams: Vec<Option<TcpStream>>,
    registry: Registry,
    http: mpsc::Sender<Handed>,
}

impl Sockets {
    fn take(&mut self, conn: u32) -> Option<TcpStream> {
        let mut stream = self.streams.get_mut(conn as usize)?.take()?;
        let _ = self.registry.deregister(&mut stream);
        Some(stream)
    }

    fn stream(&self, conn: u32) -> Option<&TcpStream> {
        self.streams.get(conn as usize)?.as_ref()
    }

    fn put(&mut self, conn: u32, mut stream: TcpStream) -> std::io::Result<()> {
        // Edge-triggered: registered once, never again.
        self.registry.register(&mut stream, Token(conn as usize), Interest::READABLE | Interest::WRITABLE)?;
        if self.streams.len() <= conn as usize {
            self.streams.resize_with(conn as usize + 1, || None);
        }
        if let Some(entry) = self.streams.get_mut(conn as usize) {
            *entry = Some(stream);
        }
        Ok(())
    }
}

impl Transport for Sockets {
    fn send(&mut self, conn: u32, bytes: &[u8]) -> Sent {
        let Some(mut stream) = self.stream(conn) else { return Sent::Closed };
        loop {
            return match stream.write(bytes) {
                Ok(sent) => Sent::Bytes(sent),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Sent::Blocked,
                Err(_) => Sent::Closed,
            };
        }
    }

    fn finish(&mut self, conn: u32) {
        if let Some(stream) = self.stream(conn) {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    fn close(&mut self, conn: u32) {
        drop(self.take(conn));
    }

    fn hand_over(&mut self, conn: u32, read: Vec<u8>, place: AddressPlace) {
        let Some(stream) = self.take(conn) else { return };
        // A flood without keys leaves room for those who show one.
        if self.http.capacity() > self.http.max_capacity() / 4 || http::shows_a_key(&read) {
            let _ = self.http.try_send((stream.into(), read, place));
        }
    }
}

/// What a reactor is given.
pub(crate) struct Wiring {
    pub(crate) number: u16,
    pub(crate) seed: u64,
    pub(crate) listener: TcpListener,
    pub(crate) shared: Arc<Shared>,
    pub(crate) from_hub: Receiver<ToShard>,
    pub(crate) to_hub: mpsc::Sender<(u16, Vec<ToHub>)>,
    pub(crate) http: mpsc::Sender<Handed>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) accepting: Arc<AtomicBool>,
    pub(crate) open: Arc<AtomicBool>,
    pub(crate) stop: Arc<AtomicBool>,
    /// When the reactor ended its last turn, milliseconds of the clock.
    pub(crate) alive: Arc<AtomicU64>,
    /// The thread's number, for its share of CPU time.
    pub(crate) thread: Arc<AtomicU64>,
    pub(crate) began: Instant,
}

/// A reactor before it runs.
pub(crate) struct Reactor {
    poll: Poll,
    listener: Option<mio::net::TcpListener>,
    address: SocketAddr,
    shard: Shard<Sockets>,
    wiring: Wiring,
    scratch: Vec<u8>,
    /// Connections with more to read than one turn allows.
    again: Vec<u32>,
    /// The listener may have more.
    pending_accepts: bool,
    /// The last accept failed: try again, but not at once.
    accepts_fail: bool,
    /// Connections, those that something waits for, and bytes that wait, as the counters of the process have them.
    told: [u64; 3],
}

impl Reactor {
    /// Prepares one, with the waker by which the hub tells it that there is something to take.
    pub(crate) fn new(wiring: Wiring) -> std::io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let sockets =
            Sockets { streams: Vec::new(), registry: poll.registry().try_clone()?, http: wiring.http.clone() };
        let shard = Shard::new(sockets, Arc::clone(&wiring.shared), wiring.number, wiring.seed);
        let address = wiring.listener.local_addr()?;
        let mut listener = mio::net::TcpListener::from_std(wiring.listener.try_clone()?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let reactor = Self {
            poll,
            listener: Some(listener),
            address,
            shard,
            wiring,
            scratch: vec![0; SCRATCH_BYTES],
            again: Vec::new(),
            pending_accepts: false,
            accepts_fail: false,
            told: [0; 3],
        };
        Ok((reactor, waker))
    }

    /// Runs until told to stop. Then all connections are gone. Who had not gone when a drain ends is told; a gateway that is
    /// killed says nothing.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        self.wiring.thread.store(crate::service::thread_number(), Ordering::Relaxed);
        while !self.wiring.stop.load(Ordering::Relaxed) {
            let accepts = self.pending_accepts && !self.accepts_fail;
            let busy = !self.again.is_empty() || accepts || !self.wiring.from_hub.is_empty();
            let wait_ms = if busy { 0 } else { self.shard.idle_ms() };
            if let Err(error) = self.poll.poll(&mut events, Some(Duration::from_millis(wait_ms)))
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "a reactor cannot wait for its sockets; it stops");
                return;
            }
            let began = Instant::now();
            self.turn(&events);
            let turn_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.wiring.counters.slowest_turn_us.fetch_max(turn_us, Ordering::Relaxed);
        }
        if !self.wiring.accepting.load(Ordering::Relaxed) {
            self.shard.at(self.now());
            self.shard.stop();
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.wiring.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn turn(&mut self, events: &Events) {
        let now = self.now();
        self.shard.at(now);
        self.mind_listener();
        for conn in std::mem::take(&mut self.again) {
            self.read(conn, true);
        }
        for event in events {
            match event.token() {
                LISTENER => self.pending_accepts = true,
                WAKER => {}
                Token(conn) => self.ready(conn, event),
            }
        }
        if self.pending_accepts {
            self.accept();
        }
        let waiting = self.wiring.from_hub.len();
        for message in self.wiring.from_hub.try_iter().take(waiting) {
            self.shard.from_hub(message);
        }
        self.shard.turn();
        self.tell_hub();
        self.wiring.alive.store(now.0, Ordering::Relaxed);
    }

    fn tell_hub(&mut self) {
        let news = self.shard.take_for_hub();
        if !news.is_empty() && self.wiring.to_hub.blocking_send((self.wiring.number, news)).is_err() {
            self.wiring.stop.store(true, Ordering::Relaxed);
        }
        self.wiring.counters.add(&self.shard.take_counts());
        let (waiting, bytes) = self.shard.waiting();
        let counters = &self.wiring.counters;
        let gauges = [&counters.connections, &counters.waiting_connections, &counters.waiting_bytes];
        let now = [self.shard.connections() as u64, waiting, bytes];
        for ((gauge, told), now) in gauges.into_iter().zip(&mut self.told).zip(now) {
            // All reactors add to one number; it never goes below zero, for each takes away only what it added.
            gauge.fetch_add(now.wrapping_sub(*told), Ordering::Relaxed);
            *told = now;
        }
    }

    /// Opens and closes the listener as the drain and whoever sends clients demand.
    fn mind_listener(&mut self) {
        let accepting = self.wiring.accepting.load(Ordering::Relaxed) && self.wiring.open.load(Ordering::Relaxed);
        match (&mut self.listener, accepting) {
            (Some(listener), false) => {
                let _ = self.poll.registry().deregister(listener);
                self.listener = None;
                self.pending_accepts = false;
                // The copy that made it would keep the port open.
                if let Ok(closed) = bind(SocketAddr::from(([127, 0, 0, 1], 0))) {
                    self.wiring.listener = closed;
                }
            }
            (None, true) => {
                let Ok(listener) = bind(self.address) else { return };
                let mut listener = mio::net::TcpListener::from_std(listener);
                if self.poll.registry().register(&mut listener, LISTENER, Interest::READABLE).is_ok() {
                    self.listener = Some(listener);
                    self.pending_accepts = true;
                }
            }
            _ => {}
        }
    }

    fn accept(&mut self) {
        self.accepts_fail = false;
        for _ in 0..ACCEPTS_A_TURN {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((stream, address)) => self.accepted(stream, address),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // Out of file descriptors: those who wait stay in the backlog until somebody leaves.
                    self.accepts_fail = error.kind() != ErrorKind::WouldBlock;
                    self.pending_accepts = self.accepts_fail;
                    return;
                }
            }
        }
    }

    fn accepted(&mut self, stream: TcpStream, address: SocketAddr) {
        let socket = SockRef::from(&stream);
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_notsent_lowat(self.wiring.shared.options.limits.unsent_bytes);
        if let Some(conn) = self.shard.opened(address.ip())
            && self.shard.io.put(conn, stream).is_err()
        {
            self.shard.closed(conn);
        }
    }

    fn ready(&mut self, conn: usize, event: &Event) {
        let Ok(conn) = u32::try_from(conn) else { return };
        if event.is_writable() {
            self.shard.writable(conn);
        }
        if event.is_readable() || event.is_error() {
            self.read(conn, event.is_read_closed() || event.is_error());
        }
    }

    /// `to_the_end`: the peer has closed as well, and no event will tell that again.
    fn read(&mut self, conn: u32, to_the_end: bool) {
        for _ in 0..READS_A_TURN {
            let Some(mut stream) = self.shard.io.stream(conn) else { return };
            match stream.read(&mut self.scratch) {
                Ok(0) => return self.shard.closed(conn),
                Ok(read) => {
                    self.shard.bytes(conn, self.scratch.get_mut(..read).unwrap_or_default());
                    if read < SCRATCH_BYTES && !to_the_end {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.shard.closed(conn),
            }
        }
        self.again.push(conn);
    }
}
