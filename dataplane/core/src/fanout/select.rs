//! Which messages of a segment a class and cohort of subscribers gets; the rest is declared.

use crate::fanout::{Cohort, gaps};
use crate::{Gap, Lane, Message, Segment, UserId};

/// What is sent of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "everything or a part")]
pub enum Selection {
    /// All of it: one frame serves everybody.
    All,
    /// A part.
    Some(Chosen),
}

/// A part of a segment, with what it leaves out declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    keep: Vec<bool>,
    gaps: Vec<Gap>,
}

impl Chosen {
    fn new(segment: &Segment, keep: Vec<bool>) -> Self {
        let left_out = segment.messages.iter().zip(&keep).filter(|(_, keep)| !**keep).map(|(message, _)| Gap {
            epoch: segment.epoch,
            lane: message.lane,
            from: message.seq,
            to: message.seq,
        });
        let mut gaps: Vec<Gap> = segment.gaps.iter().copied().chain(left_out).collect();
        gaps::merge(&mut gaps);
        Self { keep, gaps }
    }

    /// The chosen messages, in the segment's order.
    pub fn messages<'a>(&'a self, segment: &'a Segment) -> impl Iterator<Item = &'a Message> {
        segment.messages.iter().zip(&self.keep).filter(|(_, keep)| **keep).map(|(message, _)| message)
    }

    /// Every number of the segment that is not among them.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Who sent a message that was left out: they get it all the same, by [`Self::with_own`].
    pub fn senders_left_out<'a>(&'a self, segment: &'a Segment) -> impl Iterator<Item = &'a UserId> {
        segment.messages.iter().zip(&self.keep).filter(|(_, keep)| !**keep).map(|(message, _)| &message.from)
    }

    /// The same part, and all that `user` sent.
    #[must_use]
    pub fn with_own(&self, segment: &Segment, user: &UserId) -> Self {
        let keep =
            segment.messages.iter().zip(&self.keep).map(|(message, keep)| *keep || message.from == *user).collect();
        Self::new(segment, keep)
    }
}

/// How many messages of a segment are exempt from budgets (lanes 0-1), and how many are not.
#[must_use]
pub fn offer(segment: &Segment) -> (u32, u32) {
    let exempt = segment.messages.iter().filter(|message| message.lane.is_lossless()).count();
    let rest = segment.messages.len() - exempt;
    (u32::try_from(exempt).unwrap_or(u32::MAX), u32::try_from(rest).unwrap_or(u32::MAX))
}

/// Chooses `pass` messages of lanes 2-3, lane 2 before lane 3; lanes 0-1 are always in. Within a lane that does not fit,
/// the cohort and the stamp decide: the same on every gateway, another sample for each cohort.
#[must_use]
pub fn choose(segment: &Segment, pass: u32, cohort: Cohort) -> Selection {
    let pass = usize::try_from(pass).unwrap_or(usize::MAX);
    let offered = |lane| segment.messages.iter().filter(|message| message.lane == lane).count();
    let (normal, low) = (offered(Lane::Normal), offered(Lane::Low));
    let normal_pass = normal.min(pass);
    let low_pass = low.min(pass - normal_pass);
    if normal_pass == normal && low_pass == low {
        return Selection::All;
    }
    let mut keep: Vec<bool> = segment.messages.iter().map(|message| message.lane.is_lossless()).collect();
    for (lane, count) in [(Lane::Normal, normal_pass), (Lane::Low, low_pass)] {
        for at in sample(segment, lane, count, cohort) {
            if let Some(keep) = keep.get_mut(at) {
                *keep = true;
            }
        }
    }
    Selection::Some(Chosen::new(segment, keep))
}

/// Places of the `count` messages of a lane that rank first for a cohort.
fn sample(segment: &Segment, lane: Lane, count: usize, cohort: Cohort) -> impl Iterator<Item = usize> {
    let rank =
        |seq: u64| mix(mix(segment.epoch.0 ^ seq) ^ (u64::from(lane.number()) << 8) ^ u64::from(cohort.number()));
    let mut ranked: Vec<(u64, usize)> = segment
        .messages
        .iter()
        .enumerate()
        .filter(|(_, message)| message.lane == lane)
        .map(|(at, message)| (rank(message.seq), at))
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().take(count).map(|(_, at)| at)
}

