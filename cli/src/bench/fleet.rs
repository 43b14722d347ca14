//! Thousands of connections on one thread: one epoll, one scratch buffer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::Context as _;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::conn::{Conn, ConnId, Identity};
use super::frames::RoomKey;
use super::notes::{Note, Shared};
use super::wire;

/// Events taken at once. Few, so that publishing between two batches stays on time.
const BATCH: usize = 256;
/// Connections from one source address: the kernel has about 28,000 ports for each pair of addresses.
const PER_SOURCE: usize = 25_000;

/// A gateway to connect to.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    address: SocketAddr,
    host: String,
    path: String,
}

impl Endpoint {
    /// Reads `ws://host:port/path`.
    pub(super) fn parse(url: &str) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("ws://").with_context(|| {
            format!("{url} is no ws:// URL: the bench speaks plain WebSocket, ws://host:port/connect")
        })?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, "connect"));
        let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let address = with_port
            .to_socket_addrs()
            .with_context(|| format!("cannot find the address of {host}"))?
            .next()
            .with_context(|| format!("{host} has no address"))?;
        Ok(Self { address, host: host.to_owned(), path: format!("/{path}") })
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { address, host: address.to_string(), path: "/".to_owned() }
    }
}

/// All connections of a bench.
pub(super) struct Fleet {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    conns: Vec<Conn>,
    endpoints: Vec<Endpoint>,
    /// Size of each socket's receive buffer; none: the kernel's choice.
    pub(super) receive_bytes: Option<usize>,
    pub(super) shared: Shared,
}

impl Fleet {
    pub(super) fn new(endpoints: Vec<Endpoint>) -> anyhow::Result<Self> {
        Ok(Self {
            poll: Poll::new().context("cannot make an epoll")?,
            events: Events::with_capacity(BATCH),
            scratch: vec![0; 256 << 10],
            conns: Vec::new(),
            endpoints,
            receive_bytes: None,
            shared: Shared::default(),
        })
    }

    /// Adds a connection, not opened yet.
    pub(super) fn add(&mut self, identity: Identity) -> ConnId {
        self.conns.push(Conn::new(identity));
        self.conns.len() - 1
    }

    pub(super) fn conns(&self) -> &[Conn] {
        &self.conns
    }

    /// Whether a connection is open and in its rooms.
    pub(super) fn is_ready(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(Conn::is_ready)
    }

    /// Ends a connection without a goodbye.
    pub(super) fn cut(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.cut();
        }
    }

    /// The next connection goes to another gateway.
    pub(super) fn redirect(&mut self, id: ConnId, endpoint: usize) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.identity.endpoint = endpoint;
        }
    }

    /// A gateway was replaced by one elsewhere.
    pub(super) fn replace(&mut self, place: usize, endpoint: Endpoint) {
        if let Some(old) = self.endpoints.get_mut(place) {
            *old = endpoint;
        }
    }

    /// Enters a room again that a resume left out.
    pub(super) fn rejoin(&mut self, id: ConnId, room: RoomKey) {
        if let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.is_ready()) {
            conn.rejoin(id, room, &mut self.shared);
        }
    }

    /// Ends a connection, and its session with it.
    pub(super) fn forget_session(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.forget_session();
        }
    }

    /// Keeps where each connection stands, and nothing that only a verdict needs.
    pub(super) fn forget_past(&mut self) {
        for conn in &mut self.conns {
            conn.forget_past();
        }
        self.shared.parser.forget_past();
    }

    /// From now on a connection reads nothing of what the server sends.
    pub(super) fn stall(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.reading = false;
        }
    }

    /// Begins to open a connection; a note tells the outcome.
    pub(super) fn open(&mut self, id: ConnId) -> anyhow::Result<()> {
        let Some(conn) = self.conns.get_mut(id) else { return Ok(()) };
        let Some(endpoint) = self.endpoints.get(conn.identity.endpoint) else { return Ok(()) };
        let stream = dial(&self.poll, endpoint, id, self.receive_bytes)?;
        conn.open(stream, wire::upgrade(&endpoint.host, &endpoint.path));
        Ok(())
    }

    /// Begins to open a connection that replaces one whose gateway goes.
    pub(super) fn replace_conn(&mut self, id: ConnId) -> anyhow::Result<()> {
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.wants_replacement()) else { return Ok(()) };
        let Some(endpoint) = self.endpoints.get(conn.identity.endpoint) else { return Ok(()) };
        let stream = dial(&self.poll, endpoint, id, self.receive_bytes)?;
        conn.replace_by(stream, wire::upgrade(&endpoint.host, &endpoint.path));
        Ok(())
    }

    /// Gives up what should replace a connection and is no WebSocket after so long.
    pub(super) fn give_up_next(&mut self, id: ConnId, now_us: u64, after_us: u64) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.give_up_next(id, now_us, after_us, &mut self.shared);
        }
    }

    /// Sends a command on a connection.
    pub(super) fn send(&mut self, id: ConnId, text: &str) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.send(id, text, &mut self.shared);
        }
    }

    /// Waits at most `timeout` and handles one batch of events.
    pub(super) fn turn(&mut self, timeout: Duration) -> anyhow::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error).context("cannot wait for sockets"),
        }
        for event in &self.events {
            let Token(id) = event.token();
            let Some(conn) = self.conns.get_mut(id) else { continue };
            if conn.is_replaced() {
                // Two sockets have this token: whichever it was.
                conn.pump_next(id, &mut self.shared);
                conn.writable(id, &mut self.shared);
                conn.readable(id, true, &mut self.scratch, &mut self.shared);
                continue;
            }
            if event.is_writable() {
                conn.writable(id, &mut self.shared);
            }
            let ended = event.is_read_closed() || event.is_error();
            if event.is_readable() || ended {
                conn.readable(id, ended, &mut self.scratch, &mut self.shared);
            }
        }
        Ok(())
    }

    /// What happened since the last call.
    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.shared.notes)
    }
}

