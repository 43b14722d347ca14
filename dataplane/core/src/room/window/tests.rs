use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::UserId;

fn room() -> RoomId {
    RoomId::new("final").unwrap()
}

fn message(lane: Lane, seq: u64, at: u64, bytes: usize) -> Message {
    Message {
        lane,
        seq,
        from: UserId::new("ana").unwrap(),
        kind: "text".into(),
        data: Bytes::from(vec![b'1'; bytes]),
        at_ms: Millis(at),
    }
}

fn push(window: &mut Window, lane: Lane, at: u64, bytes: usize) {
    let seq = window.last()[lane] + 1;
    window.push(message(lane, seq, at, bytes), None, Millis(at));
}

fn window() -> Window {
    Window::new(&room(), Epoch(7), Seqs::ZERO, Retention::default())
}

#[test]
fn chat_is_kept_for_a_minute_and_gifts_for_ten() {
    let mut window = window();
    push(&mut window, Lane::Protected, 1_000, 10);
    push(&mut window, Lane::Normal, 1_000, 10);
    window.trim(Millis(60_999));
    assert_eq!(window.messages().count(), 2);
    window.trim(Millis(61_000));
    assert_eq!(window.messages().count(), 1);
    window.trim(Millis(601_000));
    assert!(window.is_empty());
    let gaps: Vec<Gap> =
        window.segments(Seqs::ZERO, window.last()).into_iter().flat_map(|piece| piece.segment.gaps).collect();
    let gap = |lane| Gap { epoch: Epoch(7), lane, from: 1, to: 1 };
    assert_eq!(gaps, [gap(Lane::Protected), gap(Lane::Normal)]);
}

#[test]
fn weight_is_bounded_and_the_oldest_goes_first() {
    let mut window = window();
    for i in 0..200 {
        push(&mut window, Lane::Protected, 1_000 + i, 30_000);
    }
    let kept: Vec<u64> = window.messages().map(|(_, message)| message.seq).collect();
    assert!(kept.len() * 30_000 <= 4 * 1024 * 1024 && kept.len() > 130);
    assert_eq!(kept.last(), Some(&200));
}

#[test]
fn a_large_catch_up_comes_in_pieces_that_follow_each_other() {
    let mut window = window();
    for i in 0..100 {
        push(&mut window, Lane::Protected, i, 30_000);
        push(&mut window, Lane::Normal, i, 100);
    }
    let pieces = window.segments(Seqs::ZERO, window.last());
    assert!(pieces.len() > 4);
    let mut cursor = Seqs::ZERO;
    for piece in &pieces {
        assert_eq!(piece.segment.after, cursor);
        cursor = piece.segment.last();
    }
    assert_eq!(cursor, window.last());
}

#[test]
fn a_deleted_message_becomes_a_gap() {
    let mut window = window();
    for i in 0..3 {
        push(&mut window, Lane::Normal, i, 10);
    }
    assert!(window.delete(Stamp { epoch: Epoch(7), lane: Lane::Normal, seq: 2 }));
    assert!(!window.delete(Stamp { epoch: Epoch(7), lane: Lane::Normal, seq: 2 }));
    let segment = window.segments(Seqs::ZERO, window.last()).remove(0).segment;
    assert_eq!(segment.messages.iter().map(|message| message.seq).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(segment.gaps, [Gap { epoch: Epoch(7), lane: Lane::Normal, from: 2, to: 2 }]);
}

#[test]
fn a_reader_of_an_older_epoch_gets_its_rest_its_end_and_then_the_new_one() {
    let mut window = window();
    let mut seals = Seals::new(Epoch(7));
    seals.learn(Epoch(3), Seqs([0, 0, 5, 0]));
    for seq in [5, 4, 4] {
        window.add_history(Epoch(3), message(Lane::Normal, seq, 1, 10));
    }
    push(&mut window, Lane::Normal, 9, 10);
    let cursor = Cursor { epoch: Epoch(3), seq: Seqs([0, 0, 2, 0]) };
    let steps = window.catch_up(cursor, window.last(), &seals);
    let [Step::Piece(rest), Step::Sealed(end), Step::Piece(new)] = &steps[..] else { panic!("{steps:?}") };
    let (rest, new) = (&rest.segment, &new.segment);
    assert_eq!(rest.messages.iter().map(|message| message.seq).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(rest.gaps, [Gap { epoch: Epoch(3), lane: Lane::Normal, from: 3, to: 3 }]);
    assert_eq!((end.last, end.next_epoch), (Seqs([0, 0, 5, 0]), Epoch(7)));
    assert_eq!((new.epoch, new.after, new.messages.len()), (Epoch(7), Seqs::ZERO, 1));
}

proptest! {
    /// From any cursor, every number up to the end is a message or in a gap, exactly once, in order.
    #[test]
    fn every_number_is_a_message_or_in_a_gap(
        pushes in prop::collection::vec((0u8..4, 0u64..3_000, 1usize..60_000), 0..120),
        deleted in prop::collection::vec((0u8..4, 1u64..60), 0..10),
        from in prop::array::uniform4(0u64..20),
    ) {
        let mut window = window();
        let mut now = 0;
        for (lane, step, bytes) in pushes {
            now += step;
            push(&mut window, Lane::from_number(lane).unwrap(), now, bytes);
        }
        for (lane, seq) in deleted {
            window.delete(Stamp { epoch: Epoch(7), lane: Lane::from_number(lane).unwrap(), seq });
        }
        let mut from = Seqs(from);
        for lane in Lane::ALL { from[lane] = from[lane].min(window.last()[lane]); }
        let pieces = window.segments(from, window.last());
        for lane in Lane::ALL {
            let mut numbers: Vec<u64> = Vec::new();
            for piece in &pieces {
                numbers.extend(piece.segment.messages.iter().filter(|m| m.lane == lane).map(|m| m.seq));
                numbers.extend(piece.segment.gaps.iter().filter(|gap| gap.lane == lane).flat_map(|gap| gap.from..=gap.to));
            }
            numbers.sort_unstable();
            prop_assert_eq!(numbers, (from[lane] + 1..=window.last()[lane]).collect::<Vec<_>>());
        }
    }
}
