//! What members of a room are handed, and in which frames.

use super::*;

#[test]
fn members_of_a_room_share_frames_and_a_leaver_gets_no_more() {
    let mut shard = shard_with(options());
    let ana = shard.enter("ana", "r", 0);
    let bob = shard.enter("bob", "r", 0);
    shard.say_to_room(&[(Lane::Normal, 1, "ana")], [0; 4]);
    for conn in [ana, bob] {
        assert_eq!(seen(&shard.lines(conn), 2).received, [1]);
    }
    shard.say(bob, &json!({"id": 3, "leave": {"room": "r"}}));
    shard.say_to_room(&[(Lane::Normal, 2, "ana")], [0, 0, 1, 0]);
    assert_eq!(seen(&shard.lines(ana), 2).received, [2]);
    assert_eq!(seen(&shard.lines(bob), 2), Seen::default());
}

#[test]
fn a_sender_gets_its_own_message_in_order_however_small_its_budget() {
    let mut shard = shard_with(options());
    let ana = shard.enter("ana", "r", 1);
    let bob = shard.enter("bob", "r", 1);
    let messages: Vec<_> = (1..=30).map(|seq| (Lane::Normal, seq, if seq % 10 == 0 { "ana" } else { "eve" })).collect();
    shard.say_to_room(&messages, [0; 4]);
    let hers = seen(&shard.lines(ana), 2);
    assert!([10, 20, 30].iter().all(|own| hers.received.contains(own)), "{hers:?}");
    check_law(&hers, 30).unwrap();
    let his = seen(&shard.lines(bob), 2);
    assert!(his.received.len() <= 1, "{his:?}");
    check_law(&his, 30).unwrap();
}

#[test]
fn several_segments_of_one_turn_are_one_write() {
    let mut shard = shard_with(options());
    let ana = shard.enter("ana", "r", 0);
    shard.take_counts();
    shard.from_hub(ToShard::Segment(Arc::new(segment(&[(Lane::Normal, 1, "x"), (Lane::Control, 1, "x")], [0; 4]))));
    shard.from_hub(ToShard::Segment(Arc::new(segment(
        &[(Lane::Normal, 2, "x"), (Lane::Control, 2, "x")],
        [1, 0, 1, 0],
    ))));
    shard.turn();
    assert_eq!(shard.take_counts().writes, 1);
    let lines = shard.lines(ana);
    assert_eq!((seen(&lines, 0).received, seen(&lines, 2).received), (vec![1, 2], vec![1, 2]));
}

#[test]
fn the_end_of_an_epoch_comes_between_its_last_number_and_the_next_first() {
    let mut shard = shard_with(options());
    let ana = shard.enter("ana", "r", 0);
    let room = RoomId::new("r").unwrap();
    shard.from_hub(ToShard::Segment(Arc::new(segment(&[(Lane::Normal, 1, "x")], [0; 4]))));
    let sealed =
        Arc::new(Sealed { room: room.clone(), epoch: Epoch(7), last: Seqs([0, 0, 2, 0]), next_epoch: Epoch(9) });
    let gaps = vec![Gap { epoch: Epoch(7), lane: Lane::Normal, from: 2, to: 2 }];
    shard.from_hub(ToShard::Sealed { sealed, gaps, at: Some(cursor(9, [0; 4])) });
    shard.from_hub(ToShard::Segment(Arc::new(Segment {
        epoch: Epoch(9),
        ..segment(&[(Lane::Normal, 1, "y")], [0; 4])
    })));
    shard.turn();
    let lines: Vec<Value> = shard.lines(ana).into_iter().filter(|line| line.get("id").is_none()).collect();
    assert_eq!(lines[0]["segment"]["epoch"], 7);
    assert_eq!(lines[1]["segment"]["gaps"][0]["from"], 2);
    assert_eq!(lines[2]["sealed"]["next_epoch"], 9);
    assert_eq!(lines[3]["segment"]["epoch"], 9);
}