/// Begins to connect, and watches the socket.
fn dial(poll: &Poll, to: &Endpoint, id: ConnId, receive_bytes: Option<usize>) -> anyhow::Result<TcpStream> {
    let mut stream = connect(to.address, source(id), receive_bytes)
        .context("cannot open another socket: the bench needs two files per connection, see `ulimit -n`")?;
    let interest = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut stream, Token(id), interest).context("cannot watch a socket")?;
    Ok(stream)
}

/// The first connections come from the address that the kernel picks, later ones from 127.0.0.2, 127.0.0.3 ...
fn source(id: ConnId) -> Option<Ipv4Addr> {
    let block = u8::try_from(id / PER_SOURCE).unwrap_or(u8::MAX - 1);
    (block > 0).then(|| Ipv4Addr::new(127, 0, 0, 1 + block))
}

fn connect(to: SocketAddr, from: Option<Ipv4Addr>, receive_bytes: Option<usize>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(from) = from.filter(|_| to.ip().is_loopback() && to.is_ipv4()) {
        socket.bind(&SocketAddr::new(IpAddr::V4(from), 0).into())?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_server_that_ends_right_behind_its_last_bytes_is_noticed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut fleet = Fleet::new(vec![Endpoint::from(listener.local_addr().unwrap())]).unwrap();
        fleet.shared.bare = true;
        let id = fleet.add(Identity::default());
        fleet.open(id).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut turns = 0..100;
        while !fleet.is_ready(id) {
            assert!(turns.next().is_some());
            fleet.turn(Duration::from_millis(20)).unwrap();
        }
        server.read_exact(&mut [0]).unwrap();
        // The beginning of a frame, and the end: both are there before anybody looks.
        server.write_all(&[0x81]).unwrap();
        drop(server);
        std::thread::sleep(Duration::from_millis(50));
        while !fleet.take_notes().iter().any(|note| matches!(note, Note::Closed { .. })) {
            assert!(turns.next().is_some(), "the connection counts as open");
            fleet.turn(Duration::from_millis(20)).unwrap();
        }
    }

    #[test]
    fn urls_are_read() {
        let endpoint = Endpoint::parse("ws://127.0.0.1:8080/connect").unwrap();
        assert_eq!(endpoint.address, SocketAddr::from(([127, 0, 0, 1], 8080)));
        assert_eq!((endpoint.host.as_str(), endpoint.path.as_str()), ("127.0.0.1:8080", "/connect"));
        assert_eq!(Endpoint::parse("ws://127.0.0.1").unwrap().address.port(), 80);
        assert!(Endpoint::parse("wss://example.com").is_err());
    }

    #[test]
    fn the_first_25000_connections_share_the_usual_source() {
        assert_eq!(source(24_999), None);
        assert_eq!(source(25_000), Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(source(50_000), Some(Ipv4Addr::new(127, 0, 0, 3)));
    }
}
