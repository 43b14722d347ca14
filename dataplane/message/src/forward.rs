//! Publishes of gateways that cannot reach a room's owner themselves: sent on, and the answers brought back.

use std::collections::{BTreeMap, VecDeque};

use throng_core::Millis;
use throng_core::relay::{GatewayId, LinkId};
use throng_proto::codes::ErrorCode;
use throng_proto::link;

/// Publishes on their way at most; beyond that the sender is told to try again.
const MAX_WAITING: usize = 16_384;
/// How long an answer is waited for.
const ANSWER_MS: u64 = 5_000;
/// When the sender of a refused publish may try again.
const RETRY_MS: u64 = 500;

struct Forward {
    gateway: GatewayId,
    request: u64,
    link: LinkId,
}

/// What is on its way.
#[derive(Default)]
pub(crate) struct Forwards {
    next: u64,
    waiting: BTreeMap<u64, Forward>,
    deadlines: VecDeque<(Millis, u64)>,
}

impl Forwards {
    /// Gives a publish the relay's own number, or none if too many are on their way.
    pub(crate) fn send(&mut self, gateway: GatewayId, request: u64, link: LinkId, now: Millis) -> Option<u64> {
        if self.waiting.len() >= MAX_WAITING {
            return None;
        }
        self.next += 1;
        self.waiting.insert(self.next, Forward { gateway, request, link });
        self.deadlines.push_back((now + ANSWER_MS, self.next));
        Some(self.next)
    }

    /// Whose answer this is, with the number that the gateway chose.
    pub(crate) fn answered(&mut self, mut reply: link::PublishReply) -> Option<(GatewayId, link::PublishReply)> {
        let forward = self.waiting.remove(&reply.request)?;
        reply.request = forward.request;
        Some((forward.gateway, reply))
    }

    /// The link is down: whoever waits for it is told that the outcome is unknown, and may try again with the same key.
    pub(crate) fn link_down(&mut self, link: LinkId) -> Vec<(GatewayId, link::PublishReply)> {
        let lost: Vec<u64> = self.waiting.iter().filter(|(_, f)| f.link == link).map(|(number, _)| *number).collect();
        lost.into_iter().filter_map(|number| self.give_up(number)).collect()
    }

    /// What was not answered in time.
    pub(crate) fn tick(&mut self, now: Millis) -> Vec<(GatewayId, link::PublishReply)> {
        let mut late = Vec::new();
        while let Some((_, number)) = self.deadlines.front().filter(|(at, _)| *at <= now).copied() {
            self.deadlines.pop_front();
            late.extend(self.give_up(number));
        }
        late
    }

    fn give_up(&mut self, number: u64) -> Option<(GatewayId, link::PublishReply)> {
        let forward = self.waiting.remove(&number)?;
        Some((forward.gateway, refusal(forward.request)))
    }
}

/// The room's owner cannot be reached.
pub(crate) fn refusal(request: u64) -> link::PublishReply {
    link::PublishReply {
        request,
        code: ErrorCode::Unavailable.as_str().to_owned(),
        message: "the room's owner cannot be reached right now; try again with the same key".to_owned(),
        retry_ms: RETRY_MS,
        ..link::PublishReply::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_finds_its_gateway_and_the_number_that_it_chose() {
        let mut forwards = Forwards::default();
        let number = forwards.send(GatewayId(3), 77, LinkId(0), Millis(0)).unwrap();
        let reply = link::PublishReply { request: number, seq: 9, ..link::PublishReply::default() };
        let (gateway, reply) = forwards.answered(reply.clone()).unwrap();
        assert_eq!((gateway, reply.request, reply.seq), (GatewayId(3), 77, 9));
        assert!(forwards.tick(Millis(10_000)).is_empty());
    }

    #[test]
    fn what_is_not_answered_is_refused_once() {
        let mut forwards = Forwards::default();
        forwards.send(GatewayId(3), 77, LinkId(0), Millis(0)).unwrap();
        forwards.send(GatewayId(3), 78, LinkId(1), Millis(0)).unwrap();
        assert_eq!(forwards.link_down(LinkId(0)).iter().map(|(_, r)| r.request).collect::<Vec<_>>(), [77]);
        assert_eq!(forwards.tick(Millis(5_000)).iter().map(|(_, r)| r.request).collect::<Vec<_>>(), [78]);
        assert!(forwards.tick(Millis(9_000)).is_empty());
    }
}
