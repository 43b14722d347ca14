use std::collections::{BTreeMap, BTreeSet};

use super::*;
use proptest::prelude::*;

const A: GatewayNo = GatewayNo(1);
const B: GatewayNo = GatewayNo(2);
const RULE: OfflineRule = OfflineRule { after_ms: 30_000, missed: 30, missed_not_before_ms: 15_000 };

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn at(ms: u64) -> Now {
    Now { mono: Millis(ms), unix: Millis(1_000_000 + ms) }
}

fn change(name: &str, session: u64, conn_epoch: u64, kind: ChangeKind) -> Change {
    Change { user: user(name), session: SessionId(session), conn_epoch, kind }
}

fn join(name: &str, session: u64, conn_epoch: u64) -> Change {
    change(name, session, conn_epoch, ChangeKind::Join)
}

fn leave(name: &str, session: u64, conn_epoch: u64) -> Change {
    change(name, session, conn_epoch, ChangeKind::Leave)
}

#[test]
fn a_late_leave_does_not_undo_a_newer_join() {
    let mut members = Members::default();
    assert_eq!(members.apply(A, &join("ana", 1, 1), at(0), 0), Effect::Joined { first: true });
    assert_eq!(members.apply(B, &join("ana", 1, 2), at(1), 0), Effect::None);
    assert_eq!(members.apply(A, &leave("ana", 1, 1), at(2), 0), Effect::None);
    assert_eq!(members.apply(A, &join("ana", 1, 1), at(3), 0), Effect::None);
    assert_eq!((members.count(), members.gateways()), (1, &[(B, 1)][..]));
    assert_eq!(members.apply(B, &leave("ana", 1, 2), at(4), 0), Effect::Left { last: true });
    assert_eq!((members.count(), members.gateways()), (0, &[][..]));
}

#[test]
fn a_user_with_two_sessions_counts_once_and_is_out_with_the_last() {
    let mut members = Members::default();
    members.apply(A, &join("ana", 1, 1), at(0), 0);
    assert_eq!(members.apply(B, &join("ana", 2, 1), at(0), 0), Effect::Joined { first: false });
    assert_eq!(members.count(), 1);
    assert_eq!(members.apply(A, &leave("ana", 1, 1), at(0), 0), Effect::Left { last: false });
    assert_eq!(members.remove_user(&user("ana")), [B]);
    assert_eq!(members.count(), 0);
}

#[test]
fn a_user_has_a_bounded_number_of_sessions() {
    let mut members = Members::default();
    for session in 0..MAX_SESSIONS as u64 {
        members.apply(A, &join("ana", session, 1), at(0), 0);
    }
    assert_eq!(members.apply(A, &join("ana", 999, 1), at(0), 0), Effect::Full);
}

#[test]
fn who_is_away_leaves_after_thirty_seconds_or_thirty_missed_messages() {
    let mut members = Members::default();
    members.apply(A, &join("ana", 1, 1), at(0), 0);
    members.apply(A, &join("bob", 2, 1), at(0), 0);
    members.apply(A, &change("ana", 1, 1, ChangeKind::Away(Millis(1_000))), at(1_000), 5);
    assert_eq!(members.due(RULE, 5), Some(Millis(31_000)));
    assert_eq!(members.due(RULE, 34), Some(Millis(31_000)));
    assert_eq!(members.due(RULE, 35), Some(Millis(16_000)));
    assert_eq!(members.take_overdue(RULE, Millis(15_999), 35, |_| false), []);
    let out = members.take_overdue(RULE, Millis(16_000), 35, |_| false);
    assert_eq!(out, [Overdue { user: user("ana"), session: SessionId(1), gateway: A }]);
    assert_eq!(members.due(RULE, 1000), None);
}

#[test]
fn who_comes_back_is_not_taken_out_nor_who_is_allowed_to_stay() {
    let mut members = Members::default();
    for (name, session) in [("ana", 1), ("vip", 2)] {
        members.apply(A, &join(name, session, 1), at(0), 0);
        members.apply(A, &change(name, session, 1, ChangeKind::Away(Millis(0))), at(0), 0);
    }
    members.apply(B, &join("ana", 1, 2), at(10_000), 0);
    assert_eq!(members.take_overdue(RULE, Millis(99_000), 0, |who| who.as_str() == "vip"), []);
    assert_eq!(members.count(), 2);
    members.reconsider(&user("vip"), 0);
    assert_eq!(members.take_overdue(RULE, Millis(99_000), 0, |_| false).len(), 1);
}

