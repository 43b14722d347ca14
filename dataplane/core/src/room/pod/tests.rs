use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::room::life::Overrides;
use crate::room::lists::{ListChange, ListName};
use crate::room::members::{Change, ChangeKind};
use crate::room::output::{Asker, Record};
use crate::room::publish::{Ack, Publish, Receipt};
use crate::{Cursor, Lane, Segment, Seqs, SessionId, Stamp, UserId};

const RELAY: RelayNo = RelayNo(1);

/// A Pod that has served the slot of one room for long, with one gateway.
struct Scene {
    pod: Pod,
    now: Now,
    room: RoomId,
    gateway: GatewayNo,
    batch: u64,
}

impl Scene {
    fn new() -> Self {
        let mut scene = Self::young();
        scene.pass(10_000);
        scene
    }

    /// The same, but the slot has just opened.
    fn young() -> Self {
        let room = RoomId::new("final").unwrap();
        let now = Now { mono: Millis(1_000), unix: Millis(1_800_000_000_000) };
        let mut pod = Pod::new(RoomOptions::default());
        let gateway = pod.gateway_opened(now, &InstanceId::new("g-0").unwrap());
        pod.open(now, Slot::of("final"), Epoch(7), vec![]);
        Self { pod, now, room, gateway, batch: 0 }
    }

    /// Lets time pass, doing what is due when it is due.
    fn pass(&mut self, ms: u64) {
        let end = self.now.mono + ms;
        while let Some(due) = self.pod.next_due().filter(|due| *due <= end) {
            let step = due.since(self.now.mono);
            self.now = Now { mono: self.now.mono + step, unix: self.now.unix + step };
            self.pod.run_due(self.now);
        }
        let step = end.since(self.now.mono);
        self.now = Now { mono: end, unix: self.now.unix + step };
    }

    fn change(&mut self, name: &str, kind: ChangeKind) -> RoomApplied {
        let change = Change { user: user(name), session: session(name), conn_epoch: 1, kind };
        self.batch(false, vec![change])
    }

    fn batch(&mut self, full: bool, changes: Vec<Change>) -> RoomApplied {
        self.batch += 1;
        let rooms = vec![RoomChanges { room: self.room.clone(), full, changes }];
        self.pod.members(self.now, self.gateway, self.batch, rooms)[0].clone()
    }

    fn join(&mut self, name: &str) -> RoomApplied {
        self.change(name, ChangeKind::Join)
    }

    fn say(&mut self, publish: &Publish) -> Result<Receipt, Refusal> {
        self.pod.publish(self.now, Asker::Gateway(self.gateway, 1), &self.room, publish);
        let outputs = self.pod.take_output();
        published(&outputs).expect("an answer")
    }

