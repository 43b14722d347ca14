//! What is called stored, and what a retry gets.

use super::*;

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
