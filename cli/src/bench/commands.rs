//! What clients say: the JSON commands of the client protocol.

use std::collections::BTreeMap;

use serde::Serialize;
use throng_core::{Cursor, Epoch, Lane, Stamp};

#[derive(Serialize)]
struct Command<'c> {
    id: u64,
    #[serde(flatten)]
    what: What<'c>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum What<'c> {
    Hello(Hello<'c>),
    Join(Join<'c>),
    Ping {},
    Pull(Pull<'c>),
    Leave { room: &'c str },
    Publish(Publish<'c>),
}

#[derive(Serialize)]
struct Join<'c> {
    room: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Cursor>,
}

#[derive(Serialize)]
struct Pull<'c> {
    room: &'c str,
    epoch: Epoch,
    lane: Lane,
    after: u64,
    limit: u32,
}

#[derive(Default, Serialize)]
struct Hello<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resume: Option<&'c str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rooms: BTreeMap<&'c str, Cursor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_rate: Option<u32>,
}

#[derive(Serialize)]
struct Publish<'c> {
    room: &'c str,
    lane: Lane,
    r#type: &'static str,
    data: Data<'c>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<&'static str>,
}

/// The content: see [`super::scan::Mark`].
#[derive(Serialize)]
struct Data<'c> {
    t: u64,
    n: u64,
    p: &'c str,
}

/// First command of a new session.
pub(super) fn hello(id: u64, token: &str, max_rate: Option<u32>) -> String {
    text(id, What::Hello(Hello { token: Some(token), max_rate, ..Hello::default() }))
}

/// First command of a connection that goes on with a session.
pub(super) fn resume(id: u64, token: &str, rooms: BTreeMap<&str, Cursor>, max_rate: Option<u32>) -> String {
    text(id, What::Hello(Hello { resume: Some(token), rooms, max_rate, ..Hello::default() }))
}

/// Enters a room.
pub(super) fn join(id: u64, room: &str) -> String {
    text(id, What::Join(Join { room, since: None }))
}

/// Enters a room and goes on from a cursor.
pub(super) fn join_since(id: u64, room: &str, since: Cursor) -> String {
    text(id, What::Join(Join { room, since: Some(since) }))
}

/// Asks whether the server is there.
pub(super) fn ping(id: u64) -> String {
    text(id, What::Ping {})
}

/// Asks for one message by its stamp.
pub(super) fn pull(id: u64, room: &str, stamp: Stamp) -> String {
    let Stamp { epoch, lane, seq } = stamp;
    text(id, What::Pull(Pull { room, epoch, lane, after: seq.saturating_sub(1), limit: 1 }))
}

/// A publish that is to be stored, and may be repeated: its number is its key.
pub(super) fn publish_stored(id: u64, room: &str, lane: Lane, sent_us: u64, publish: u64) -> String {
    let (data, key) = (Data { t: sent_us, n: publish, p: "" }, format!("p{publish}"));
    text(id, What::Publish(Publish { room, lane, r#type: "text", data, key: Some(&key), ack: Some("stored") }))
}

/// Leaves a room.
pub(super) fn leave(id: u64, room: &str) -> String {
    text(id, What::Leave { room })
}

/// Publish number `publish` of the bench, sent at `sent_us`.
pub(super) fn publish(id: u64, room: &str, lane: Lane, sent_us: u64, publish: u64, filler: &str) -> String {
    let data = Data { t: sent_us, n: publish, p: filler };
    text(id, What::Publish(Publish { room, lane, r#type: "text", data, key: None, ack: None }))
}

/// The filler that makes `data` about `payload_bytes` long.
pub(super) fn filler(payload_bytes: usize) -> String {
    // {"t":1234567890123,"n":1234,"p":""}
    "x".repeat(payload_bytes.saturating_sub(35))
}

fn text(id: u64, what: What<'_>) -> String {
    // These types hold nothing that JSON cannot write: texts, numbers and maps by text.
    serde_json::to_string(&Command { id, what }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use throng_core::Seqs;

    use super::*;

    #[test]
    fn commands_read_as_the_protocol_has_them() {
        assert_eq!(hello(1, "t", Some(0)), r#"{"id":1,"hello":{"token":"t","max_rate":0}}"#);
        assert_eq!(join(2, "final"), r#"{"id":2,"join":{"room":"final"}}"#);
        assert_eq!(leave(5, "final"), r#"{"id":5,"leave":{"room":"final"}}"#);
        assert_eq!(
            publish(3, "final", Lane::Normal, 7, 8, "xx"),
            r#"{"id":3,"publish":{"room":"final","lane":2,"type":"text","data":{"t":7,"n":8,"p":"xx"}}}"#
        );
        let cursor = Cursor { epoch: Epoch(7), seq: Seqs([0, 3, 118, 9]) };
        assert_eq!(
            join_since(500, "final", cursor),
            r#"{"id":500,"join":{"room":"final","since":{"epoch":7,"seq":[0,3,118,9]}}}"#
        );
        assert_eq!(
            publish_stored(3, "final", Lane::Protected, 7, 8),
            r#"{"id":3,"publish":{"room":"final","lane":1,"type":"text","data":{"t":7,"n":8,"p":""},"key":"p8","ack":"stored"}}"#
        );
        let stamp = Stamp { epoch: Epoch(7), lane: Lane::Protected, seq: 4 };
        assert_eq!(
            pull(6, "final", stamp),
            r#"{"id":6,"pull":{"room":"final","epoch":7,"lane":1,"after":3,"limit":1}}"#
        );
        assert_eq!(ping(9), r#"{"id":9,"ping":{}}"#);
        assert_eq!(
            resume(1, "r", BTreeMap::from([("final", cursor)]), None),
            r#"{"id":1,"hello":{"resume":"r","rooms":{"final":{"epoch":7,"seq":[0,3,118,9]}}}}"#
        );
    }

    #[test]
    fn the_content_has_about_the_asked_size() {
        let data = serde_json::to_string(&Data { t: 1_234_567_890_123, n: 1234, p: &filler(100) }).unwrap();
        assert_eq!(data.len(), 100);
    }
}
