//! The queue, without a store.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use throng_core::{Epoch, InstanceId, Lane, Message, Millis, RoomId, SessionId, Slot, UserId};

use super::options::BehindOptions;
use super::queue::{Notice, Queue, Work};
use crate::error::{NotStored, StoreError};
use crate::memory::MemoryDb;
use crate::store::Store;
use crate::write::{List, Member, Tag, Write, Written};

const WRITTEN: &Result<Written, StoreError> = &Ok(Written { emptied: false, confirmed: true });

fn away() -> Result<Written, StoreError> {
    Err(StoreError::unavailable("gone"))
}

fn options() -> BehindOptions {
    BehindOptions { flush_commands: 4, max_commands: 10, ack_wait_ms: 1_000, ..BehindOptions::default() }
}

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

fn put(name: &str, meta: &'static str) -> Write {
    Write::PutRoom { room: room(name), meta: Bytes::from_static(meta.as_bytes()) }
}

fn append(name: &str, lane: Lane, seq: u64) -> Write {
    let from = UserId::new("ana").unwrap();
    let message = Message { lane, seq, from, kind: "text".into(), data: Bytes::from_static(b"1"), at_ms: Millis(0) };
    Write::Append { room: room(name), epoch: Epoch(1), message }
}

fn mute(name: &str, until_ms: u64) -> Write {
    let user = UserId::new("bob").unwrap();
    Write::SetEntry { room: room(name), list: List::Mute, user, until_ms: Millis(until_ms) }
}

fn take(queue: &mut Queue<u32>, now: u64) -> Option<Work> {
    let (work, answers) = queue.take(Millis(now));
    assert!(answers.is_empty());
    work
}

fn push(queue: &mut Queue<u32>, now: u64, write: Write, ack: Option<u32>) {
    assert_eq!(queue.push(Millis(now), Epoch(1), write, ack).refused, None);
}

#[test]
fn a_batch_goes_after_five_milliseconds() {
    let mut queue = Queue::new(options());
    push(&mut queue, 10, put("a", "1"), None);
    push(&mut queue, 12, append("a", Lane::Normal, 1), None);
    assert_eq!(queue.next_due(), Some(Millis(15)));
    assert_eq!(take(&mut queue, 14), None);
    let work = take(&mut queue, 15).unwrap();
    assert_eq!(work.batch.writes, [put("a", "1"), append("a", Lane::Normal, 1)]);
    assert!(!work.batch.confirm);
}

#[test]
fn a_batch_goes_at_once_when_enough_wait() {
    let mut queue = Queue::new(options());
    for seq in 1..=5 {
        push(&mut queue, 0, append("a", Lane::Normal, seq), None);
    }
    assert_eq!(take(&mut queue, 0).unwrap().batch.writes.len(), 4);
    assert_eq!(take(&mut queue, 100), None, "one batch of a tag at a time");
    queue.done(Millis(100), &Tag::Slot(Slot::of("a")), WRITTEN, 0);
    assert_eq!(take(&mut queue, 100).unwrap().batch.writes.len(), 1);
}

#[test]
fn slots_do_not_wait_for_each_other() {
    let mut queue = Queue::new(options());
    push(&mut queue, 0, put("a", "1"), None);
    push(&mut queue, 0, put("b", "1"), None);
    let first = take(&mut queue, 5).unwrap();
    let second = take(&mut queue, 5).unwrap();
    assert_ne!(first.slot, second.slot);
}

#[test]
fn a_later_write_replaces_an_earlier_one_and_takes_over_who_asked() {
    let mut queue = Queue::new(options());
    push(&mut queue, 0, mute("a", 1), Some(1));
    push(&mut queue, 1, append("a", Lane::Control, 1), None);
    push(&mut queue, 2, mute("a", 2), Some(2));
    let work = take(&mut queue, 6).unwrap();
    assert_eq!(work.batch.writes, [append("a", Lane::Control, 1), mute("a", 2)]);
    assert!(work.batch.confirm);
    assert_eq!(queue.done(Millis(7), &work.tag, WRITTEN, 0), [(1, Ok(())), (2, Ok(()))]);
    assert_eq!(queue.metrics(Millis(7)).superseded, 1);
    assert!(queue.is_empty());
}

