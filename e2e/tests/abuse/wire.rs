//! The protobuf subprotocol, PROXY protocol and origins, over real sockets. The messages are declared here anew, from
//! `client.proto` as a stranger reads it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use prost::Message;
use throng_e2e::raw::{BINARY, Raw, TEXT, masked, rest, tcp};
use throng_e2e::talk::Talk;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::{SOON, one_of_each, plain, strict};

#[derive(Clone, PartialEq, Message)]
struct Cursor {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, repeated, tag = "2")]
    seq: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Hello {
    #[prost(string, tag = "1")]
    token: String,
    #[prost(string, tag = "2")]
    resume: String,
    #[prost(map = "string, message", tag = "3")]
    rooms: HashMap<String, Cursor>,
}

#[derive(Clone, PartialEq, Message)]
struct Join {
    #[prost(string, tag = "1")]
    room: String,
}

#[derive(Clone, PartialEq, Message)]
struct Publish {
    #[prost(string, tag = "1")]
    room: String,
    #[prost(uint32, optional, tag = "2")]
    lane: Option<u32>,
    #[prost(string, tag = "3")]
    kind: String,
    #[prost(bytes, tag = "4")]
    data: Vec<u8>,
    #[prost(string, tag = "6")]
    ack: String,
}

#[derive(Clone, PartialEq, Message)]
struct Pull {
    #[prost(string, tag = "1")]
    room: String,
    #[prost(uint32, tag = "3")]
    lane: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Empty {}

#[derive(Clone, PartialEq, Message)]
struct ClientFrame {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, optional, tag = "2")]
    hello: Option<Hello>,
    #[prost(message, optional, tag = "3")]
    join: Option<Join>,
    #[prost(message, optional, tag = "4")]
    leave: Option<Join>,
    #[prost(message, optional, tag = "5")]
    publish: Option<Publish>,
    #[prost(message, optional, tag = "6")]
    pull: Option<Pull>,
    #[prost(message, optional, tag = "8")]
    ping: Option<Empty>,
}

#[derive(Clone, PartialEq, Message)]
struct Said {
    #[prost(uint32, tag = "1")]
    lane: u32,
    #[prost(uint64, tag = "2")]
    seq: u64,
    #[prost(string, tag = "3")]
    from: String,
    #[prost(string, tag = "4")]
    kind: String,
    #[prost(bytes, tag = "5")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Recovered {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, repeated, tag = "2")]
    seq: Vec<u64>,
    #[prost(bool, tag = "3")]
    whole: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Good {
    #[prost(string, tag = "1")]
    user: String,
    #[prost(string, tag = "2")]
    resume: String,
    #[prost(map = "string, message", tag = "4")]
    rooms: HashMap<String, Recovered>,
    #[prost(uint64, optional, tag = "6")]
    epoch: Option<u64>,
    #[prost(uint64, repeated, tag = "7")]
    seq: Vec<u64>,
    #[prost(string, tag = "10")]
    state: String,
    #[prost(uint64, optional, tag = "12")]
    number: Option<u64>,
    #[prost(message, repeated, tag = "13")]
    messages: Vec<Said>,
}

#[derive(Clone, PartialEq, Message)]
struct Bad {
    #[prost(string, tag = "1")]
    code: String,
}

#[derive(Clone, PartialEq, Message)]
struct Segment {
    #[prost(string, tag = "1")]
    room: String,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(message, repeated, tag = "3")]
    messages: Vec<Said>,
}

#[derive(Clone, PartialEq, Message)]
struct ServerFrame {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, optional, tag = "2")]
    ok: Option<Good>,
    #[prost(message, optional, tag = "3")]
    error: Option<Bad>,
    #[prost(message, optional, tag = "4")]
    segment: Option<Segment>,
}

/// A client that speaks protobuf. What it was told and has not looked at waits.
struct Proto {
    raw: Raw,
    told: Vec<ServerFrame>,
}

impl Proto {
    async fn connect(url: &str) -> Self {
        let stream = tcp(url, Ipv4Addr::LOCALHOST, None).await.unwrap();
        let raw = Raw::over(stream, "Sec-WebSocket-Protocol: throng.v1.proto, throng.v1.json\r\n").await.unwrap();
        Self { raw, told: Vec::new() }
    }

    async fn send(&mut self, frames: &[ClientFrame]) {
        let message: Vec<u8> = frames.iter().flat_map(Message::encode_length_delimited_to_vec).collect();
        self.raw.write(&masked(BINARY, &message)).await;
    }