#[test]
fn a_lost_gateway_leaves_its_members_away_until_it_lists_them_again() {
    let mut members = Members::default();
    members.apply(A, &join("ana", 1, 1), at(0), 0);
    members.apply(B, &join("bob", 2, 1), at(0), 0);
    members.gateway_lost(A, Millis(500), 0);
    assert_eq!(members.due(RULE, 0), Some(Millis(30_500)));
    assert_eq!(members.apply(A, &join("ana", 1, 1), at(900), 0), Effect::None);
    assert_eq!(members.due(RULE, 0), None);
}

#[test]
fn a_complete_list_tells_who_is_missing() {
    let mut members = Members::default();
    for session in 1..=3 {
        members.apply(A, &join(&format!("u{session}"), session, 1), at(0), 0);
    }
    members.apply(B, &join("other", 9, 1), at(0), 0);
    let list = [SessionId(1), SessionId(3)].into_iter().collect();
    assert_eq!(members.missing_from(A, &list), [(user("u2"), SessionId(2))]);
}

#[test]
fn pages_cover_everybody_who_stays_exactly_once() {
    let mut members = Members::default();
    for number in 0..1000u64 {
        members.apply(A, &join(&format!("u{number}"), number, 1), at(number), 0);
    }
    let mut seen: BTreeMap<UserId, u32> = BTreeMap::new();
    let mut after: Option<UserId> = None;
    let mut round = 0;
    loop {
        let page = members.page(after.as_ref(), 97);
        let Some(last) = page.last() else { break };
        after = Some(last.user.clone());
        for row in &page {
            *seen.entry(row.user.clone()).or_default() += 1;
        }
        members.apply(A, &join(&format!("new{round}"), 5000 + round, 1), at(0), 0);
        members.apply(A, &leave(&format!("u{}", round * 7), round * 7, 1), at(0), 0);
        round += 1;
    }
    assert!(seen.values().all(|times| *times == 1));
    let gone: BTreeSet<u64> = (0..round).map(|round| round * 7).collect();
    let stayed = (0..1000).filter(|number| !gone.contains(number)).map(|number| user(&format!("u{number}")));
    assert!(stayed.into_iter().all(|stayed| seen.contains_key(&stayed)));
}

proptest! {
    /// Whatever order batches of two gateways arrive in, the newest connection of each session decides, and counts fit.
    #[test]
    fn the_newest_connection_decides(changes in prop::collection::vec((0u64..4, 0u64..3, 1u64..6, any::<bool>()), 0..60)) {
        let mut members = Members::default();
        let mut newest: BTreeMap<(u64, u64), (u64, bool)> = BTreeMap::new();
        for (who, session, conn_epoch, is_join) in changes {
            let gateway = GatewayNo(u32::try_from(conn_epoch % 2).unwrap());
            let (name, session) = (format!("u{who}"), who * 10 + session);
            let (was, inside) = newest.entry((who, session)).or_insert((0, false));
            if is_join {
                members.apply(gateway, &join(&name, session, conn_epoch), at(0), 0);
                if conn_epoch >= *was || !*inside { (*was, *inside) = (conn_epoch.max(if *inside { *was } else { 0 }), true); }
            } else {
                members.apply(gateway, &leave(&name, session, conn_epoch), at(0), 0);
                if conn_epoch >= *was { *inside = false; }
            }
            let sessions = newest.values().filter(|(_, inside)| *inside).count();
            let users: BTreeSet<u64> = newest.iter().filter(|(_, (_, inside))| *inside).map(|((who, _), _)| *who).collect();
            prop_assert_eq!(members.count(), users.len() as u64);
            prop_assert_eq!(members.gateways().iter().map(|(_, n)| *n as usize).sum::<usize>(), sessions);
            for ((who, session), (_, inside)) in &newest {
                prop_assert_eq!(members.has(&user(&format!("u{who}")), SessionId(*session)), *inside);
            }
        }
    }
}