/// Spreads the bits of a number: the finalizer of `SplitMix64` (Steele, Lea and Flood, 2014).
pub(super) const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Millis, RoomId, Seqs};
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn segment(counts: [u64; 4], missing: &[(Lane, u64)]) -> Segment {
        let after = Seqs([3, 10, 200, 7]);
        let mut messages = Vec::new();
        let mut gaps = Vec::new();
        for lane in Lane::ALL {
            for seq in after[lane] + 1..=after[lane] + counts[lane.index()] {
                if missing.contains(&(lane, seq - after[lane])) {
                    gaps.push(Gap { epoch: Epoch(7), lane, from: seq, to: seq });
                } else {
                    let from = UserId::new(&format!("u{}", seq % 5)).unwrap();
                    messages.push(Message {
                        lane,
                        seq,
                        from,
                        kind: "text".into(),
                        data: Bytes::new(),
                        at_ms: Millis(1),
                    });
                }
            }
        }
        Segment { room: RoomId::new("r").unwrap(), epoch: Epoch(7), after, messages, gaps }
    }

    fn numbers<'a>(messages: impl Iterator<Item = &'a Message>) -> Vec<(Lane, u64)> {
        messages.map(|message| (message.lane, message.seq)).collect()
    }

    #[test]
    fn chat_goes_before_likes() {
        let segment = segment([0, 1, 5, 5], &[]);
        let Selection::Some(chosen) = choose(&segment, 6, Cohort::new(0)) else { panic!("not all fit") };
        let kept = numbers(chosen.messages(&segment));
        assert_eq!(kept.iter().filter(|(lane, _)| *lane == Lane::Normal).count(), 5);
        assert_eq!(kept.iter().filter(|(lane, _)| *lane == Lane::Low).count(), 1);
    }

    #[test]
    fn what_fits_is_passed_on_whole() {
        assert_eq!(choose(&segment([1, 1, 5, 5], &[]), 10, Cohort::new(3)), Selection::All);
    }

    #[test]
    fn cohorts_see_different_samples_and_the_same_one_again() {
        let segment = segment([0, 0, 100, 0], &[]);
        let samples: BTreeSet<Vec<(Lane, u64)>> = (0..8)
            .map(|cohort| match choose(&segment, 10, Cohort::new(cohort)) {
                Selection::Some(chosen) => numbers(chosen.messages(&segment)),
                Selection::All => panic!("not all fit"),
            })
            .collect();
        assert_eq!(samples.len(), 8);
        assert_eq!(choose(&segment, 10, Cohort::new(2)), choose(&segment, 10, Cohort::new(10)));
    }

    #[test]
    fn a_sender_gets_its_own_message_whatever_the_sample() {
        let segment = segment([0, 0, 100, 0], &[]);
        let Selection::Some(chosen) = choose(&segment, 2, Cohort::new(0)) else { panic!("not all fit") };
        let me = UserId::new("u3").unwrap();
        assert!(chosen.senders_left_out(&segment).any(|user| *user == me));
        let mine = chosen.with_own(&segment, &me);
        assert_eq!(mine.messages(&segment).filter(|message| message.from == me).count(), 20);
        assert!(!mine.senders_left_out(&segment).any(|user| *user == me));
    }

    proptest! {
        /// Received and declared are together exactly the numbers of the segment, each once, lanes 0-1 received.
        #[test]
        fn received_and_declared_are_the_segment(
            counts in prop::array::uniform4(0_u64..30),
            missing in prop::collection::vec((0_u8..4, 1_u64..30), 0..10),
            pass in 0_u32..70,
            cohort in 0_u8..8,
            own in 0_u64..6,
        ) {
            let missing: Vec<_> = missing.into_iter().map(|(lane, at)| (Lane::from_number(lane).unwrap(), at)).collect();
            let segment = segment(counts, &missing);
            let Selection::Some(chosen) = choose(&segment, pass, Cohort::new(cohort)) else { return Ok(()) };
            for chosen in [chosen.with_own(&segment, &UserId::new(&format!("u{own}")).unwrap()), chosen] {
                let mut seen = numbers(chosen.messages(&segment));
                prop_assert!(seen.is_sorted());
                prop_assert_eq!(
                    seen.iter().filter(|(lane, _)| lane.is_lossless()).count(),
                    segment.messages.iter().filter(|message| message.lane.is_lossless()).count()
                );
                for gap in chosen.gaps() {
                    seen.extend((gap.from..=gap.to).map(|seq| (gap.lane, seq)));
                }
                seen.sort_unstable();
                let last = segment.last();
                let all: Vec<_> = Lane::ALL
                    .into_iter()
                    .flat_map(|lane| (segment.after[lane] + 1..=last[lane]).map(move |seq| (lane, seq)))
                    .collect();
                prop_assert_eq!(seen, all);
            }
        }
    }
}