    async fn next(&mut self, wanted: impl Fn(&ServerFrame) -> bool) -> ServerFrame {
        loop {
            if let Some(at) = self.told.iter().position(&wanted) {
                return self.told.remove(at);
            }
            let frame = self.raw.frame(SOON).await.unwrap().expect("the connection stands");
            assert_eq!(frame.opcode, 2, "{:?}", String::from_utf8_lossy(&frame.payload));
            let mut rest = &frame.payload[..];
            while !rest.is_empty() {
                self.told.push(ServerFrame::decode_length_delimited(&mut rest).unwrap());
            }
        }
    }

    async fn ask(&mut self, frame: ClientFrame) -> ServerFrame {
        let id = frame.id;
        self.send(&[frame]).await;
        self.next(|told| told.id == id).await
    }

    async fn good(&mut self, frame: ClientFrame) -> Good {
        let answer = self.ask(frame).await;
        answer.ok.unwrap_or_else(|| panic!("{:?}", answer.error))
    }
}

fn publish(id: u64, data: &str) -> ClientFrame {
    let publish = Publish { room: "proto".into(), data: data.into(), ack: "stored".into(), ..Publish::default() };
    ClientFrame { id, publish: Some(publish), ..ClientFrame::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_life_in_protobuf() {
    let dev = plain();
    let mut ana = Proto::connect(&dev.ready.url).await;
    let hello = |hello: Hello| ClientFrame { id: 1, hello: Some(hello), ..ClientFrame::default() };
    let join = |id: u64| ClientFrame { id, join: Some(Join { room: "proto".into() }), ..ClientFrame::default() };
    let first = ana.good(hello(Hello { token: dev.token("ana").unwrap(), ..Hello::default() })).await;
    assert_eq!(first.user, "ana");
    let joined = ana.good(join(2)).await;
    assert_eq!(joined.seq.len(), 4);
    let mut ben = Proto::connect(&dev.ready.url).await;
    ben.good(hello(Hello { token: dev.token("ben").unwrap(), ..Hello::default() })).await;
    ben.good(join(2)).await;

    let stored = ana.good(publish(3, r#"{"text":"hi"}"#)).await;
    assert_eq!((stored.state.as_str(), stored.number), ("stored", Some(1)));
    let segment = ben.next(|told| told.segment.is_some()).await.segment.unwrap();
    let heard = &segment.messages[0];
    assert_eq!((segment.room.as_str(), segment.epoch), ("proto", joined.epoch.unwrap()));
    assert_eq!((heard.lane, heard.seq, heard.from.as_str(), heard.kind.as_str()), (2, 1, "ana", "text"));
    assert_eq!(heard.data, br#"{"text":"hi"}"#);

    // Two frames in one message; a word that is no JSON; an id that is none.
    ben.send(&[publish(4, "2"), publish(5, "no json")]).await;
    assert!(ben.next(|told| told.id == 4).await.ok.is_some());
    assert_eq!(ben.next(|told| told.id == 5).await.error.unwrap().code, "bad_request");
    let empty = ClientFrame { id: 6, join: Some(Join::default()), ..ClientFrame::default() };
    assert_eq!(ben.ask(empty).await.error.unwrap().code, "bad_id");
    let pull = ClientFrame { id: 7, pull: Some(Pull { room: "proto".into(), lane: 2 }), ..ClientFrame::default() };
    assert_eq!(ben.good(pull).await.messages.len(), 2);

    // Ana's connection is lost; she comes back after her first message.
    drop(ana);
    let mut ana = Proto::connect(&dev.ready.url).await;
    let since = Cursor { epoch: joined.epoch.unwrap(), seq: vec![0, 0, 1, 0] };
    let back = Hello { resume: first.resume, rooms: HashMap::from([("proto".into(), since)]), ..Hello::default() };
    let back = ana.good(hello(back)).await;
    assert!(back.rooms["proto"].whole, "{back:?}");
    let missed = ana.next(|told| told.segment.is_some()).await.segment.unwrap();
    assert_eq!((missed.messages[0].seq, &missed.messages[0].data[..]), (2, &b"2"[..]));
    let leave = ClientFrame { id: 8, leave: Some(Join { room: "proto".into() }), ..ClientFrame::default() };
    ana.good(leave).await;
    ana.good(ClientFrame { id: 9, ping: Some(Empty {}), ..ClientFrame::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_on_a_protobuf_connection_gets_its_code_and_disturbs_nobody() {
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    for (what, bytes, code) in [
        ("text", masked(TEXT, b"{}"), 1003),
        ("lengths beyond the message", masked(BINARY, &[200, 1, 8]).repeat(22), 4004),
        ("a length without end", masked(BINARY, &[0xff; 20]).repeat(22), 4004),
        ("a field of a wrong type", masked(BINARY, &[2, 0x0d, 1]).repeat(22), 4004),
        ("groups in groups", masked(BINARY, &[&[200][..], &[0x0b; 200]].concat()).repeat(22), 4004),
        ("empty frames", masked(BINARY, &[0; 150]), 4004),
    ] {
        let mut ana = Proto::connect(&dev.ready.url).await;
        ana.raw.write(&bytes).await;
        assert_eq!(ana.raw.closed(SOON).await.unwrap().0, code, "{what}");
    }
    println!("{}", talk.undisturbed().unwrap());
}

/// A PROXY v2 header that names a client.
fn proxy(source: IpAddr) -> Vec<u8> {
    let (family, addresses) = match source {
        IpAddr::V4(v4) => (0x11, [&v4.octets()[..], &[10, 0, 0, 1], &[1, 2, 3, 4]].concat()),
        IpAddr::V6(v6) => (0x21, [&v6.octets()[..], &[0; 16], &[1, 2, 3, 4]].concat()),
    };
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, family], &length, &addresses].concat()
}

async fn behind(url: &str, header: &[u8]) -> TcpStream {
    let mut stream = tcp(url, Ipv4Addr::LOCALHOST, None).await.unwrap();
    stream.write_all(header).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_balancer_the_address_it_names_counts() {
    let sets = ["gateway.proxy_protocol=true", "gateway.limits.connections_per_address=3"];
    let dev = one_of_each(&[&sets[..], &["gateway.limits.header_ms=700"]].concat());
    let (url, token) = (dev.ready.url.as_str(), dev.token("ana").unwrap());
    let mut held = Vec::new();
    let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::1"].map(|text| text.parse::<IpAddr>().unwrap());
    for address in addresses {
        for _ in 0..3 {
            let mut raw = Raw::over(behind(url, &proxy(address)).await, "").await.unwrap();
            raw.say_hello(&token).await.unwrap();
            held.push(raw);
        }
        let mut raw = Raw::over(behind(url, &proxy(address)).await, "").await.unwrap();
        assert_eq!(raw.closed(SOON).await.unwrap().0, 4006, "{address}");
    }
    // A household has a /64; an IPv4 address written as IPv6 is the same one.
    for address in ["2001:db8:0:1:ffff::9", "::ffff:192.0.2.1"] {
        let mut raw = Raw::over(behind(url, &proxy(address.parse().unwrap())).await, "").await.unwrap();
        assert_eq!(raw.closed(SOON).await.unwrap().0, 4006, "{address}");
    }
    // The header may come byte by byte, and a balancer may ask by itself whether we are there.
    let mut stream = tcp(url, Ipv4Addr::LOCALHOST, None).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in proxy("192.0.2.9".parse().unwrap()) {
        stream.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Raw::over(stream, "").await.unwrap().say_hello(&token).await.unwrap();
    let local = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20, 0, 0, 0]].concat();
    Raw::over(behind(url, &local).await, "").await.unwrap().say_hello(&token).await.unwrap();
    // Who comes without, with another version, or with too much is dropped without a word, and who stops half-way too.
    let too_long = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, 0x11, 0xff, 0xff]].concat();
    let half = &proxy(addresses[0])[..20];
    for header in [&b"GET /connect HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n", &too_long, half] {
        assert_eq!(rest(&mut behind(url, header).await, SOON).await.unwrap(), "");
    }
    // A place is free when its connection ends.
    held.remove(0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    Raw::over(behind(url, &proxy(addresses[0])).await, "").await.unwrap().say_hello(&token).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_origins_may_not_connect() {
    let dev = strict();
    for (origin, welcome) in [
        ("", true),
        ("Origin: https://chat.example\r\n", true),
        ("Origin: https://www.chat.example\r\n", true),
        ("Origin: https://evil.example\r\n", false),
        ("Origin: https://chat.example.evil.example\r\n", false),
        ("Origin: http://chat.example\r\n", false),
        ("Origin: https://chat.example:444\r\n", false),
        ("Origin: null\r\n", false),
        ("Origin: \r\n", false),
    ] {
        let stream = tcp(&dev.ready.url, Ipv4Addr::LOCALHOST, None).await.unwrap();
        match Raw::over(stream, origin).await {
            Ok(_) => assert!(welcome, "{origin}"),
            Err(error) => assert!(!welcome && error.to_string().contains("403"), "{origin}: {error}"),
        }
    }
}