    fn subscribe(&mut self, cursor: Option<Cursor>) -> Vec<Output> {
        let subscription = Subscription { room: self.room.clone(), cursor, older: vec![], told: vec![] };
        self.pod.subscribe(self.now, RELAY, subscription);
        self.pod.take_output()
    }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn session(name: &str) -> SessionId {
    SessionId(xxhash_rust::xxh3::xxh3_64(name.as_bytes()))
}

fn text(name: &str) -> Publish {
    Publish {
        user: user(name),
        session: Some(session(name)),
        wish: Lane::Normal,
        best: Lane::Normal,
        kind: "text".into(),
        data: Bytes::from_static(b"\"hi\""),
        key: None,
        ack: Ack::Accepted,
    }
}

fn published(outputs: &[Output]) -> Option<Result<Receipt, Refusal>> {
    outputs.iter().find_map(|output| match output {
        Output::Published { result, .. } => Some(result.clone()),
        _ => None,
    })
}

fn segments(outputs: &[Output]) -> Vec<Segment> {
    let segment = |output: &Output| match output {
        Output::Segment { segment, .. } => Some(segment.clone()),
        _ => None,
    };
    outputs.iter().filter_map(segment).collect()
}

fn removed(outputs: &[Output]) -> Vec<(Vec<UserId>, &str)> {
    let mut removed = Vec::new();
    for output in outputs {
        if let Output::Removed { users, reason, .. } = output {
            removed.push((users.clone(), &**reason));
        }
    }
    removed
}

#[test]
fn a_message_of_a_quiet_room_reaches_the_relay_at_once_and_numbers_count_by_lane() {
    let mut scene = Scene::new();
    scene.join("ana");
    scene.subscribe(None);
    for (lane, seq) in [(Lane::Normal, 1), (Lane::Low, 1), (Lane::Normal, 2)] {
        let publish = Publish { wish: lane, ..text("ana") };
        scene.pod.publish(scene.now, Asker::Gateway(scene.gateway, 9), &scene.room, &publish);
        let outputs = scene.pod.take_output();
        let stamp = Stamp { epoch: Epoch(7), lane, seq };
        assert_eq!(published(&outputs), Some(Ok(Receipt { stamp, stored: false })));
        let sent = segments(&outputs);
        assert_eq!((sent.len(), sent[0].messages[0].seq, sent[0].messages[0].lane), (1, seq, lane));
    }
}

#[test]
fn a_busy_room_sends_one_segment_a_tick_without_a_hole() {
    let mut scene = Scene::new();
    scene
        .pod
        .create(scene.now, &scene.room.clone(), Overrides { user_messages_per_s: Some(0), ..Overrides::default() })
        .unwrap();
    scene.join("ana");
    scene.subscribe(None);
    let mut sent = Vec::new();
    for _ in 0..400 {
        scene.pod.publish(scene.now, Asker::Nobody, &scene.room.clone(), &text("ana"));
        scene.pass(10);
        sent.extend(segments(&scene.pod.take_output()));
    }
    scene.pass(100);
    sent.extend(segments(&scene.pod.take_output()));
    assert!((40..=60).contains(&sent.len()), "{} segments in 4 s", sent.len());
    let mut cursor = Seqs::ZERO;
    for segment in &sent {
        assert_eq!(segment.after, cursor);
        cursor = segment.last();
    }
    assert_eq!(cursor, Seqs([0, 0, 400, 0]));
}

#[test]
fn a_repeated_batch_is_answered_again_and_changes_nothing() {
    let mut scene = Scene::new();
    let first = scene.join("ana");
    assert_eq!((first.members, first.epoch), (1, Epoch(7)));
    scene.change("ana", ChangeKind::Leave);
    let again = RoomChanges { room: scene.room.clone(), full: false, changes: vec![] };
    let answer = scene.pod.members(scene.now, scene.gateway, 1, vec![again]);
    assert_eq!(&answer[..], [first]);
    assert_eq!(scene.pod.describe(scene.now, &scene.room.clone()).unwrap().members, 0);
    let stats = scene.pod.stats();
    assert_eq!((stats.joins, stats.leaves, stats.repeated_batches), (1, 1, 1));
}

#[test]
fn coming_and_going_is_told_once_a_second_with_the_count() {
    let mut scene = Scene::new();
    scene.join("ana");
    scene.join("bob");
    scene.change("ana", ChangeKind::Leave);
    scene.pass(3_000);
    let events: Vec<_> = scene.pod.take_output().into_iter().filter(|o| matches!(o, Output::Event { .. })).collect();
    let [Output::Event { event, gateways }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.members, &event.joined, event.provisional), (1, &vec![user("bob")], false));
    assert_eq!(gateways, &[scene.gateway]);
}

#[test]
fn what_is_not_served_here_is_moved() {
    let mut scene = Scene::new();
    scene.join("ana");
    scene.subscribe(None);
    let owner = Owner { instance: InstanceId::new("c-1").unwrap(), address: "c-1:1".into(), epoch: Epoch(9) };
    scene.pod.close(Slot::of("final"), Some(owner.clone()));
    let moved = Moved { owner: Some(owner) };
    let told = Output::Moved {
        relays: vec![RELAY],
        gateways: vec![scene.gateway],
        room: scene.room.clone(),
        moved: moved.clone(),
    };
    assert!(scene.pod.take_output().contains(&told));
    assert_eq!(scene.join("bob").moved, Some(moved.clone()));
    assert_eq!(scene.say(&text("ana")), Err(Refusal::Elsewhere(moved.clone())));
    assert!(matches!(&scene.subscribe(None)[..], [Output::Moved { .. }]));
    assert_eq!(scene.pod.describe(scene.now, &scene.room.clone()), Err(Refusal::Elsewhere(moved)));
}

