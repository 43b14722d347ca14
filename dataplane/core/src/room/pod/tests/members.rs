//! Who is in a room, by the word of gateways and homes.

use super::*;

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
}

#[test]
fn a_gateway_that_does_not_list_is_asked_again_and_not_waited_for_for_ever() {
    let mut scene = Scene::young();
    scene.join("ana");
    let room = scene.room.clone();
    drop(scene.pod.take_output());
    scene.pass(29_000);
    let asked = Output::ListRoom { gateways: vec![scene.gateway], room: room.clone() };
    assert!(scene.pod.take_output().into_iter().filter(|output| *output == asked).count() >= 20);
    assert!(scene.pod.describe(scene.now, &room).unwrap().provisional);
    scene.pass(1_000);
    assert!(!scene.pod.describe(scene.now, &room).unwrap().provisional);
    drop(scene.pod.take_output());
    scene.pass(10_000);
    assert!(!scene.pod.take_output().contains(&asked));

    let mut gone = Scene::young();
    gone.join("ana");
    gone.pod.gateway_lost(gone.now, gone.gateway);
    gone.pass(3_000);
    assert!(!gone.pod.describe(gone.now, &room).unwrap().provisional, "its link is dead");
}

#[test]
fn who_is_away_brings_no_destroyed_room_back() {
    let away = |scene: &mut Scene| {
        let kind = ChangeKind::Away(scene.now.mono);
        let change = Change { user: user("ana"), session: session("ana"), conn_epoch: 1, kind };
        scene.batch(false, vec![change]);
        scene.pod.describe(scene.now, &scene.room.clone()).map_or(0, |room| room.members)
    };
    assert_eq!(away(&mut Scene::new()), 0);
    assert_eq!(away(&mut Scene::young()), 1, "of a young slot not all rooms are known");
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