#[test]
fn what_goes_on_while_the_past_is_fetched_follows_it() {
    let mut shard = shard_with(options());
    let _ana = shard.enter("ana", "r", 0);
    shard.say_to_room(&[(Lane::Normal, 1, "x"), (Lane::Normal, 2, "x")], [0; 4]);
    let bob = shard.connect();
    shard.say(bob, &json!({"id": 1, "hello": {"token": token("bob", 4_000_000_000), "max_rate": 0}}));
    shard.say(bob, &json!({"id": 2, "join": {"room": "r", "since": {"epoch": 7, "seq": [0, 0, 1, 0]}}}));
    shard.answer_hub();
    let news = shard.take_for_hub();
    let [ToHub::CatchUp { held_from, ticket, .. }] = news.as_slice() else { panic!("{news:?}") };
    assert_eq!(*held_from, cursor(7, [0, 0, 2, 0]));
    shard.say_to_room(&[(Lane::Normal, 3, "x")], [0, 0, 2, 0]);
    shard.say_to_room(&[(Lane::Normal, 4, "x")], [0, 0, 3, 0]);
    let past = CaughtUp {
        room: RoomId::new("r").unwrap(),
        segments: vec![segment(&[(Lane::Normal, 2, "x"), (Lane::Normal, 3, "x")], [0, 0, 1, 0])],
        sealed: Vec::new(),
        recovered: true,
        until: cursor(7, [0, 0, 3, 0]),
        frames: throng_proto::client::Format::ALL.map(|_| std::sync::OnceLock::new()),
    };
    shard.from_hub(ToShard::CaughtUp(ticket.number, Ok(Arc::new(past))));
    shard.say_to_room(&[(Lane::Normal, 5, "x")], [0, 0, 4, 0]);
    let lines = shard.lines(bob);
    assert_eq!(seen(&lines, 2).received, [2, 3, 4, 5]);
    let ok = lines.iter().find(|line| line["id"] == 2).unwrap();
    assert_eq!((&ok["ok"]["seq"], &ok["ok"]["recovered"]), (&json!([0, 0, 3, 0]), &json!(true)));
}

#[test]
fn a_join_that_fails_is_answered_and_can_be_tried_again() {
    let mut shard = shard_with(options());
    let ana = shard.connect();
    shard.say(ana, &json!({"id": 1, "hello": {"token": token("ana", 4_000_000_000)}}));
    for id in 2..4 {
        shard.say(ana, &json!({"id": id, "join": {"room": "r"}}));
        let news = shard.take_for_hub();
        let ticket = news.iter().find_map(|news| match news {
            ToHub::Join { ticket, .. } => Some(*ticket),
            _ => None,
        });
        shard.from_hub(ToShard::Joined(ticket.unwrap().number, Err(Failure::unavailable("later"))));
        let line = shard.lines(ana).pop().unwrap();
        assert_eq!((&line["id"], &line["error"]["code"]), (&json!(id), &json!("unavailable")));
    }
}

#[test]
fn a_count_that_waits_outlives_what_is_said_at_once_and_comes_by_its_time() {
    let event = |kind: &'static str, members: Option<u64>| {
        let room = RoomId::new("r").unwrap();
        let event = throng_proto::client::Event { room: Some(room.clone()), kind, members, ..Default::default() };
        ToShard::Event(room, Arc::new(event))
    };
    let kinds = |lines: &[Value]| -> Vec<String> {
        lines.iter().filter_map(|line| line["event"]["kind"].as_str()).map(str::to_owned).collect()
    };
    let mut shard = shard_with(options());
    let ana = shard.enter("ana", "r", 0);
    shard.lines(ana);
    shard.from_hub(event("count", Some(2)));
    shard.from_hub(event("deleted", None));
    shard.turn();
    assert_eq!(kinds(&shard.lines(ana)), ["deleted"], "a count waits for a segment");
    shard.at(START + 300);
    shard.from_hub(event("count", Some(3)));
    shard.at(START + 501);
    shard.turn();
    let lines = shard.lines(ana);
    assert_eq!(kinds(&lines), ["count"], "no segment came within half a second of the first count");
    assert_eq!(lines[0]["event"]["members"], 3);
}
