//! The promises of the homes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::GatewayId;
use super::home::*;
use super::testing::room;
use crate::{Epoch, InstanceId, Millis, RoomId, SessionId, Slot, UserId};

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn gateway(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

fn online(name: &str, session: u64, conn_epoch: u64, joined: &[&str]) -> SessionChange {
    SessionChange {
        user: user(name),
        session: SessionId(session),
        conn_epoch,
        online: true,
        joined: joined.iter().map(|name| room(name)).collect(),
        left: vec![],
        ended: false,
        connected: None,
    }
}

fn offline(name: &str, session: u64, conn_epoch: u64) -> SessionChange {
    SessionChange { online: false, ..online(name, session, conn_epoch, &[]) }
}

fn homes(sessions: SessionPolicy) -> Homes {
    let mut homes = Homes::new(HomeOptions { sessions, ..HomeOptions::default() });
    Slot::all().for_each(|slot| homes.open(slot, Epoch(1)));
    homes.gateway_up(&gateway("g1"), GatewayId(1));
    homes.gateway_up(&gateway("g2"), GatewayId(2));
    homes
}

fn connections(homes: &Homes, name: &str) -> (Vec<u32>, u32) {
    let found = homes.find(&user(name), None).unwrap();
    (found.gateways.iter().map(|gateway| gateway.0).collect(), found.connections())
}

#[test]
fn a_user_is_found_on_every_gateway_once() {
    let mut homes = homes(SessionPolicy::Many);
    homes.apply(&gateway("g1"), 1, false, &[online("ana", 1, 1, &["r"]), online("ana", 2, 1, &["r"])], Millis(0));
    homes.apply(&gateway("g2"), 1, false, &[online("ana", 3, 1, &[])], Millis(0));
    assert_eq!(connections(&homes, "ana"), (vec![1, 2], 3));
    assert_eq!(homes.find(&user("ana"), Some(SessionId(3))).unwrap().gateways, [GatewayId(2)]);
    assert_eq!(connections(&homes, "bob"), (vec![], 0));
    assert_eq!((homes.users(), homes.sessions()), (1, 3));
}

#[test]
fn a_late_goodbye_does_not_undo_a_resume_elsewhere() {
    let mut homes = homes(SessionPolicy::Many);
    homes.apply(&gateway("g1"), 1, false, &[online("ana", 1, 1, &["r"])], Millis(0));
    homes.apply(&gateway("g2"), 1, false, &[online("ana", 1, 2, &[])], Millis(0));
    homes.apply(&gateway("g1"), 2, false, &[offline("ana", 1, 1)], Millis(0));
    assert_eq!(connections(&homes, "ana"), (vec![2], 1));
}

#[test]
fn a_repeated_batch_changes_nothing() {
    let mut homes = homes(SessionPolicy::Many);
    homes.apply(&gateway("g1"), 1, false, &[online("ana", 1, 1, &["r"])], Millis(0));
    homes.apply(&gateway("g1"), 2, false, &[SessionChange { ended: true, ..offline("ana", 1, 1) }], Millis(0));
    homes.apply(&gateway("g1"), 1, false, &[online("ana", 1, 1, &["r"])], Millis(0));
    assert_eq!((homes.users(), homes.sessions()), (0, 0));
}

#[test]
fn a_full_list_ends_what_it_does_not_name() {
    let mut homes = homes(SessionPolicy::Many);
    homes.apply(&gateway("g1"), 1, false, &[online("ana", 1, 1, &[]), online("bob", 2, 1, &[])], Millis(0));
    homes.apply(&gateway("g2"), 1, false, &[online("eve", 3, 1, &[])], Millis(0));
    homes.apply(&gateway("g1"), 2, true, &[online("bob", 2, 1, &["r"])], Millis(0));
    assert_eq!(connections(&homes, "ana").1, 0);
    assert_eq!((connections(&homes, "bob").1, connections(&homes, "eve").1, homes.users()), (1, 1, 2));
}

#[test]
fn the_newest_session_replaces_the_others_where_one_is_allowed() {
    let mut homes = homes(SessionPolicy::NewestWins);
    homes.apply(&gateway("g1"), 1, false, &[online("ana", 1, 1, &[])], Millis(0));
    homes.apply(&gateway("g2"), 1, false, &[online("ana", 2, 1, &[])], Millis(0));
    let replace = HomeEffect::Replace { gateway: GatewayId(1), user: user("ana"), session: SessionId(1) };
    assert_eq!(homes.effects().collect::<Vec<_>>(), [replace]);
    homes.apply(&gateway("g2"), 2, false, &[online("ana", 2, 1, &["r"])], Millis(0));
    assert_eq!(homes.effects().count(), 0, "a join is no new connection");
    homes.apply(&gateway("g2"), 3, true, &[online("ana", 2, 1, &["r"])], Millis(0));
    assert_eq!(homes.effects().count(), 0, "it is in the full list too");
}

#[test]
fn a_home_that_takes_over_leaves_the_session_that_connected_last() {
    // By the clocks of the gateways, which are a minute apart: g1's session is the older one, though its number is the larger.
    let listed = |(name, lag): (&str, u64), session, connected: u64| {
        let change = SessionChange { connected: Some(Millis(connected + lag)), ..online("ana", session, 1, &[]) };
        (gateway(name), change, Millis(5_000 + lag))
    };
    let (older, newer) = (listed(("g1", 0), 2, 3_000), listed(("g2", 60_000), 1, 4_000));
    // The clock of the home began before they connected, or after, as that of a process does that takes over from a lost one.
    let nows = [Millis(5_000), Millis(100)];
    for order in [[&older, &newer], [&newer, &older]] {
        let policies = [(SessionPolicy::NewestWins, 1), (SessionPolicy::Many, 0)];
        for (now, (policy, replaced)) in nows.into_iter().flat_map(|now| policies.map(|policy| (now, policy))) {
            let mut homes = homes(policy);
            for (instance, change, sent) in order {
                homes.heard(instance, *sent, now);
                homes.apply(instance, 1, true, std::slice::from_ref(change), now);
            }
            let replace = HomeEffect::Replace { gateway: GatewayId(1), user: user("ana"), session: SessionId(2) };
            assert_eq!(homes.effects().collect::<Vec<_>>(), vec![replace; replaced], "{policy:?}");
        }
    }
}

#[test]
fn a_gateway_that_could_not_be_told_is_told_when_its_stream_is_up() {
    let replace = |stream| HomeEffect::Replace { gateway: GatewayId(stream), user: user("ana"), session: SessionId(1) };
    for (policy, replaced) in [(SessionPolicy::NewestWins, 1), (SessionPolicy::Many, 0)] {
        let mut homes = homes(policy);
        homes.gateway_down(&gateway("g1"), GatewayId(1), Millis(0), Millis(0));
        homes.apply(&gateway("g1"), 1, true, &[online("ana", 1, 1, &[]), online("ben", 3, 1, &[])], Millis(0));
        homes.apply(&gateway("g2"), 1, false, &[online("ana", 2, 1, &[])], Millis(1));
        assert_eq!(homes.effects().count(), 0, "nobody is there to be told");
        homes.gateway_up(&gateway("g2"), GatewayId(4));
        assert_eq!(homes.effects().count(), 0, "the newest is elsewhere");
        homes.gateway_up(&gateway("g1"), GatewayId(5));
        assert_eq!(homes.effects().collect::<Vec<_>>(), vec![replace(5); replaced], "{policy:?}");
        // The word may be lost with the stream.
        homes.gateway_down(&gateway("g1"), GatewayId(5), Millis(2), Millis(2));
        homes.gateway_up(&gateway("g1"), GatewayId(6));
        assert_eq!(homes.effects().collect::<Vec<_>>(), vec![replace(6); replaced], "{policy:?}");
        homes.apply(&gateway("g1"), 2, false, &[SessionChange { ended: true, ..online("ana", 1, 1, &[]) }], Millis(3));
        homes.gateway_up(&gateway("g1"), GatewayId(7));
        assert_eq!(homes.effects().count(), 0, "it has ended");
    }
}

#[test]
fn the_members_of_a_lost_gateway_are_reported_offline_since_it_was_heard() {
    let mut homes = homes(SessionPolicy::Many);
    homes.apply(&gateway("g1"), 1, false, &[online("ana", 1, 4, &["r", "s"]), online("bob", 2, 1, &["r"])], Millis(0));
    homes.gateway_down(&gateway("g1"), GatewayId(1), Millis(10_000), Millis(777));
    homes.apply(&gateway("g2"), 1, false, &[online("bob", 2, 2, &[])], Millis(11_000));
    assert_eq!(homes.next_due(), Some(Millis(15_000)));
    homes.tick(Millis(14_999));
    assert_eq!(homes.effects().count(), 0);
    homes.tick(Millis(15_000));
    let ana = OfflineMember { user: user("ana"), session: SessionId(1), conn_epoch: 4, since_ms: Millis(777) };
    let report = |name| HomeEffect::Offline { room: room(name), members: vec![ana.clone()] };
    assert_eq!(homes.effects().collect::<Vec<_>>(), [report("r"), report("s")], "bob resumed elsewhere");
    homes.tick(Millis(15_000 + 120_000));
    assert_eq!((connections(&homes, "ana").1, homes.users()), (0, 1));
}

#[test]
fn a_gateway_that_comes_back_in_time_was_never_gone() {
    let mut homes = homes(SessionPolicy::Many);
    homes.apply(&gateway("g1"), 1, false, &[online("ana", 1, 1, &["r"])], Millis(0));
    homes.gateway_up(&gateway("g1"), GatewayId(3));
    homes.gateway_down(&gateway("g1"), GatewayId(1), Millis(1_000), Millis(0));
    homes.tick(Millis(60_000));
    assert_eq!(homes.effects().count(), 0);
    assert_eq!(connections(&homes, "ana"), (vec![3], 1));
}

#[test]
fn a_closed_slot_forgets_its_users_and_answers_for_nobody() {
    let mut homes = homes(SessionPolicy::Many);
    homes.apply(&gateway("g1"), 1, false, &[online("ana", 1, 1, &["r"])], Millis(0));
    homes.close(Slot::of("ana"));
    assert_eq!(homes.find(&user("ana"), None), None);
    assert_eq!((homes.users(), homes.sessions(), homes.activity().count()), (0, 0, 0));
}

#[test]
fn who_is_told_of_late_after_a_slot_has_moved_does_not_count_and_is_forgotten() {
    let mut homes = homes(SessionPolicy::Many);
    homes.close(Slot::of("ana"));
    homes.apply(&gateway("g1"), 1, false, &[online("ana", 1, 1, &["r"])], Millis(5_000));
    assert_eq!((homes.users(), homes.sessions(), homes.activity().count()), (0, 1, 0));
    assert_eq!(homes.next_due(), Some(Millis(65_000)));
    homes.tick(Millis(64_999));
    assert_eq!(homes.sessions(), 1);
    homes.tick(Millis(65_000));
    assert_eq!((homes.sessions(), homes.next_due()), (0, None));
}

#[test]
fn who_is_told_of_before_a_slot_opens_has_a_home_there_as_soon_as_it_does() {
    let mut homes = homes(SessionPolicy::Many);
    homes.close(Slot::of("ana"));
    homes.apply(&gateway("g1"), 1, false, &[online("ana", 1, 1, &["r"])], Millis(5_000));
    homes.open(Slot::of("ana"), Epoch(2));
    homes.tick(Millis(100_000));
    assert_eq!((homes.users(), connections(&homes, "ana").1), (1, 1));
}

/// One thing that happens to a session: who, on which gateway, what.
#[derive(Clone, Debug)]
enum Act {
    Connect(usize, usize, usize),
    Disconnect(usize),
    End(usize),
    Move(usize, usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0usize..8, 0usize..3, 0usize..3).prop_map(|(s, g, r)| Act::Connect(s, g, r)),
        2 => (0usize..8).prop_map(Act::Disconnect),
        1 => (0usize..8).prop_map(Act::End),
        2 => (0usize..8, 0usize..3).prop_map(|(s, r)| Act::Move(s, r)),
    ];
    prop::collection::vec(act, 0..60)
}