#[test]
fn who_has_not_joined_may_not_write_but_a_new_owner_cannot_know_yet() {
    let mut scene = Scene::new();
    assert_eq!(scene.say(&text("ana")), Err(Refusal::NotJoined));
    scene.join("bob");
    assert_eq!(scene.say(&text("ana")), Err(Refusal::NotJoined));
    let mut young = Scene::young();
    assert!(young.say(&text("ana")).is_ok());
}

#[test]
fn the_blocked_are_taken_out_and_kept_out_and_the_kicked_may_come_again() {
    let mut scene = Scene::new();
    let room = scene.room.clone();
    scene.join("eve");
    scene.join("bob");
    let add = vec![ListEntry { user: user("eve"), until: None }];
    scene.pod.change_list(scene.now, &room, ListChange { list: ListName::Block, add, remove: vec![] }).unwrap();
    scene.pod.kick(scene.now, &room, &user("bob")).unwrap();
    let outputs = scene.pod.take_output();
    assert_eq!(removed(&outputs), [(vec![user("eve")], "blocked"), (vec![user("bob")], "kicked")]);
    let refused = scene.join("eve").refused;
    assert_eq!(refused, [Refused { session: session("eve"), why: Refusal::Blocked }]);
    assert_eq!(scene.join("bob").members, 1);
    assert_eq!(scene.pod.kick(scene.now, &room, &user("eve")), Err(Refusal::NotFound("member")));
}

#[test]
fn a_retry_with_its_key_gets_the_first_stamp_even_over_quota() {
    let mut scene = Scene::new();
    scene.join("ana");
    let keyed = |key: &str| Publish { key: Some(Arc::from(key)), ..text("ana") };
    let first = scene.say(&keyed("c-1")).unwrap();
    while scene.say(&text("ana")).is_ok() {}
    assert!(matches!(scene.say(&keyed("c-2")), Err(Refusal::UserLimited { .. })));
    assert_eq!(scene.say(&keyed("c-1")), Ok(first));
}

#[test]
fn stored_means_stored_and_whoever_waits_too_long_is_told() {
    let mut scene = Scene::new();
    scene.join("ana");
    drop(scene.pod.take_output());
    let publish = Publish { ack: Ack::Stored, key: Some("k".into()), ..text("ana") };
    let (asker, room) = (Asker::Gateway(scene.gateway, 5), scene.room.clone());
    scene.pod.publish(scene.now, asker, &room, &publish);
    let outputs = scene.pod.take_output();
    assert_eq!(published(&outputs), None);
    let ticket = outputs.iter().find_map(|output| match output {
        Output::Persist { ticket, write, .. } if matches!(write.record, Record::Message { .. }) => Some(*ticket),
        _ => None,
    });
    scene.pod.stored(Slot::of("final"), Epoch(6), 99);
    assert_eq!(published(&scene.pod.take_output()), None);
    scene.pod.stored(Slot::of("final"), Epoch(7), ticket.unwrap());
    let receipt = published(&scene.pod.take_output()).unwrap().unwrap();
    assert!(receipt.stored);
    assert_eq!(scene.say(&publish), Ok(receipt));
    scene.pod.publish(scene.now, asker, &room, &Publish { ack: Ack::Stored, ..text("ana") });
    scene.pass(5_000);
    assert!(matches!(published(&scene.pod.take_output()), Some(Err(Refusal::NotStored { .. }))));
}

