//! Messages on their way, and what is refused.

use super::*;

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
