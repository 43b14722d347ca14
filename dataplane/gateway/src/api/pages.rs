//! One page of rooms out of the pages of all chatroom Pods. Pure.

use std::collections::BTreeMap;

use throng_proto::link::{ListRoomsReply, RoomDescription};

/// Merges the Pods' pages, all asked for the same `limit` after the same name. Returns the first `limit` rooms in order of
/// their names, and the name after which the next page starts, none where that was all.
///
/// A Pod that has more rooms than it told has them after its `next`: nothing beyond the smallest `next` is shown yet, or a
/// room would be passed over. A room that two Pods tell of is moving: the later epoch counts.
pub(super) fn merge(pages: Vec<ListRoomsReply>, limit: usize) -> (Vec<RoomDescription>, Option<String>) {
    let horizon = pages.iter().map(|page| &page.next).filter(|next| !next.is_empty()).min().cloned();
    let mut by_name: BTreeMap<String, RoomDescription> = BTreeMap::new();
    for room in pages.into_iter().flat_map(|page| page.rooms) {
        let hidden = horizon.as_ref().is_some_and(|horizon| room.room > *horizon);
        let older = by_name.get(&room.room).is_some_and(|known| known.epoch >= room.epoch);
        if !hidden && !older {
            by_name.insert(room.room.clone(), room);
        }
    }
    let more = by_name.len() > limit;
    let rooms: Vec<_> = by_name.into_values().take(limit).collect();
    let next = if more { rooms.last().map(|last| last.room.clone()) } else { horizon };
    (rooms, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn room(name: &str, epoch: u64) -> RoomDescription {
        RoomDescription { room: name.into(), epoch, ..RoomDescription::default() }
    }

    /// What a Pod with these rooms answers; it gives at most `most` of them whatever it is asked for.
    fn ask(rooms: &BTreeSet<String>, after: &str, limit: usize, most: usize) -> ListRoomsReply {
        let size = limit.min(most);
        let names: Vec<_> = rooms.iter().filter(|name| name.as_str() > after).take(size).collect();
        let next = names.last().filter(|_| names.len() == size).map_or(String::new(), |last| (*last).clone());
        ListRoomsReply { rooms: names.into_iter().map(|name| room(name, 1)).collect(), next }
    }

    proptest! {
        #[test]
        fn paging_shows_every_room_of_every_pod_once_and_in_order(
            pods in prop::collection::vec(prop::collection::btree_set("[a-c]{1,3}", 0..30), 1..4),
            limit in 1usize..8,
            most in 1usize..8,
        ) {
            let all: BTreeSet<_> = pods.iter().flatten().cloned().collect();
            let (mut seen, mut after) = (Vec::new(), String::new());
            loop {
                let pages = pods.iter().map(|rooms| ask(rooms, &after, limit, most)).collect();
                let (rooms, next) = merge(pages, limit);
                prop_assert!(rooms.len() <= limit);
                seen.extend(rooms.into_iter().map(|room| room.room));
                let Some(next) = next else { break };
                prop_assert!(next > after);
                after = next;
            }
            prop_assert_eq!(seen, all.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn of_a_room_told_twice_the_later_epoch_counts() {
        let page = |epoch| ListRoomsReply { rooms: vec![room("r", epoch)], next: String::new() };
        let (rooms, next) = merge(vec![page(9), page(7)], 10);
        assert_eq!((rooms.len(), rooms[0].epoch, next), (1, 9, None));
    }
}
