//! Gateways that this Pod speaks with: what they said last, and whether they are there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::RoomApplied;
use crate::room::members::GatewayNo;
use crate::{InstanceId, Millis};

/// A gateway whose link is dead for so long is taken for gone: its members are away since the link died.
const GRACE_MS: u64 = 3_000;
/// A gateway that is gone for so long is forgotten.
const FORGET_MS: u64 = 600_000;
/// What a gateway said of its load holds for so long; it says so once a second.
const LOAD_HOLDS_MS: u64 = 5_000;
/// Answers kept for repeated batches. A gateway has few batches under way.
const ANSWERS: usize = 8;

/// All gateways, by number. In memory only.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    by_instance: BTreeMap<InstanceId, GatewayNo>,
    by_no: BTreeMap<GatewayNo, Gateway>,
    next: u32,
}

#[derive(Debug)]
struct Gateway {
    instance: InstanceId,
    link: Link,
    /// Percent, and when it said so.
    load: Option<(u8, Millis)>,
    last_batch: u64,
    answers: VecDeque<(u64, Arc<[RoomApplied]>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Alive,
    /// Dead since then, but its members still count as there.
    Dead(Millis),
    /// Its members are away.
    Gone(Millis),
}

impl Gateways {
    /// A gateway has linked; true if its members had been taken for away, so that it must list them.
    pub(super) fn opened(&mut self, instance: &InstanceId) -> (GatewayNo, bool) {
        let no = *self.by_instance.entry(instance.clone()).or_insert_with(|| {
            self.next += 1;
            GatewayNo(self.next)
        });
        let new = || Gateway {
            instance: instance.clone(),
            link: Link::Alive,
            load: None,
            last_batch: 0,
            answers: VecDeque::new(),
        };
        let gateway = self.by_no.entry(no).or_insert_with(new);
        let was_gone = matches!(gateway.link, Link::Gone(_));
        gateway.link = Link::Alive;
        (no, was_gone)
    }

    pub(super) fn lost(&mut self, no: GatewayNo, now: Millis) {
        if let Some(gateway) = self.by_no.get_mut(&no).filter(|gateway| gateway.link == Link::Alive) {
            gateway.link = Link::Dead(now);
        }
    }

    /// Gateways that are gone as of `now`, with the time since when. Each is named once.
    pub(super) fn take_gone(&mut self, now: Millis) -> Vec<(GatewayNo, Millis)> {
        let mut gone = Vec::new();
        for (no, gateway) in &mut self.by_no {
            if let Link::Dead(since) = gateway.link
                && since + GRACE_MS <= now
            {
                gateway.link = Link::Gone(since);
                gone.push((*no, since));
            }
        }
        self.by_no.retain(|_, gateway| {
            let stays = !matches!(gateway.link, Link::Gone(since) if since + FORGET_MS <= now);
            if !stays {
                self.by_instance.remove(&gateway.instance);
            }
            stays
        });
        gone
    }

    pub(super) fn due(&self) -> Option<Millis> {
        let due = |gateway: &Gateway| match gateway.link {
            Link::Alive => None,
            Link::Dead(since) => Some(since + GRACE_MS),
            Link::Gone(since) => Some(since + FORGET_MS),
        };
        self.by_no.values().filter_map(due).min()
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = GatewayNo> {
        self.by_no.iter().filter(|(_, gateway)| gateway.link == Link::Alive).map(|(no, _)| *no)
    }

    pub(super) fn is_alive(&self, no: GatewayNo) -> bool {
        self.by_no.get(&no).is_some_and(|gateway| gateway.link == Link::Alive)
    }

    pub(super) fn set_load(&mut self, no: GatewayNo, percent: u8, now: Millis) {
        if let Some(gateway) = self.by_no.get_mut(&no) {
            gateway.load = Some((percent, now));
        }
    }

    /// Load of the busiest of these gateways, of those that are linked and told it lately.
    pub(super) fn load(&self, gateways: &[(GatewayNo, u32)], now: Millis) -> Option<u8> {
        let lately = |no: &GatewayNo| {
            let gateway = self.by_no.get(no).filter(|gateway| gateway.link == Link::Alive)?;
            gateway.load.filter(|(_, at)| now.since(*at) < LOAD_HOLDS_MS)
        };
        gateways.iter().filter_map(|(no, _)| lately(no)).map(|(percent, _)| percent).max()
    }

    /// The answer to a batch that was applied before; an empty one if it is too long ago.
    pub(super) fn repeated(&self, no: GatewayNo, number: u64) -> Option<Arc<[RoomApplied]>> {
        let gateway = self.by_no.get(&no)?;
        if number > gateway.last_batch {
            return None;
        }
        let answer = gateway.answers.iter().find(|(other, _)| *other == number);
        Some(answer.map_or_else(|| Arc::from([]), |(_, answer)| answer.clone()))
    }

    pub(super) fn answered(&mut self, no: GatewayNo, number: u64, answer: Arc<[RoomApplied]>) {
        let Some(gateway) = self.by_no.get_mut(&no) else { return };
        gateway.last_batch = number;
        gateway.answers.push_back((number, answer));
        if gateway.answers.len() > ANSWERS {
            gateway.answers.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_gone_after_the_grace_and_told_so_when_it_returns() {
        let mut gateways = Gateways::default();
        let instance = InstanceId::new("g-0").unwrap();
        let (no, must_list) = gateways.opened(&instance);
        assert!(!must_list && gateways.is_alive(no));
        gateways.lost(no, Millis(1_000));
        assert_eq!(gateways.take_gone(Millis(3_999)), []);
        assert_eq!(gateways.opened(&instance), (no, false));
        gateways.lost(no, Millis(5_000));
        assert_eq!(gateways.due(), Some(Millis(8_000)));
        assert_eq!(gateways.take_gone(Millis(8_000)), [(no, Millis(5_000))]);
        assert_eq!(gateways.take_gone(Millis(9_000)), []);
        assert_eq!(gateways.opened(&instance), (no, true));
    }

    #[test]
    fn the_busiest_gateway_of_a_room_counts_while_it_is_linked_and_says_so() {
        let mut gateways = Gateways::default();
        let [(a, _), (b, _), (c, _)] = ["a", "b", "c"].map(|name| gateways.opened(&InstanceId::new(name).unwrap()));
        let room = [(a, 10), (b, 1)];
        assert_eq!(gateways.load(&room, Millis(1_000)), None);
        gateways.set_load(a, 20, Millis(1_000));
        gateways.set_load(b, 80, Millis(1_000));
        gateways.set_load(c, 99, Millis(1_000));
        assert_eq!(gateways.load(&room, Millis(2_000)), Some(80));
        gateways.lost(b, Millis(2_000));
        assert_eq!(gateways.load(&room, Millis(2_000)), Some(20));
        assert_eq!(gateways.load(&room, Millis(6_000)), None);
    }

    #[test]
    fn a_forgotten_gateway_gets_another_number() {
        let mut gateways = Gateways::default();
        let instance = InstanceId::new("g-0").unwrap();
        let (no, _) = gateways.opened(&instance);
        gateways.lost(no, Millis(0));
        gateways.take_gone(Millis(FORGET_MS));
        gateways.take_gone(Millis(FORGET_MS));
        assert_ne!(gateways.opened(&instance).0, no);
        assert_eq!(gateways.by_no.len(), 1);
    }
}