proptest! {
    /// Gateways report what is true, each in its own order but at different speeds: in the end the home knows the truth.
    #[test]
    fn however_late_a_gateway_reports_the_home_ends_up_with_the_truth(acts in acts(), order in prop::collection::vec(0usize..3, 200)) {
        let names = ["r", "s", "t"];
        // The truth: session -> (gateway, conn_epoch, online, room).
        let mut truth: BTreeMap<usize, (usize, u64, bool, usize)> = BTreeMap::new();
        let mut epochs = [0u64; 8];
        let mut queues: [std::collections::VecDeque<SessionChange>; 3] = Default::default();
        for act in acts {
            match act {
                Act::Connect(s, g, r) => {
                    epochs[s] += 1;
                    let left = truth.get(&s).map(|known| known.3);
                    truth.insert(s, (g, epochs[s], true, r));
                    let mut change = online(&format!("u{}", s % 4), s as u64, epochs[s], &[names[r]]);
                    change.left = left.filter(|left| *left != r).map(|left| room(names[left])).into_iter().collect();
                    queues[g].push_back(change);
                }
                Act::Disconnect(s) => if let Some(known) = truth.get_mut(&s) {
                    known.2 = false;
                    queues[known.0].push_back(offline(&format!("u{}", s % 4), s as u64, known.1));
                },
                Act::End(s) => if let Some((g, e, ..)) = truth.remove(&s) {
                    // A session that ended does not come back; another takes its place with a larger number.
                    queues[g].push_back(SessionChange { ended: true, ..offline(&format!("u{}", s % 4), s as u64, e) });
                    epochs[s] += 1_000;
                },
                Act::Move(s, r) => if let Some(known) = truth.get_mut(&s).filter(|known| known.2) {
                    let left: Vec<RoomId> = if known.3 == r { vec![] } else { vec![room(names[known.3])] };
                    known.3 = r;
                    queues[known.0].push_back(SessionChange { left, ..online(&format!("u{}", s % 4), s as u64, known.1, &[names[r]]) });
                },
            }
        }
        let mut homes = homes(SessionPolicy::Many);
        homes.gateway_up(&gateway("g0"), GatewayId(0));
        let mut numbers = [0u64; 3];
        let rest = [0usize, 1, 2].into_iter().flat_map(|g| std::iter::repeat_n(g, 200));
        for g in order.into_iter().chain(rest) {
            if let Some(change) = queues[g].pop_front() {
                numbers[g] += 1;
                homes.apply(&gateway(&format!("g{g}")), numbers[g], false, &[change], Millis(0));
            }
        }
        // Full lists settle what an ended session's late connection left behind.
        for (g, number) in numbers.iter().enumerate() {
            let list: Vec<SessionChange> = truth.iter().filter(|(_, known)| known.0 == g).map(|(s, known)| SessionChange {
                online: known.2, ..online(&format!("u{}", s % 4), *s as u64, known.1, &[names[known.3]])
            }).collect();
            homes.apply(&gateway(&format!("g{g}")), number + 1, true, &list, Millis(0));
        }
        prop_assert_eq!(homes.sessions(), truth.len());
        for s in 0..8usize {
            let found = homes.find(&user(&format!("u{}", s % 4)), Some(SessionId(s as u64))).unwrap();
            let wanted: Vec<GatewayId> = truth.get(&s).filter(|known| known.2).map(|known| GatewayId([0, 1, 2][known.0])).into_iter().collect();
            prop_assert_eq!(found.gateways, wanted);
        }
        for g in 0..3 { homes.gateway_down(&gateway(&format!("g{g}")), GatewayId(g), Millis(1), Millis(1)); }
        homes.tick(Millis(10_000));
        let mut reported: Vec<(String, u64)> = homes.effects().filter_map(|effect| match effect {
            HomeEffect::Offline { room, members } => Some(members.into_iter().map(|m| (room.to_string(), m.session.0)).collect::<Vec<_>>()),
            HomeEffect::Replace { .. } | HomeEffect::Late { .. } => None,
        }).flatten().collect();
        reported.sort_unstable();
        let mut wanted: Vec<(String, u64)> = truth.iter().filter(|(_, known)| known.2).map(|(s, known)| (names[known.3].to_owned(), *s as u64)).collect();
        wanted.sort_unstable();
        prop_assert_eq!(reported, wanted);
    }
}
