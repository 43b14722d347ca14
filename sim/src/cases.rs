//! The stories of the protocol: each was a counterexample to a simpler wording, and each comes back when its rule is
//! taken away.

use throng_core::ownership::Rules;

use crate::model::{Fault, Prelude, Scenario};
use crate::promises::Violation;

/// A story, the rule that ends it, and what happens without.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What happens, in a sentence or two.
    pub story: &'static str,
    /// The faults that it is made of.
    pub scenario: Scenario,
    /// Takes the rule away.
    pub without: fn(&mut Rules),
    /// What is seen then.
    pub seen: &'static [Violation],
}

impl Case {
    /// The scenario without the rule.
    #[must_use]
    pub fn broken(&self) -> Scenario {
        let mut scenario = self.scenario.clone();
        (self.without)(&mut scenario.rules);
        scenario
    }
}

fn scenario(prelude: &[Prelude], faults: &[Fault], budget: u8, steps: u32) -> Scenario {
    Scenario { prelude: prelude.to_vec(), faults: faults.to_vec(), ..Scenario::new(budget, steps) }
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut cases = rights();
    cases.extend(stores());
    cases.extend(moves());
    cases.extend(relays());
    cases
}

/// About the right to serve.
fn rights() -> Vec<Case> {
    use Fault::{Crash, CutEtcd, CutRedis, CutWatch, Pause, RedisDown, Slow, Turn};
    vec![
        Case {
            name: "an epoch opened twice",
            story: "An owner stops for two seconds and steps down, but its lease and claim live. If it opened the same epoch \
                    again, its numbers would start again too.",
            scenario: scenario(&[], &[Pause(0)], 1, 8),
            without: |rules| rules.bump_before_reopening = false,
            seen: &[Violation::StampTwice, Violation::EpochNotLarger],
        },
        Case {
            name: "an owner that lives on in grace",
            story: "An owner is cut off from etcd and goes on by its grace; its claim expires. A taker that did not revoke \
                    and wait would serve beside it.",
            scenario: scenario(&[], &[CutEtcd(0)], 1, 10),
            without: |rules| rules.wait_for_grace = false,
            seen: &[Violation::TwoOwners],
        },
        Case {
            name: "a fence that anyone may raise",
            story: "An owner lives by grace when its claim is gone. A taker that raised the fence over whoever holds it would \
                    never learn that there is somebody to revoke.",
            scenario: scenario(&[], &[CutEtcd(0), Slow(1)], 2, 10),
            without: |rules| rules.fences_name_their_holder = false,
            seen: &[Violation::TwoOwners],
        },
        Case {
            name: "a late answer",
            story: "The answer to a renewal of grace is late, and then Redis is out of reach. An owner that counted from the \
                    answer would still serve when the taker has waited long enough.",
            scenario: scenario(&[], &[CutEtcd(0), CutRedis(0), Slow(0)], 3, 9),
            without: |rules| rules.count_from_sending = false,
            seen: &[Violation::TwoOwners],
        },
        Case {
            name: "a dead taker whose mark outlives it",
            story: "A taker revokes the owner, which lives by grace, and dies before it opens. The owner comes back and claims \
                    the slot again: a mark that did not compare epochs would revoke it for ever.",
            scenario: scenario(&[], &[CutEtcd(0), Crash(1)], 2, 10),
            without: |rules| rules.marks_compare_epochs = false,
            seen: &[Violation::NotServed],
        },
        Case {
            name: "a new lease for an old claim",
            story: "An owner is cut off from etcd until its lease and its claim are gone, then etcd answers it again, but its watch \
                    stands still and Redis is out of its reach: nobody can revoke it. By its new lease it would serve what it \
                    thinks is its own, beside the taker.",
            scenario: scenario(
                &[Prelude::Fault(CutWatch(0)), Prelude::Fault(CutEtcd(0)), Prelude::Steps(4)],
                &[CutEtcd(0), CutRedis(0)],
                1,
                8,
            ),
            without: |rules| rules.lease_of_the_claim = false,
            seen: &[Violation::TwoOwners],
        },
        Case {
            name: "a taker that sees nothing",
            story: "An owner lives by grace when its claim expires, and the next of the list does not reach Redis. If it waited \
                    and opened without the store although a third Pod reaches it, nobody would revoke the owner.",
            scenario: Scenario {
                pods: 3,
                ..scenario(
                    &[Prelude::Fault(CutRedis(1)), Prelude::Fault(CutEtcd(0)), Prelude::Steps(12)],
                    &[Slow(1), Turn],
                    1,
                    10,
                )
            },
            without: |rules| rules.leave_it_to_who_reaches_the_store = false,
            seen: &[Violation::TwoOwners],
        },
        Case {
            name: "a taker in a hurry",
            story: "An owner lives by grace, and Redis goes down when its claim expires. A taker that went on without the store \
                    at once would serve beside it until its grace ends.",
            scenario: scenario(&[Prelude::Fault(CutEtcd(0)), Prelude::Steps(3)], &[RedisDown, Turn], 2, 8),
            without: |rules| rules.wait_when_blind = false,
            seen: &[Violation::TwoOwners],
        },
    ]
}