#[test]
fn nothing_is_moved_before_the_end_of_its_room() {
    let mut queue = Queue::new(options());
    push(&mut queue, 0, mute("a", 1), None);
    push(&mut queue, 0, Write::DeleteRoom { room: room("a") }, None);
    push(&mut queue, 0, mute("a", 2), None);
    let work = take(&mut queue, 5).unwrap();
    assert_eq!(work.batch.writes, [Write::DeleteRoom { room: room("a") }, mute("a", 2)]);
}

#[test]
fn a_failed_batch_is_tried_again_later_and_later() {
    let mut queue = Queue::new(options());
    push(&mut queue, 0, append("a", Lane::Control, 1), Some(7));
    let (mut now, mut waits) = (5, Vec::new());
    for _ in 0..8 {
        let work = take(&mut queue, now).unwrap();
        let answers = queue.done(Millis(now), &work.tag, &away(), 0);
        assert!(answers.is_empty());
        let due = queue.tags_due();
        waits.push(due - now);
        now = due;
    }
    assert_eq!(waits, [50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
    let work = take(&mut queue, now).unwrap();
    assert_eq!(queue.done(Millis(now), &work.tag, WRITTEN, 0), [(7, Ok(()))]);
}

#[test]
fn a_write_on_its_way_is_not_put_back_over_a_later_one() {
    let mut queue = Queue::new(options());
    push(&mut queue, 0, mute("a", 1), Some(1));
    let work = take(&mut queue, 5).unwrap();
    push(&mut queue, 6, mute("a", 2), Some(2));
    queue.done(Millis(7), &work.tag, &away(), 500);
    let work = take(&mut queue, 60).unwrap();
    assert_eq!(work.batch.writes, [mute("a", 2)]);
    assert_eq!(queue.done(Millis(60), &work.tag, WRITTEN, 0), [(2, Ok(())), (1, Ok(()))]);
}

#[test]
fn who_asked_is_answered_in_time_even_if_the_store_is_away() {
    let mut queue = Queue::new(options());
    push(&mut queue, 0, append("a", Lane::Protected, 1), Some(1));
    let work = take(&mut queue, 5).unwrap();
    assert_eq!(queue.expire(Millis(999)), []);
    assert_eq!(queue.expire(Millis(1_000)), [(1, Err(NotStored::TooLate))]);
    // The write itself goes on waiting.
    queue.done(Millis(1_001), &work.tag, &away(), 0);
    let work = take(&mut queue, 2_000).unwrap();
    assert_eq!(work.batch.writes, [append("a", Lane::Protected, 1)]);
    assert!(!work.batch.confirm, "nobody waits any more");
    assert_eq!(queue.done(Millis(2_000), &work.tag, WRITTEN, 0), []);
}

#[test]
fn too_few_replicas_are_told_to_who_asked() {
    let mut queue = Queue::new(options());
    push(&mut queue, 0, append("a", Lane::Protected, 1), Some(1));
    let work = take(&mut queue, 5).unwrap();
    let alone = Ok(Written { emptied: false, confirmed: false });
    assert_eq!(queue.done(Millis(6), &work.tag, &alone, 0), [(1, Err(NotStored::Replicas))]);
    assert!(queue.is_empty());
}

#[test]
fn a_full_queue_refuses_lane_2_first_and_then_everything() {
    let mut queue = Queue::new(options());
    for seq in 1..=5 {
        push(&mut queue, 0, append("a", Lane::Normal, seq), None);
    }
    let refused = queue.push(Millis(0), Epoch(1), append("a", Lane::Normal, 6), Some(1)).refused;
    assert_eq!(refused, Some((1, NotStored::QueueFull)));
    for seq in 1..=5 {
        push(&mut queue, 0, append("a", Lane::Control, seq), None);
    }
    let refused = queue.push(Millis(0), Epoch(1), append("a", Lane::Control, 6), Some(2)).refused;
    assert_eq!(refused, Some((2, NotStored::QueueFull)));
    assert_eq!(queue.next_notice(), None, "a lost message cannot be written again");
    assert_eq!(queue.push(Millis(0), Epoch(1), mute("a", 1), Some(3)).refused, Some((3, NotStored::QueueFull)));
    assert_eq!(queue.next_notice(), Some(Notice::Rewrite { slot: Slot::of("a") }));
    assert_eq!(queue.metrics(Millis(0)).dropped, 3);
}

#[test]
fn a_stale_epoch_drops_what_it_wrote_and_keeps_what_a_later_claim_wrote() {
    let mut queue = Queue::new(options());
    let slot = Slot::of("a");
    queue.push(Millis(0), Epoch(3), append("a", Lane::Control, 1), Some(1));
    let work = take(&mut queue, 5).unwrap();
    assert_eq!(work.epoch, Epoch(3));
    queue.push(Millis(6), Epoch(3), append("a", Lane::Control, 2), Some(2));
    queue.push(Millis(6), Epoch(9), mute("a", 1), Some(3));
    let stale = Err(StoreError::Stale { epoch: Epoch(5) });
    let why = NotStored::Stale(Epoch(5));
    assert_eq!(queue.done(Millis(7), &work.tag, &stale, 0), [(1, Err(why)), (2, Err(why))]);
    assert_eq!(queue.next_notice(), Some(Notice::Stale { slot, epoch: Epoch(5) }));
    let work = take(&mut queue, 11).unwrap();
    assert_eq!((work.epoch, work.batch.writes), (Epoch(9), vec![mute("a", 1)]));
}

#[test]
fn writes_of_two_epochs_never_share_a_batch() {
    let mut queue = Queue::<u32>::new(options());
    queue.push(Millis(0), Epoch(3), append("a", Lane::Control, 1), None);
    queue.push(Millis(0), Epoch(4), append("a", Lane::Control, 2), None);
    let work = take(&mut queue, 5).unwrap();
    assert_eq!((work.epoch, work.batch.writes.len()), (Epoch(3), 1));
    queue.done(Millis(5), &work.tag, WRITTEN, 0);
    assert_eq!(take(&mut queue, 5).unwrap().epoch, Epoch(4));
}

#[test]
fn an_emptied_store_is_told_to_the_owner() {
    let mut queue = Queue::new(options());
    push(&mut queue, 0, put("a", "1"), None);
    let work = take(&mut queue, 5).unwrap();
    queue.done(Millis(6), &work.tag, &Ok(Written { emptied: true, confirmed: true }), 0);
    assert_eq!(queue.next_notice(), Some(Notice::Rewrite { slot: Slot::of("a") }));
    assert_eq!(queue.next_notice(), None);
}

#[test]
fn messages_too_old_to_be_kept_are_dropped_and_states_are_not() {
    let mut queue = Queue::new(options());
    push(&mut queue, 0, append("a", Lane::Normal, 1), Some(1));
    push(&mut queue, 0, append("a", Lane::Control, 1), None);
    push(&mut queue, 0, put("a", "1"), None);
    let (work, answers) = queue.take(Millis(60_001));
    assert_eq!(work.unwrap().batch.writes, [append("a", Lane::Control, 1), put("a", "1")]);
    assert_eq!(answers, [(1, Err(NotStored::TooLate))]);
}

#[test]
fn a_slot_is_settled_when_nothing_of_it_waits_or_is_on_its_way() {
    let mut queue = Queue::new(options());
    let slot = Slot::of("a");
    push(&mut queue, 0, put("a", "1"), None);
    let work = take(&mut queue, 5).unwrap();
    push(&mut queue, 6, put("a", "2"), Some(1));
    assert_eq!(queue.discard(slot), [(1, Err(NotStored::Closed))]);
    assert!(!queue.is_settled(slot));
    queue.done(Millis(7), &work.tag, WRITTEN, 0);
    assert!(queue.is_settled(slot));
}

impl<A> Queue<A> {
    /// When the next batch is due, whatever acknowledgements say.
    fn tags_due(&self) -> u64 {
        let mut later = 0;
        while self.due_at(later).is_none() {
            later += 1;
            assert!(later < 100_000);
        }
        later
    }

    fn due_at(&self, now: u64) -> Option<()> {
        self.has_ready(Millis(now)).then_some(())
    }
}

/// What a random owner does.
#[derive(Clone, Debug)]
enum Step {
    Push(u8, u8),
    Run(bool),
    Pass(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u8..6, 0_u8..4).prop_map(|(kind, value)| Step::Push(kind, value)),
        2 => any::<bool>().prop_map(Step::Run),
        1 => (0_u16..3_000).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..60)
}

fn random_write(kind: u8, value: u8, seq: &mut u64) -> Write {
    let user = UserId::new("bob").unwrap();
    let session = SessionId(u64::from(value % 2));
    match kind {
        0 => put("a", ["1", "2", "3", "4"][usize::from(value)]),
        1 => mute("a", u64::from(value)),
        2 => Write::RemoveEntry { room: room("a"), list: List::Mute, user },
        3 => {
            *seq += 1;
            append("a", Lane::Control, *seq)
        }
        4 => {
            let member =
                Member { session, conn_epoch: u64::from(value), user, joined_ms: Millis(0), offline_since_ms: None };
            Write::SetMember { room: room("a"), shard: 0, member }
        }
        _ => Write::RemoveMember { room: room("a"), shard: 0, session },
    }
}

proptest! {
    /// Whatever fails and is repeated in between: in the end the store holds what it would hold had every write been
    /// carried out alone and in order, and everybody who asked was answered once.
    #[test]
    fn the_store_ends_up_with_what_was_pushed(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let me = InstanceId::new("a").unwrap();
        let (through_queue, directly) = (MemoryDb::default().store(me.clone()), MemoryDb::default().store(me));
        let mut queue = Queue::new(BehindOptions { flush_commands: 3, ..BehindOptions::default() });
        let slot = Slot::of("a");
        let write = |store: &crate::MemoryStore, batch| runtime.block_on(store.write(slot, Epoch(1), batch));
        let (mut now, mut seq, mut asked) = (0_u64, 0_u64, 0_u32);
        let mut answered: BTreeMap<u32, u32> = BTreeMap::new();
        let all = steps.into_iter().chain(std::iter::repeat_n([Step::Pass(2_000), Step::Run(true)], 40).flatten());
        for step in all {
            let answers = match step {
                Step::Push(kind, value) => {
                    let one = random_write(kind, value, &mut seq);
                    write(&directly, crate::Batch::of(vec![one.clone()])).unwrap();
                    asked += 1;
                    let refused = queue.push(Millis(now), Epoch(1), one, Some(asked)).refused;
                    prop_assert_eq!(refused, None);
                    vec![]
                }
                Step::Run(works) => match queue.take(Millis(now)) {
                    (Some(work), _) => {
                        // A batch that failed may have been carried out all the same.
                        let (outcome, gone) = (write(&through_queue, work.batch), away());
                        queue.done(Millis(now), &work.tag, if works { &outcome } else { &gone }, 0)
                    }
                    (None, answers) => answers,
                },
                Step::Pass(ms) => {
                    now += u64::from(ms);
                    queue.expire(Millis(now))
                }
            };
            for (ack, _) in answers {
                *answered.entry(ack).or_default() += 1;
            }
        }
        prop_assert!(queue.is_empty());
        prop_assert_eq!(queue.metrics(Millis(now)).depth, 0);
        prop_assert_eq!(queue.metrics(Millis(now)).weight_bytes, 0);
        prop_assert_eq!(answered.len(), asked as usize);
        prop_assert!(answered.values().all(|times| *times == 1));
        // A room that only ever had an entry that was removed again is none, or an empty one.
        let image = |store: &crate::MemoryStore| {
            runtime.block_on(store.load(room("a"), 100)).unwrap().unwrap_or_default()
        };
        prop_assert_eq!(image(&through_queue), image(&directly));
        let members = |store: &crate::MemoryStore| {
            runtime.block_on(store.members(room("a"), crate::MemberCursor::default())).unwrap()
        };
        prop_assert_eq!(members(&through_queue), members(&directly));
    }
}