#[test]
fn a_write_that_was_lost_is_not_called_stored_by_a_later_one_and_made_again_when_asked_for() {
    let mut scene = Scene::new();
    scene.join("ana");
    let keyed = Publish { key: Some("k".into()), ..text("ana") };
    drop(scene.pod.take_output());
    scene.pod.publish(scene.now, Asker::Nobody, &scene.room.clone(), &keyed);
    let outputs = scene.pod.take_output();
    let ticket = outputs.iter().find_map(|output| match output {
        Output::Persist { ticket, .. } => Some(*ticket),
        _ => None,
    });
    scene.pod.not_stored(Slot::of("final"), Epoch(7), ticket.unwrap());
    scene.pod.stored(Slot::of("final"), Epoch(7), ticket.unwrap() + 1);
    assert!(!scene.say(&keyed).unwrap().stored);
    let stored = Publish { ack: Ack::Stored, ..keyed };
    drop(scene.pod.take_output());
    scene.pod.publish(scene.now, Asker::Nobody, &scene.room.clone(), &stored);
    let outputs = scene.pod.take_output();
    let [Output::Persist { ticket: again, write, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert!(matches!(&write.record, Record::Message { message, key: Some(_), .. } if message.seq == 1));
    scene.pod.stored(Slot::of("final"), Epoch(7), *again);
    let outputs = scene.pod.take_output();
    assert!(
        matches!(outputs.as_slice(), [Output::Published { result: Ok(receipt), .. }] if receipt.stored),
        "{outputs:?}"
    );
}

#[test]
fn what_was_handed_over_is_called_stored_only_when_it_is() {
    let mut scene = Scene::new();
    scene.join("ana");
    let keyed = |key: &str| Publish { key: Some(key.into()), ack: Ack::Stored, ..text("ana") };
    for key in ["1", "2"] {
        scene.pod.publish(scene.now, Asker::Nobody, &scene.room.clone(), &keyed(key));
    }
    let (_, mut state) = scene.pod.slot_state(scene.now, Slot::of("final")).unwrap();
    state[0].stored = vec![(Epoch(7), Seqs([0, 0, 1, 0]))];
    let mut next = Scene::young();
    next.pod.open(next.now, Slot::of("final"), Epoch(9), state);
    let written = next.pod.take_output().into_iter().filter_map(|output| match output {
        Output::Persist { ticket, write, .. } => match write.record {
            Record::Message { message, key, .. } => Some((ticket, message.seq, key)),
            _ => None,
        },
        _ => None,
    });
    let [(ticket, 2, Some(_))] = written.collect::<Vec<_>>()[..] else { panic!("the second message is written") };
    assert!(next.say(&keyed("1")).unwrap().stored);
    next.pod.publish(next.now, Asker::Nobody, &next.room.clone(), &keyed("2"));
    assert_eq!(published(&next.pod.take_output()), None);
    next.pod.stored(Slot::of("final"), Epoch(9), ticket);
    assert!(published(&next.pod.take_output()).unwrap().unwrap().stored);
}

#[test]
fn keys_travel_with_their_messages() {
    let mut scene = Scene::new();
    scene.join("ana");
    scene.subscribe(None);
    scene.pod.publish(scene.now, Asker::Nobody, &scene.room.clone(), &Publish { key: Some("k".into()), ..text("ana") });
    let keys = scene.pod.take_output().into_iter().find_map(|output| match output {
        Output::Segment { keys, .. } => Some(keys),
        _ => None,
    });
    let key = crate::room::MessageKey { lane: Lane::Normal, seq: 1, key: "k".into() };
    assert_eq!(keys, Some(vec![key]));
}

#[test]
fn a_complete_list_takes_out_whom_it_does_not_name() {
    let mut scene = Scene::new();
    scene.join("ana");
    scene.join("bob");
    let change =
        |name: &str| Change { user: user(name), session: session(name), conn_epoch: 1, kind: ChangeKind::Join };
    assert_eq!(scene.batch(true, vec![change("ana"), change("cem")]).members, 2);
    let page = scene.pod.page(scene.now, &scene.room, None, 10).unwrap();
    let names: std::collections::BTreeSet<_> = page.rows.into_iter().map(|(row, _)| row.user).collect();
    assert_eq!(names, [user("ana"), user("cem")].into());
    assert_eq!(scene.batch(true, vec![]).members, 0);
}

#[test]
fn a_count_is_provisional_until_the_gateways_have_listed() {
    let mut scene = Scene::young();
    scene.join("ana");
    let room = scene.room.clone();
    let asked = Output::ListRoom { gateways: vec![scene.gateway], room: room.clone() };
    assert!(scene.pod.take_output().contains(&asked));
    assert!(scene.pod.describe(scene.now, &room).unwrap().provisional);
    let other = scene.pod.gateway_opened(scene.now, &InstanceId::new("g-1").unwrap());
    assert!(scene.pod.take_output().contains(&Output::ListRoom { gateways: vec![other], room: room.clone() }));
    scene.pass(2_000);
    let ana = Change { user: user("ana"), session: session("ana"), conn_epoch: 1, kind: ChangeKind::Join };
    scene.batch(true, vec![ana]);
    assert!(scene.pod.describe(scene.now, &room).unwrap().provisional);
    scene.pod.members(scene.now, other, 1, vec![RoomChanges { room: room.clone(), full: true, changes: vec![] }]);
    assert!(!scene.pod.describe(scene.now, &room).unwrap().provisional);
    let mut silent = Scene::young();
    silent.join("ana");
    silent.pass(5_000);
    assert!(!silent.pod.describe(silent.now, &room).unwrap().provisional);
}

#[test]
fn members_of_a_gateway_that_is_gone_leave_after_thirty_seconds() {
    let mut scene = Scene::new();
    scene.join("ana");
    scene.pod.gateway_lost(scene.now, scene.gateway);
    scene.pass(29_999);
    assert_eq!(removed(&scene.pod.take_output()), []);
    scene.pass(1);
    assert_eq!(removed(&scene.pod.take_output()), [(vec![user("ana")], "offline")]);
}

#[test]
fn members_whose_gateway_is_back_stay_once_it_has_listed_them() {
    let mut scene = Scene::new();
    scene.join("ana");
    scene.pod.gateway_lost(scene.now, scene.gateway);
    scene.pass(10_000);
    assert_eq!(scene.pod.gateway_opened(scene.now, &InstanceId::new("g-0").unwrap()), scene.gateway);
    let room = scene.room.clone();
    assert!(scene.pod.take_output().contains(&Output::ListRoom { gateways: vec![scene.gateway], room }));
    let ana = Change { user: user("ana"), session: session("ana"), conn_epoch: 1, kind: ChangeKind::Join };
    scene.batch(true, vec![ana]);
    scene.pass(60_000);
    assert_eq!(removed(&scene.pod.take_output()), []);
}

#[test]
fn a_home_s_word_counts_only_for_members_whose_gateway_is_not_here() {
    let mut scene = Scene::new();
    scene.join("ana");
    let away = |name: &str, since| Change {
        user: user(name),
        session: session(name),
        conn_epoch: 1,
        kind: ChangeKind::Away(since),
    };
    let changes = vec![away("ana", scene.now.mono), away("bob", scene.now.mono)];
    scene.pod.members_away(scene.now, vec![RoomChanges { room: scene.room.clone(), full: false, changes }]);
    assert_eq!(scene.pod.describe(scene.now, &scene.room.clone()).unwrap().members, 2);
    scene.pass(31_000);
    assert_eq!(removed(&scene.pod.take_output()), [(vec![user("bob")], "offline")]);
}

#[test]
fn a_room_made_again_after_its_end_uses_no_stamp_twice() {
    let mut scene = Scene::new();
    scene.join("ana");
    scene.subscribe(None);
    let first = scene.say(&text("ana")).unwrap();
    scene.pod.destroy(scene.now, &scene.room.clone(), EndReason::Destroyed("over".into())).unwrap();
    let outputs = scene.pod.take_output();
    assert_eq!(removed(&outputs), [(vec![], "over")]);
    assert!(outputs.iter().any(|output| matches!(output, Output::Closed { reason: EndReason::Destroyed(_), .. })));
    scene.join("ana");
    let second = scene.say(&text("ana")).unwrap();
    assert!(second.stamp > first.stamp);
}

#[test]
fn an_idle_room_ends_after_an_hour_and_a_timed_one_at_its_time() {
    let mut scene = Scene::new();
    scene.join("ana");
    scene.pass(2 * 3_600_000);
    assert_eq!(scene.pod.rooms_total(), 1);
    scene.change("ana", ChangeKind::Leave);
    scene.pass(3_599_000);
    assert_eq!(scene.pod.rooms_total(), 1);
    scene.pass(1_000);
    assert_eq!(scene.pod.rooms_total(), 0);
    let at = scene.now.unix + 90_000;
    scene
        .pod
        .create(scene.now, &scene.room.clone(), Overrides { destroy_at: Some(at), ..Overrides::default() })
        .unwrap();
    scene.join("ana");
    scene.pass(89_000);
    assert_eq!(scene.pod.rooms_total(), 1);
    scene.pass(1_000);
    assert_eq!(removed(&scene.pod.take_output()), [(vec![], "expired")]);
}

#[test]
fn a_new_owner_knows_lists_settings_and_keys_and_ends_the_epoch_before() {
    let mut scene = Scene::new();
    let room = scene.room.clone();
    scene.pod.create(scene.now, &room, Overrides { messages_per_s: Some(50), ..Overrides::default() }).unwrap();
    scene.join("ana");
    let add = vec![ListEntry { user: user("eve"), until: None }];
    scene.pod.change_list(scene.now, &room, ListChange { list: ListName::Block, add, remove: vec![] }).unwrap();
    let keyed = Publish { key: Some("c-1".into()), ..text("ana") };
    let first = scene.say(&keyed).unwrap();
    let (_, state) = scene.pod.slot_state(scene.now, Slot::of("final")).unwrap();

    let mut next = Scene::young();
    next.pod = Pod::new(RoomOptions::default());
    next.gateway = next.pod.gateway_opened(next.now, &InstanceId::new("g-0").unwrap());
    next.pod.open(next.now, Slot::of("final"), Epoch(9), state);
    assert_eq!(next.pod.describe(next.now, &room).unwrap().settings.messages_per_s, 50);
    assert_eq!(next.join("eve").refused.len(), 1);
    assert_eq!(next.say(&keyed).unwrap().stamp, first.stamp);
    assert_eq!(next.say(&text("ana")).unwrap().stamp, Stamp { epoch: Epoch(9), lane: Lane::Normal, seq: 1 });
    let outputs = next.subscribe(Some(Cursor { epoch: Epoch(7), seq: Seqs::ZERO }));
    let [
        Output::Subscribed { .. },
        Output::Segment { segment: old, .. },
        Output::Sealed { sealed, .. },
        Output::Segment { segment: new, .. },
    ] = &outputs[..]
    else {
        panic!("{outputs:?}")
    };
    assert_eq!((old.epoch, old.messages.len(), new.epoch), (Epoch(7), 1, Epoch(9)));
    assert_eq!((sealed.epoch, sealed.last, sealed.next_epoch), (Epoch(7), Seqs([0, 0, 1, 0]), Epoch(9)));
}

#[test]
fn an_end_told_before_is_raised_and_told_again() {
    let mut scene = Scene::new();
    scene.subscribe(Some(Cursor { epoch: Epoch(3), seq: Seqs([0, 0, 5, 0]) }));
    let told = crate::room::Sealed {
        room: scene.room.clone(),
        epoch: Epoch(3),
        last: Seqs([0, 0, 8, 0]),
        next_epoch: Epoch(7),
    };
    let subscription = Subscription { room: scene.room.clone(), cursor: None, older: vec![], told: vec![told.clone()] };
    scene.pod.subscribe(scene.now, RelayNo(2), subscription);
    let again = Output::Sealed { relays: vec![RELAY], sealed: told };
    assert!(scene.pod.take_output().contains(&again));
}

#[test]
fn an_audit_ends_what_the_relay_does_not_take_and_names_what_it_misses() {
    let mut scene = Scene::new();
    scene.subscribe(None);
    let other = RoomId::new("other").unwrap();
    scene.pod.audit(scene.now, RELAY, &[other.clone()].into());
    assert!(matches!(&scene.pod.take_output()[..], [Output::Moved { room, .. }] if *room == other));
    scene.join("ana");
    scene.say(&text("ana")).unwrap();
    assert_eq!(segments(&scene.pod.take_output()), []);
}

#[test]
fn announcements_reach_every_room_and_are_not_limited() {
    let mut scene = Scene::new();
    let rooms = ["final", "semifinal", "quarterfinal"].map(|name| RoomId::new(name).unwrap());
    for room in &rooms {
        scene.pod.open(scene.now, Slot::of(room.as_str()), Epoch(7), vec![]);
        scene.pod.create(scene.now, room, Overrides::default()).unwrap();
    }
    let publish = Publish { session: None, wish: Lane::Control, best: Lane::Control, ..text("server") };
    for _ in 0..100 {
        assert_eq!(scene.pod.announce(scene.now, &publish), 3);
    }
    assert_eq!(scene.pod.stats().refused, 0);
    assert_eq!(scene.pod.describe(scene.now, &rooms[1]).unwrap().last[Lane::Control], 100);
    let (first, next) = scene.pod.list_rooms(scene.now, None, 2);
    assert_eq!(first.iter().map(|room| room.room.as_str()).collect::<Vec<_>>(), ["final", "quarterfinal"]);
    let (rest, end) = scene.pod.list_rooms(scene.now, next.as_ref(), 2);
    assert_eq!((rest.len(), end), (1, None));
}

proptest! {
    /// A relay that loses pieces of the stream and resumes from its cursor ends with every number, once and in order.
    #[test]
    fn a_relay_that_resumes_from_its_cursor_misses_nothing(
        steps in prop::collection::vec((0u8..4, 0u64..120, prop::bool::weighted(0.3)), 1..150),
    ) {
        let mut scene = Scene::new();
        let room = scene.room.clone();
        let unlimited = Overrides { user_messages_per_s: Some(0), messages_per_s: Some(100_000), ..Overrides::default() };
        scene.pod.create(scene.now, &room, unlimited).unwrap();
        scene.join("ana");
        scene.subscribe(None);
        let (mut cursor, mut got, mut behind) = (Seqs::ZERO, Vec::new(), false);
        let mut take = |outputs: &[Output], behind: &mut bool, lose: bool| {
            for segment in segments(outputs) {
                if lose || *behind {
                    *behind = true;
                    continue;
                }
                assert_eq!(segment.after, cursor);
                assert!(segment.gaps.is_empty());
                got.extend(segment.messages.iter().map(|message| (message.lane, message.seq)));
                cursor = segment.last();
            }
            (cursor, got.len())
        };
        for (lane, wait, lose) in steps {
            let publish = Publish { wish: Lane::from_number(lane).unwrap(), best: Lane::Control, ..text("ana") };
            scene.pod.publish(scene.now, Asker::Nobody, &room, &publish);
            scene.pass(wait);
            let (at, _) = take(&scene.pod.take_output(), &mut behind, lose);
            if behind && !lose {
                behind = false;
                scene.pod.resume(scene.now, RELAY, &room, Cursor { epoch: Epoch(7), seq: at });
                take(&scene.pod.take_output(), &mut behind, false);
            }
        }
        scene.pass(1_000);
        let (at, _) = take(&scene.pod.take_output(), &mut behind, false);
        behind = false;
        scene.pod.resume(scene.now, RELAY, &room, Cursor { epoch: Epoch(7), seq: at });
        let (at, count) = take(&scene.pod.take_output(), &mut behind, false);
        prop_assert_eq!(at, scene.pod.describe(scene.now, &room).unwrap().last);
        prop_assert_eq!(count as u64, at.0.iter().sum::<u64>());
    }
}

#[test]
fn epochs_that_nobody_asks_for_any_more_are_dropped_from_the_store() {
    let forgotten = |epochs: u64| {
        let mut scene = Scene::young();
        let ends = (1..=epochs).map(|epoch| (Epoch(epoch), Seqs([0, 0, epoch, 0]))).collect();
        let state = RoomState { created: Some(Millis(1)), ends, ..RoomState::new(scene.room.clone()) };
        scene.pod.open(scene.now, Slot::of("final"), Epoch(99), vec![state]);
        let outputs = scene.pod.take_output();
        outputs.into_iter().find_map(|output| match output {
            Output::Persist { write, .. } => match write.record {
                Record::Forgotten { before } => Some(before),
                _ => None,
            },
            _ => None,
        })
    };
    assert_eq!(forgotten(32), None);
    assert_eq!(forgotten(40), Some(Epoch(9)));
}
