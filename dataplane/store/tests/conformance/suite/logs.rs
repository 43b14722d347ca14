//! Messages of rooms, and the keys that stand for them.

use super::*;

pub(super) async fn logs_are_read_from_a_number_on(world: &World) {
    let store = world.store("a").await;
    let writes = (1..=9).map(|seq| append(2, message(Lane::Normal, seq, seq, "1"))).collect();
    write(&store, 2, writes).await.unwrap();
    let range = LogRange { epoch: Epoch(2), lane: Lane::Normal, after: 3, limit: 4 };
    let page = store.log(room(), range).await.unwrap();
    assert_eq!(page.last, 9);
    assert_eq!(page.messages, (4..=7).map(|seq| message(Lane::Normal, seq, seq, "1")).collect::<Vec<_>>());
    let beyond = store.log(room(), LogRange { after: u64::MAX, ..range }).await.unwrap();
    assert_eq!((beyond.last, beyond.messages.len()), (9, 0));
    let unknown = store.log(room(), LogRange { epoch: Epoch(3), ..range }).await.unwrap();
    assert_eq!((unknown.last, unknown.messages.len()), (0, 0));
}

pub(super) async fn a_deleted_message_leaves_a_hole(world: &World) {
    let store = world.store("a").await;
    let writes = (1..=3).map(|seq| append(2, message(Lane::Normal, seq, seq, "1"))).collect();
    write(&store, 2, writes).await.unwrap();
    let stamp = Stamp { epoch: Epoch(2), lane: Lane::Normal, seq: 2 };
    write(&store, 2, vec![Write::DeleteMessage { room: room(), stamp }]).await.unwrap();
    // Not even a repeat of the append brings it back.
    write(&store, 2, vec![append(2, message(Lane::Normal, 2, 2, "1"))]).await.unwrap();
    assert_eq!(seqs(&store, 2, Lane::Normal).await, [1, 3]);
}

pub(super) async fn logs_forget_what_is_too_old(world: &World) {
    let store = world.store("a").await;
    // Lanes 0-1 are kept for 1,000 ms here, lane 2 for 500.
    let writes = vec![
        append(1, message(Lane::Protected, 1, 10_000, "1")),
        append(1, message(Lane::Normal, 1, 10_000, "1")),
        append(1, message(Lane::Normal, 2, 10_600, "1")),
    ];
    write(&store, 1, writes).await.unwrap();
    assert_eq!(seqs(&store, 1, Lane::Protected).await, [1]);
    assert_eq!(seqs(&store, 1, Lane::Normal).await, [2]);
    // A later epoch drops what an older one left.
    write(&store, 2, vec![append(2, message(Lane::Control, 1, 11_001, "1"))]).await.unwrap();
    assert_eq!(seqs(&store, 1, Lane::Protected).await, [0; 0]);
    assert_eq!(store.load(room(), 1).await.unwrap().unwrap().ends[&Epoch(1)], Seqs([0, 1, 2, 0]));
}

pub(super) async fn logs_forget_the_oldest_when_there_is_too_much(world: &World) {
    let store = world.store("a").await;
    // 4,000 bytes of lanes 0-1 together; a message weighs 1,000 - 71 + 7 + 64 = 1,000.
    let data = "x".repeat(1_000 - 64 - "ana".len() - "text".len());
    for (lane, seq, at_ms) in [(0, 1, 1), (1, 1, 2), (0, 2, 3), (1, 2, 4), (1, 3, 5)] {
        let lane = Lane::from_number(lane).unwrap();
        write(&store, 1, vec![append(1, message(lane, seq, at_ms, &data))]).await.unwrap();
    }
    assert_eq!(seqs(&store, 1, Lane::Control).await, [2], "the oldest of both lanes went");
    assert_eq!(seqs(&store, 1, Lane::Protected).await, [1, 2, 3]);
    // Lane 2 has a bound of its own, 2,000 bytes.
    let writes = (1..=5).map(|seq| append(1, message(Lane::Normal, seq, 6, &data))).collect();
    write(&store, 1, writes).await.unwrap();
    assert_eq!(seqs(&store, 1, Lane::Normal).await, [4, 5]);
    assert_eq!(seqs(&store, 1, Lane::Protected).await, [1, 2, 3]);
    // What is deleted makes room.
    let stamp = Stamp { epoch: Epoch(1), lane: Lane::Protected, seq: 1 };
    write(&store, 1, vec![Write::DeleteMessage { room: room(), stamp }]).await.unwrap();
    write(&store, 1, vec![append(1, message(Lane::Protected, 4, 7, &data))]).await.unwrap();
    assert_eq!(seqs(&store, 1, Lane::Control).await, [2]);
}

