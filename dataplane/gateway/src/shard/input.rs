//! From bytes to commands: PROXY header, HTTP head, frames.

use bytes::Bytes;
use throng_core::Lane;
use throng_proto::client::Format;
use throng_proto::codes::{CloseCode, ErrorCode};
use throng_ws::{Event, Flow, Opening, Refusal, Status, Upgrade, frame, handshake, proxy};

use super::conn::Stage;
use super::{AddressPlace, Sent, Shard, Transport, wheel};
use crate::guard::address_key;

/// What a malformed frame counts as, among the frames of a second.
const MALFORMED_WEIGHT: u16 = 10;

impl<T: Transport> Shard<T> {
    /// Bytes came. They are scratch and used up.
    pub fn bytes(&mut self, conn: u32, input: &mut [u8]) {
        let step = wheel::step_of(self.now);
        let Some(record) = self.conn_mut(conn) else { return };
        record.heard_step = step;
        match &mut record.stage {
            Stage::Head(held) if held.is_empty() => {
                let used = self.head(conn, input);
                self.frames(conn, input.get_mut(used..).unwrap_or_default());
            }
            Stage::Head(held) => {
                let mut all = std::mem::take(held);
                all.extend_from_slice(input);
                let used = self.head(conn, &all);
                self.frames(conn, all.get_mut(used..).unwrap_or_default());
            }
            Stage::Open => self.frames(conn, input),
            Stage::Closing => {}
        }
        self.close_failed();
    }

    /// The peer sends no more, or the socket died.
    pub fn closed(&mut self, conn: u32) {
        self.drop_conn(conn);
    }

    /// Reads the opening; returns how many bytes it took. More than there are: nothing is left to read.
    fn head(&mut self, conn: u32, input: &[u8]) -> usize {
        let mut start = 0;
        if self.shared.options.proxy_protocol {
            match proxy::read(input) {
                proxy::Proxy::NeedMore => return self.keep_head(conn, input),
                proxy::Proxy::Bad(_) => {
                    self.drop_conn(conn);
                    return input.len();
                }
                proxy::Proxy::Own { head_bytes } => start = head_bytes,
                proxy::Proxy::Client { source, head_bytes } => {
                    start = head_bytes;
                    self.came_from(conn, address_key(source.ip()));
                }
            }
        }
        let shared = std::sync::Arc::clone(&self.shared);
        let request = input.get(start..).unwrap_or_default();
        match handshake::read(request, &self.wire_limits) {
            Opening::NeedMore => return self.keep_head(conn, input),
            Opening::PlainHttp => self.plain_http(conn, request),
            Opening::Bad(refusal) => self.answer_http(conn, &refusal),
            Opening::Upgrade(upgrade) => match refusal(&upgrade, &shared.options.origins) {
                Some(refusal) => self.answer_http(conn, &refusal),
                None => return start + self.upgrade(conn, &upgrade),
            },
        }
        input.len()
    }

    /// A request that asks for no WebSocket. Until its socket ends it counts among the connections of its address.
    fn plain_http(&mut self, conn: u32, request: &[u8]) {
        self.counts.http += 1;
        let Some(record) = self.conns.get_mut(conn as usize) else { return };
        if record.refused == Some(CloseCode::TooManyConnections) {
            let refusal = Refusal::new(Status::TooManyRequests, "too many connections from this address");
            return self.answer_http(conn, &refusal.retry_after_s(1));
        }
        let address = std::mem::take(&mut record.counted_address).then_some(record.address);
        let place = AddressPlace { shared: std::sync::Arc::clone(&self.shared), address };
        self.forget(conn);
        self.io.hand_over(conn, request.to_vec(), place);
    }

    fn keep_head(&mut self, conn: u32, input: &[u8]) -> usize {
        if let Some(conn) = self.conn_mut(conn) {
            conn.stage = Stage::Head(input.to_vec());
        }
        input.len()
    }

    fn came_from(&mut self, conn: u32, address: u64) {
        let counted = self.shared.guard.enter_address(address);
        if let Some(conn) = self.conn_mut(conn).filter(|conn| !conn.counted_address) {
            conn.address = address;
            conn.counted_address = counted;
            if counted {
                return;
            }
            conn.refused = Some(CloseCode::TooManyConnections);
        } else {
            if counted {
                self.shared.guard.leave_address(address);
            }
            return;
        }
        if !self.step_out(conn) {
            self.drop_conn(conn);
        }
    }

    fn answer_http(&mut self, conn: u32, refusal: &Refusal) {
        self.counts.refused += 1;
        let _ = self.io.send(conn, &refusal.to_bytes());
        self.io.finish(conn);
        self.linger(conn);
    }

