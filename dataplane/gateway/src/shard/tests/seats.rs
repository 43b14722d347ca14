//! The limit of a gateway's connections, over two of its reactors.

use super::*;

fn two(connections: u32) -> [Shard<Pipes>; 2] {
    let mut options = options();
    options.limits.connections = connections;
    options.limits.connections_per_address = 0;
    let shared = shared_with(options);
    [shard_of(&shared, 0), shard_of(&shared, 1)]
}

impl Shard<Pipes> {
    /// Connects; the connection if it is let in, else it was told to come again.
    fn try_connect(&mut self) -> Option<u32> {
        let conn = self.connect();
        let lines = self.lines(conn);
        if self.conn(conn).is_some_and(Conn::is_open) {
            assert!(lines.is_empty(), "{lines:?}");
            return Some(conn);
        }
        assert_eq!(lines, [json!({"close": 1013})]);
        None
    }
}

#[test]
fn two_reactors_let_in_as_many_as_the_gateway_may_have_together() {
    let mut shards = two(10);
    let let_in = (0..20).filter(|n| shards[n % 2].try_connect().is_some()).count();
    assert_eq!(let_in, 10);
    let [mut one, mut other] = two(10);
    assert!((0..10).all(|_| one.try_connect().is_some()), "one of them may have them all");
    assert!(other.try_connect().is_none() && one.try_connect().is_none());
}

#[test]
fn those_that_are_refused_and_come_again_keep_nobody_out() {
    let [mut one, mut other] = two(10);
    let inside: Vec<u32> = (0..10).map(|_| one.try_connect().unwrap()).collect();
    assert!((0..30).all(|_| other.try_connect().is_none()), "they are read on for two seconds");
    one.closed(inside[0]);
    assert!(other.try_connect().is_some());
    assert!(other.try_connect().is_none());
}

#[test]
fn a_connection_that_the_gateway_closes_makes_room_while_it_is_still_read() {
    let [mut one, mut other] = two(1);
    let forged = one.try_connect().unwrap();
    one.say(forged, &json!({"id": 1, "hello": {"token": "forged"}}));
    assert_eq!((one.connections(), one.left()), (1, 0), "it lingers");
    assert!(other.try_connect().is_some());
    assert!(one.try_connect().is_none());
}

#[test]
fn a_connection_that_was_asked_to_go_makes_room() {
    let [mut one, mut other] = two(1);
    one.enter("ana", "r", 0);
    assert!(other.try_connect().is_none());
    one.from_hub(ToShard::Drain { within_ms: 10_000, per_s: 0 });
    one.turn();
    assert!(other.try_connect().is_some() && other.try_connect().is_none());
    for ms in (0..20_000).step_by(100) {
        one.at(START + ms);
        one.turn();
    }
    assert_eq!(one.connections(), 0);
    assert!(one.try_connect().is_none(), "its place was given away once");
}

#[test]
fn a_plain_request_takes_no_place() {
    let [mut one, mut other] = two(1);
    let conn = one.opened(IpAddr::from([127, 0, 0, 1])).unwrap();
    one.bytes(conn, &mut b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".to_vec());
    assert_eq!(one.io.handed.len(), 1);
    assert!(other.try_connect().is_some());
}

#[test]
fn a_plain_request_counts_among_those_of_its_address_until_its_socket_ends() {
    let mut options = options();
    options.limits.connections_per_address = 2;
    let mut shard = shard_with(options);
    let ask = |shard: &mut Shard<Pipes>| {
        let conn = shard.opened(IpAddr::from([127, 0, 0, 1])).unwrap();
        shard.io.open.insert(conn, Pipe { room: usize::MAX, ..Pipe::default() });
        shard.bytes(conn, &mut b"GET /v1/rooms HTTP/1.1\r\nHost: x\r\n\r\n".to_vec());
        conn
    };
    ask(&mut shard);
    ask(&mut shard);
    assert_eq!(shard.io.handed.len(), 2);
    let third = ask(&mut shard);
    assert!(shard.io.open[&third].out.starts_with(b"HTTP/1.1 429"), "its address has two already");
    shard.io.handed.pop();
    ask(&mut shard);
    assert_eq!(shard.io.handed.len(), 2, "one has ended");
}

#[test]
fn sockets_that_are_refused_or_closed_are_bounded_until_their_time_is_over() {
    let [mut one, mut other] = two(4);
    let inside: Vec<u32> = (0..4).map(|_| one.try_connect().unwrap()).collect();
    let heard = (0..500).filter(|_| other.opened(IpAddr::from([127, 0, 0, 1])).is_some()).count();
    assert_eq!((heard, other.connections()), (64, 64), "they say nothing, and others are closed at once");
    one.say(inside[0], &json!({"id": 1, "hello": {"token": "forged"}}));
    assert_eq!(one.connections(), 3, "there is no room to read on, and its last frame went out");
    let lines = one.lines(inside[0]);
    assert_eq!(lines.last().unwrap(), &json!({"close": 4001}));
    assert!(one.try_connect().is_some(), "whoever may come in does not need a place outside");
    for ms in (0..8000).step_by(100) {
        other.at(START + ms);
        other.turn();
    }
    assert_eq!(other.connections(), 0);
    assert!(other.try_connect().is_none(), "it is told again");
}