pub(super) async fn logs_that_nobody_appends_to_vanish(world: &World) {
    let store = world.store("a").await;
    let writes = vec![append(1, message(Lane::Normal, 1, 1, "1")), append(1, message(Lane::Control, 1, 1, "1"))];
    write(&store, 1, writes).await.unwrap();
    world.pass(650).await;
    assert_eq!(seqs(&store, 1, Lane::Normal).await, [0; 0]);
    assert_eq!(seqs(&store, 1, Lane::Control).await, [1]);
    // The numbers go on.
    write(&store, 1, vec![append(1, message(Lane::Normal, 2, 2, "1"))]).await.unwrap();
    assert_eq!(seqs(&store, 1, Lane::Normal).await, [2]);
    assert_eq!(store.load(room(), 9).await.unwrap().unwrap().ends[&Epoch(1)], Seqs([1, 0, 2, 0]));
}

pub(super) async fn lane_3_leaves_only_its_numbers(world: &World) {
    let store = world.store("a").await;
    let writes = (1..=7).map(|seq| append(1, message(Lane::Low, seq, seq, "1"))).collect();
    write(&store, 1, writes).await.unwrap();
    let image = store.load(room(), 10).await.unwrap().unwrap();
    assert_eq!(image.ends[&Epoch(1)], Seqs([0, 0, 0, 7]));
    assert!(image.tail.is_empty());
    let smaller = Write::End { room: room(), epoch: Epoch(1), lane: Lane::Low, seq: 3 };
    write(&store, 1, vec![smaller]).await.unwrap();
    assert_eq!(store.load(room(), 1).await.unwrap().unwrap().ends[&Epoch(1)], Seqs([0, 0, 0, 7]));
}

pub(super) async fn the_tail_is_the_newest_of_each_lane_and_epoch(world: &World) {
    let store = world.store("a").await;
    let of = |epoch, lane, seqs: std::ops::RangeInclusive<u64>| {
        seqs.map(move |seq| append(epoch, message(lane, seq, seq, "1"))).collect::<Vec<_>>()
    };
    let writes = [of(1, Lane::Normal, 1..=5), of(2, Lane::Protected, 1..=1), of(2, Lane::Normal, 1..=3)].concat();
    write(&store, 2, writes).await.unwrap();
    let tail = store.load(room(), 2).await.unwrap().unwrap().tail;
    let stamps: Vec<_> = tail.iter().map(|(epoch, message)| (epoch.0, message.lane.number(), message.seq)).collect();
    assert_eq!(stamps, [(1, 2, 4), (1, 2, 5), (2, 1, 1), (2, 2, 2), (2, 2, 3)]);
    assert!(store.load(room(), 0).await.unwrap().unwrap().tail.is_empty());
}

pub(super) async fn epochs_are_forgotten_on_request(world: &World) {
    let store = world.store("a").await;
    let seal = |epoch| Write::Seal {
        room: room(),
        sealed: Sealed { epoch: Epoch(epoch), last: Seqs([1, 0, 0, 0]), next: Epoch(epoch + 1) },
    };
    let mut writes: Vec<_> = (8..=11).map(|epoch| append(epoch, message(Lane::Control, 1, 1, "1"))).collect();
    writes.extend((8..=10).map(seal));
    write(&store, 11, writes).await.unwrap();
    write(&store, 11, vec![Write::ForgetEpochs { room: room(), before: Epoch(10) }]).await.unwrap();
    let image = store.load(room(), 9).await.unwrap().unwrap();
    assert_eq!(image.ends.keys().copied().collect::<Vec<_>>(), [Epoch(10), Epoch(11)]);
    assert_eq!(image.sealed.iter().map(|sealed| sealed.epoch).collect::<Vec<_>>(), [Epoch(10)]);
    assert_eq!(image.tail.len(), 2);
}

pub(super) async fn older_epochs_can_be_written_later(world: &World) {
    let store = world.store("a").await;
    write(&store, 9, vec![append(9, message(Lane::Protected, 1, 20, "9"))]).await.unwrap();
    write(&store, 9, vec![append(7, message(Lane::Protected, 4, 10, "7"))]).await.unwrap();
    assert_eq!(seqs(&store, 7, Lane::Protected).await, [4]);
    assert_eq!(seqs(&store, 9, Lane::Protected).await, [1]);
}

pub(super) async fn remembered_keys_go_when_their_time_has_passed(world: &World) {
    let store = world.store("a").await;
    let remember = |key: &str, at_ms, until_ms| Write::Remember {
        room: room(),
        remembered: Remembered {
            user: user("ana"),
            key: key.into(),
            stamp: Stamp { epoch: Epoch(1), lane: Lane::Normal, seq: at_ms },
            until_ms: Millis(until_ms),
        },
        at_ms: Millis(at_ms),
    };
    write(&store, 1, vec![remember("1", 1_000, 61_000), remember("2", 2_000, 90_000)]).await.unwrap();
    write(&store, 1, vec![remember("3", 61_000, 99_000)]).await.unwrap();
    let remembered = store.load(room(), 0).await.unwrap().unwrap().remembered;
    let mut keys: Vec<_> = remembered.iter().map(|remembered| &*remembered.key).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["2", "3"]);
}