/// About stores that come back empty.
fn stores() -> Vec<Case> {
    use Fault::{Crash, CutEtcd, CutRelay, EmptyEtcd, EmptyRedis, Turn};
    // Message Pods would remember, and refuse.
    let away = [Prelude::Steps(4), Prelude::Fault(CutRelay(0)), Prelude::Fault(CutRelay(1))];
    vec![
        Case {
            name: "an emptied Redis that forgets a revocation",
            story: "An owner lives by grace; Redis comes back empty, without fence and mark. A taker that did not wait out the \
                    grace that it cannot see would serve beside the owner.",
            scenario: scenario(&[], &[CutEtcd(0), EmptyRedis, Turn], 3, 10),
            without: |rules| rules.wait_after_emptied = false,
            seen: &[Violation::TwoOwners],
        },
        Case {
            name: "a grace without fences",
            story: "Redis comes back empty and the owner creates its grace again, but not its fence. Later it is cut off from \
                    etcd; the taker finds no fence, so it revokes nobody.",
            scenario: scenario(&[Prelude::Steps(4)], &[CutEtcd(0), EmptyRedis], 2, 14),
            without: |rules| rules.grace_needs_fences = false,
            seen: &[Violation::TwoOwners],
        },
        Case {
            name: "a reused incarnation",
            story: "etcd comes back empty when every process that knew its incarnation is gone. If the store had not been told \
                    first, the number would be used again, and with it the epochs.",
            scenario: scenario(&away, &[Crash(0), Crash(1), EmptyEtcd], 3, 3),
            without: |rules| rules.store_incarnation_first = false,
            seen: &[Violation::EpochNotLarger, Violation::StampTwice],
        },
        Case {
            name: "two empty stores and one that remembers",
            story: "etcd and Redis both come back empty. A new process founds the incarnation: it must ask the others, or it \
                    would begin at 1 again.",
            scenario: {
                let gone = [Prelude::Fault(Crash(1)), Prelude::Steps(1), Prelude::Heal(Crash(1))];
                scenario(&[&away[..], &gone[..]].concat(), &[EmptyEtcd, EmptyRedis, Turn], 3, 6)
            },
            without: |rules| rules.ask_pods_for_incarnation = false,
            seen: &[Violation::EpochNotLarger, Violation::StampTwice, Violation::NotServed],
        },
    ]
}

/// About planned moves.
fn moves() -> Vec<Case> {
    use Fault::{CutEtcd, CutRedis, CutWatch, Move, MoveStraggles, MoveUnanswered, Slow};
    let asked = |fate| {
        vec![
            Prelude::Steps(2),
            Prelude::Fault(Move(1)),
            Prelude::Fault(fate),
            Prelude::Fault(Slow(0)),
            Prelude::Steps(1),
        ]
    };
    vec![
        Case {
            name: "a move that happened unseen",
            story: "A move is applied, but its answer is lost, and then the owner loses etcd and Redis. The taker waits in vain \
                    for the hand-over; an owner that still trusted its lease would serve beside it.",
            scenario: scenario(&asked(MoveUnanswered), &[Slow(0), CutEtcd(0), CutRedis(0)], 3, 7),
            without: |rules| rules.unknown_move_suspends = false,
            seen: &[Violation::TwoOwners],
        },
        Case {
            name: "a move lost in an etcd outage",
            story: "A move gets lost on its way; the owner reads that the claim is its own, and goes on. Then the transaction \
                    arrives after all. Only a claim that was written again is safe from it.",
            scenario: scenario(&asked(MoveStraggles), &[CutWatch(0), CutRedis(0)], 2, 8),
            without: |rules| rules.unknown_move_bumps = false,
            seen: &[Violation::TwoOwners],
        },
    ]
}

/// About message Pods.
fn relays() -> Vec<Case> {
    use Fault::{Crash, CutRedis, CutRelay, Hold};
    vec![
        Case {
            name: "a fork after a partial relay",
            story: "The owner dies while a segment is on its way to one of two message Pods. The taker asks them what they have \
                    and seals the epoch; without their promise the segment would still be taken.",
            scenario: scenario(&[], &[Crash(0), Hold(0)], 2, 10),
            without: |rules| rules.gather_promises = false,
            seen: &[Violation::LawBroken],
        },
        Case {
            name: "an end that only an absent one was told",
            story: "One owner seals an epoch at 3 and tells one message Pod, the next never hears of it. A subscriber that \
                    brings what it was told makes everybody agree.",
            scenario: scenario(
                &[
                    Prelude::Fault(CutRedis(0)),
                    Prelude::Fault(Hold(1)),
                    Prelude::Steps(3),
                    Prelude::Fault(CutRelay(1)),
                    Prelude::Fault(Crash(0)),
                    Prelude::Steps(12),
                ],
                &[Crash(0), Crash(1), CutRelay(0), CutRelay(1)],
                2,
                7,
            ),
            without: |rules| rules.raise_last = false,
            seen: &[Violation::EndsDiffer],
        },
    ]
}