    /// Becomes a WebSocket; returns the size of the head.
    fn upgrade(&mut self, conn: u32, upgrade: &Upgrade<'_>) -> usize {
        let known = Format::ALL.map(Format::subprotocol);
        let subprotocol = upgrade.choose_subprotocol(&known);
        let format = subprotocol.and_then(Format::of_subprotocol).unwrap_or(Format::Json);
        let answer = upgrade.accept(subprotocol);
        let head_bytes = upgrade.head_bytes;
        if !matches!(self.io.send(conn, &answer), Sent::Bytes(sent) if sent == answer.len()) {
            // A fresh socket that cannot take 200 bytes is of no use.
            self.drop_conn(conn);
            return usize::MAX;
        }
        let hello_by = self.now + self.shared.options.limits.hello_ms;
        let now = self.now;
        let Some(record) = self.conns.get_mut(conn as usize) else { return usize::MAX };
        record.stage = Stage::Open;
        record.group = super::Group::new(format, record.group.class(), record.group.cohort());
        record.opened_step = wheel::step_of(now);
        record.look_step = self.wheel.enter(conn, hello_by, now);
        if let Some(code) = record.refused {
            let reason = match code {
                CloseCode::TryAgain => "{\"retry_ms\":5000}",
                _ => "too many connections from this address",
            };
            self.close(conn, code, reason);
        }
        head_bytes
    }

    /// Takes frames.
    fn frames(&mut self, conn: u32, input: &mut [u8]) {
        if input.is_empty() {
            return;
        }
        let Some(record) = self.conn_mut(conn).filter(|conn| conn.is_open()) else { return };
        let mut decoder = std::mem::take(&mut record.decoder);
        let limits = self.wire_limits;
        let mut events: u32 = 0;
        let fed = decoder.feed(input, &limits, &mut |event| {
            events += 1;
            self.frame_came(conn, event);
            if self.conn(conn).is_some_and(super::conn::Conn::is_open) { Flow::Continue } else { Flow::Stop }
        });
        match fed {
            Ok(fed) => {
                // Fragments tell nothing, but count.
                let silent = fed.frames.saturating_sub(events).try_into().unwrap_or(u16::MAX);
                if silent > 0 {
                    self.count_frames(conn, silent);
                }
                if let Some(record) = self.conn_mut(conn) {
                    record.decoder = decoder;
                }
            }
            Err(error) => {
                let code = match error.close_code() {
                    1007 => CloseCode::BadUtf8,
                    1009 => CloseCode::TooBig,
                    _ => CloseCode::ProtocolError,
                };
                self.close(conn, code, &error.to_string());
            }
        }
    }

    fn frame_came(&mut self, conn: u32, event: Event<'_>) {
        if !self.count_frames(conn, 1) {
            return;
        }
        let format = self.format_of(conn);
        match event {
            Event::Text(text) if format == Format::Json => self.message(conn, format, text.as_bytes()),
            Event::Binary(message) if format == Format::Protobuf => self.message(conn, format, message),
            Event::Text(_) => self.close(conn, CloseCode::Unsupported, "this connection speaks protobuf: send binary"),
            Event::Binary(_) => self.close(conn, CloseCode::Unsupported, "this connection speaks JSON: send text"),
            Event::Ping(payload) => self.send(conn, Lane::Control, frame::pong(payload)),
            Event::Pong(_) => {}
            Event::Close(close) => self.close_answered(conn, frame::close_reply(close)),
        }
    }

    fn message(&mut self, conn: u32, format: Format, message: &[u8]) {
        let mut first = true;
        format.read(message, |read| {
            let counted = std::mem::take(&mut first) || self.count_frames(conn, 1);
            if !counted || !self.conn(conn).is_some_and(super::conn::Conn::is_open) {
                return;
            }
            match read {
                Ok(request) => self.command(conn, request),
                Err(error) => {
                    self.refuse(conn, error.id, error.code, &error.message);
                    if error.code == ErrorCode::BadRequest {
                        self.count_frames(conn, MALFORMED_WEIGHT);
                    }
                }
            }
        });
    }

    /// Counts frames of this second; false, and a closed connection, if there are too many.
    fn count_frames(&mut self, conn: u32, frames: u16) -> bool {
        let most = self.shared.options.limits.frames_per_s;
        let second = u32::try_from(self.now.0 / 1000).unwrap_or(u32::MAX);
        let Some(record) = self.conn_mut(conn) else { return false };
        if record.second != second {
            record.second = second;
            record.frames = 0;
        }
        record.frames = record.frames.saturating_add(frames);
        if u32::from(record.frames) > most {
            self.close(conn, CloseCode::TooManyFrames, "too many or too many malformed frames a second");
            return false;
        }
        true
    }

    /// The client closed: answers in kind, and its session ends.
    fn close_answered(&mut self, conn: u32, answer: Bytes) {
        self.counts.closed_by_client += 1;
        self.detach(conn, true);
        let behind = self.conn(conn).is_none_or(|conn| conn.outbox.is_some());
        if !behind && self.io.send(conn, &answer) == Sent::Bytes(answer.len()) {
            // Nothing else will come: the server is the one to close.
            return self.drop_conn(conn);
        }
        self.last_frame(conn, answer);
    }
}

/// Why an upgrade is not welcome.
fn refusal(upgrade: &Upgrade<'_>, origins: &[String]) -> Option<Refusal> {
    if upgrade.path != "/connect" {
        return Some(Refusal::new(Status::NotFound, "WebSocket is spoken at /connect."));
    }
    let origin = upgrade.origin?;
    let welcome = origins.is_empty() || origins.iter().any(|known| known == origin);
    (!welcome).then_some(Refusal::new(Status::Forbidden, "Pages of this origin may not connect here."))
}
