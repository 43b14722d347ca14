//! Rooms from owner to owner, and their ends.

use super::*;

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
    scene.say(&text("ana")).unwrap();
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
fn a_room_in_which_nothing_was_said_listed_or_set_ends_soon_after_its_last_member() {
    type Touch = fn(&mut Scene);
    let touches: [(&str, Touch, u64); 5] = [
        ("nothing", |_| {}, 10_000),
        ("a refused message", |scene| assert!(scene.say(&text("eve")).is_err()), 10_000),
        ("a message", |scene| assert!(scene.say(&text("ana")).is_ok()), 3_600_000),
        ("a list", |scene| block(scene, "eve"), 3_600_000),
        (
            "settings",
            |scene| assert!(scene.pod.create(scene.now, &scene.room.clone(), Overrides::default()).is_ok()),
            3_600_000,
        ),
    ];
    for (what, touch, kept_ms) in touches {
        let mut scene = Scene::new();
        scene.join("ana");
        touch(&mut scene);
        scene.pass(3_600_000);
        scene.change("ana", ChangeKind::Leave);
        scene.pass(kept_ms - 1_000);
        assert_eq!(scene.pod.rooms_total(), 1, "{what}");
        scene.pass(1_000);
        assert_eq!(scene.pod.rooms_total(), 0, "{what}");
    }
    // Also where rooms never end for want of people, but not sooner than they would.
    for (idle_ms, kept_ms) in [(0, 10_000), (2_000, 2_000)] {
        let mut scene = Scene::new();
        scene.pod.set_defaults(scene.now, Settings { idle_ms, ..Settings::default() });
        scene.join("ana");
        scene.change("ana", ChangeKind::Leave);
        scene.pass(kept_ms - 1_000);
        assert_eq!(scene.pod.rooms_total(), 1);
        scene.pass(1_000);
        assert_eq!(scene.pod.rooms_total(), 0);
    }
}

#[test]
fn a_room_that_was_only_joined_ends_as_soon_at_its_next_owner() {
    type Touch = fn(&mut Scene);
    let touches: [(&str, Touch, u64); 4] = [
        ("nothing", |_| {}, 10_000),
        ("a like", |scene| assert!(scene.say(&Publish { wish: Lane::Low, ..text("ana") }).is_ok()), 3_600_000),
        (
            "a list that is empty again",
            |scene| {
                block(scene, "eve");
                unblock(scene, "eve");
            },
            3_600_000,
        ),
        (
            "settings",
            |scene| assert!(scene.pod.create(scene.now, &scene.room.clone(), Overrides::default()).is_ok()),
            3_600_000,
        ),
    ];
    for (what, touch, kept_ms) in touches {
        let mut scene = Scene::new();
        scene.join("ana");
        touch(&mut scene);
        // Handed over, and by what was last written of its settings: an owner that dies leaves no more.
        let (_, handed) = scene.pod.slot_state(scene.now, Slot::of("final")).unwrap();
        let outputs = scene.pod.take_output();
        let written = outputs.iter().rev().find_map(|output| match output {
            Output::Persist { write: Write { record: Record::Meta { created, fleeting, .. }, .. }, .. } => {
                Some((*created, *fleeting))
            }
            _ => None,
        });
        let mut stored = handed[0].clone();
        // A touch takes the outputs with it; what it left is not written again.
        let (created, fleeting) = written.unwrap_or((scene.now.unix, true));
        (stored.created, stored.fleeting) = (Some(created), fleeting);
        for (how, state) in [("handed over", handed[0].clone()), ("stored", stored)] {
            let mut next = Scene::young();
            next.pod = Pod::new(RoomOptions::default());
            next.gateway = next.pod.gateway_opened(next.now, &InstanceId::new("g-0").unwrap());
            next.pod.open(next.now, Slot::of("final"), Epoch(9), vec![state]);
            next.join("ana");
            next.batch(
                true,
                vec![Change { user: user("ana"), session: session("ana"), conn_epoch: 1, kind: ChangeKind::Join }],
            );
            next.pass(60_000);
            next.change("ana", ChangeKind::Leave);
            next.pass(kept_ms - 1_000);
            assert_eq!(next.pod.rooms_total(), 1, "{what}, {how}");
            next.pass(1_000);
            assert_eq!(next.pod.rooms_total(), 0, "{what}, {how}");
        }
    }
}

#[test]
fn a_room_that_others_know_more_of_stays() {
    let mut scene = Scene::new();
    scene.join("ana");
    let _ = scene.pod.take_output();
    let known = RoomState { created: Some(Millis(1)), ..RoomState::new(scene.room.clone()) };
    scene.pod.absorb_stored(scene.now, Slot::of("final"), Epoch(7), vec![known]);
    let stays = |output: &Output| {
        matches!(output, Output::Persist { write: Write { record: Record::Meta { fleeting: false, .. }, .. }, .. })
    };
    assert!(scene.pod.take_output().iter().any(stays));
    scene.change("ana", ChangeKind::Leave);
    scene.pass(60_000);
    assert_eq!(scene.pod.rooms_total(), 1);
}

fn unblock(scene: &mut Scene, name: &str) {
    let remove = vec![user(name)];
    scene
        .pod
        .change_list(scene.now, &scene.room.clone(), ListChange { list: ListName::Block, add: vec![], remove })
        .unwrap();
}

fn block(scene: &mut Scene, name: &str) {
    let add = vec![ListEntry { user: user(name), until: None }];
    scene
        .pod
        .change_list(scene.now, &scene.room.clone(), ListChange { list: ListName::Block, add, remove: vec![] })
        .unwrap();
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
