//! Segment frames read by hand, in exactly the form that the gateway writes them. Whatever differs is left to a JSON parser:
//! the load client has to be much cheaper than the server it measures.

use memchr::memchr;
use throng_core::{Epoch, Gap, Lane};

/// A segment as it stands in a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scanned<'f> {
    pub(super) room: &'f str,
    pub(super) epoch: Epoch,
    pub(super) messages: Vec<ScannedMessage>,
    pub(super) gaps: Vec<Gap>,
}

/// What the bench wants to know of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScannedMessage {
    pub(super) lane: Lane,
    pub(super) seq: u64,
    /// None: not a message of this bench.
    pub(super) mark: Option<Mark>,
}

/// What the bench writes into `data`: `{"t":<us>,"n":<number>,"p":"<filler>"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub(super) struct Mark {
    /// When it was sent, on the clock of [`super::clock`], in microseconds.
    #[serde(rename = "t")]
    pub(super) sent_us: u64,
    /// Number of the publish in this bench, from 1.
    #[serde(rename = "n")]
    pub(super) publish: u64,
}

/// Reads one line that is a segment frame of the usual form; none of any other.
pub(super) fn segment(line: &[u8]) -> Option<Scanned<'_>> {
    let mut scan = Scan(line);
    scan.eat(b"{\"segment\":{\"room\":\"")?;
    let room = std::str::from_utf8(scan.text()?).ok()?;
    scan.eat(b",\"epoch\":")?;
    let epoch = Epoch(scan.number()?);
    let mut messages = Vec::new();
    if scan.eat(b",\"messages\":[").is_some() {
        scan.list(&mut messages, Scan::message)?;
    }
    let mut gaps = Vec::new();
    if scan.eat(b",\"gaps\":[").is_some() {
        scan.list(&mut gaps, Scan::gap)?;
    }
    (scan.0 == b"}}").then_some(Scanned { room, epoch, messages, gaps })
}

/// The part that is not read yet.
struct Scan<'f>(&'f [u8]);

impl<'f> Scan<'f> {
    fn eat(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    fn number(&mut self) -> Option<u64> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
        if number.is_empty() { None } else { number.iter().try_fold(0, add) }
    }

    /// A text up to its closing quote, which is eaten; none if it holds an escape.
    fn text(&mut self) -> Option<&'f [u8]> {
        let (text, rest) = self.0.split_at_checked(memchr(b'"', self.0)?)?;
        self.0 = rest.get(1..)?;
        memchr(b'\\', text).is_none().then_some(text)
    }

    fn list<T>(&mut self, into: &mut Vec<T>, one: impl Fn(&mut Self) -> Option<T>) -> Option<()> {
        if self.eat(b"]").is_some() {
            return Some(());
        }
        loop {
            into.push(one(self)?);
            if self.eat(b"]").is_some() {
                return Some(());
            }
            self.eat(b",")?;
        }
    }

    fn lane(&mut self) -> Option<Lane> {
        Lane::from_number(u8::try_from(self.number()?).ok()?)
    }

    fn message(&mut self) -> Option<ScannedMessage> {
        self.eat(b"{\"lane\":")?;
        let lane = self.lane()?;
        self.eat(b",\"seq\":")?;
        let seq = self.number()?;
        self.eat(b",\"from\":\"")?;
        self.text()?;
        self.eat(b",\"type\":\"")?;
        self.text()?;
        self.eat(b",\"data\":{\"t\":")?;
        let sent_us = self.number()?;
        self.eat(b",\"n\":")?;
        let publish = self.number()?;
        self.eat(b",\"p\":\"")?;
        self.text()?;
        self.eat(b"},\"at_ms\":")?;
        self.number()?;
        self.eat(b"}")?;
        Some(ScannedMessage { lane, seq, mark: Some(Mark { sent_us, publish }) })
    }

    fn gap(&mut self) -> Option<Gap> {
        self.eat(b"{\"epoch\":")?;
        let epoch = Epoch(self.number()?);
        self.eat(b",\"lane\":")?;
        let lane = self.lane()?;
        self.eat(b",\"from\":")?;
        let from = self.number()?;
        self.eat(b",\"to\":")?;
        let to = self.number()?;
        self.eat(b"}")?;
        Some(Gap { epoch, lane, from, to })
    }
}

#[cfg(test)]
mod tests {
    use throng_core::{Message, Millis, RoomId, UserId};
    use throng_proto::client::json;

    use super::*;

    fn written(data: &'static str) -> Vec<u8> {
        let message = Message {
            lane: Lane::Normal,
            seq: 121,
            from: UserId::new("bench-4").unwrap(),
            kind: "text".into(),
            data: bytes::Bytes::from_static(data.as_bytes()),
            at_ms: Millis(1_795_289_705_306),
        };
        let gap = Gap { epoch: Epoch(7), lane: Lane::Low, from: 9, to: 14 };
        let mut out = Vec::new();
        json::write_segment(&RoomId::new("final").unwrap(), Epoch(7), [&message].into_iter(), &[gap], &mut out);
        out
    }

    #[test]
    fn what_the_gateway_writes_is_read_by_hand() {
        let line = written(r#"{"t":12345,"n":6,"p":"xxxx"}"#);
        let scanned = segment(&line).expect("the usual form");
        assert_eq!((scanned.room, scanned.epoch), ("final", Epoch(7)));
        let mark = Some(Mark { sent_us: 12345, publish: 6 });
        assert_eq!(scanned.messages, [ScannedMessage { lane: Lane::Normal, seq: 121, mark }]);
        assert_eq!(scanned.gaps, [Gap { epoch: Epoch(7), lane: Lane::Low, from: 9, to: 14 }]);
    }

    #[test]
    fn any_other_form_is_left_to_the_parser() {
        assert_eq!(segment(&written(r#"{"text":"hi"}"#)), None);
        assert_eq!(segment(b"{\"id\":1,\"ok\":{}}"), None);
        assert_eq!(segment(br#"{"segment":{"room":"a\"b","epoch":7}}"#), None);
        assert_eq!(segment(br#"{"segment":{"room":"a","epoch":99999999999999999999}}"#), None);
        let line = written(r#"{"t":12345,"n":6,"p":"xxxx"}"#);
        for end in 0..line.len() {
            assert_eq!(segment(&line[..end]), None);
        }
    }
}
