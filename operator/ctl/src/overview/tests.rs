//! Trees as people see them, world by world. `INSTA_UPDATE=always cargo test -p throng-ctl` writes them anew.

use throng_plan::status::{Condition, Holds, Utc};

use super::*;
use crate::seen::Seen;
use crate::text::{Glyphs, Style, Tone, render};
use crate::worlds;

fn drawn(seen: &Seen, style: Style) -> String {
    render(&[tree(&Overview::of(seen), false)], style)
}

#[test]
fn every_world_has_its_tree() {
    for (name, seen) in [
        ("at-rest", worlds::at_rest as fn() -> Seen),
        ("unseen", worlds::unseen),
        ("canary", worlds::canary),
        ("halted", worlds::halted),
        ("draining", worlds::draining),
        ("stale", worlds::stale),
        ("rolled-back", worlds::rolled_back),
        ("warm", worlds::warm),
        ("deleting", worlds::deleting),
    ] {
        insta::assert_snapshot!(name, drawn(&seen(), Style::PLAIN));
    }
}

#[test]
fn a_narrow_terminal_without_unicode_shows_the_same() {
    let style = Style { width: Some(60), glyphs: Glyphs::Ascii, colour: false };
    let narrow = drawn(&worlds::draining(), style);
    assert!(narrow.lines().all(|line| line.len() <= 60), "{narrow}");
    insta::assert_snapshot!("draining-narrow", narrow);
}

#[test]
fn of_a_large_pool_only_the_pods_are_named_that_do_not_merely_serve() {
    let mut seen = worlds::halted();
    let more = (2..40).map(|index| worlds::pod("gateway", 7, index, serde_json::json!({})));
    seen.pods.as_mut().unwrap().extend(more.map(|pod| serde_json::from_value(pod).unwrap()));
    let few = drawn(&seen, Style::PLAIN);
    assert!(few.contains("live-gateway-8-0") && !few.contains("live-gateway-7-1"), "{few}");
    assert!(few.contains("└─ 40 Pods that serve: --pods names them") && few.contains("live-message-7-1"), "{few}");
    let all = render(&[tree(&Overview::of(&seen), true)], Style::PLAIN);
    assert!(all.contains("live-gateway-7-39") && !all.contains("--pods"), "{all}");
}

#[test]
fn programs_get_the_same_as_json_under_the_names_of_the_status() {
    let json = serde_json::to_string_pretty(&Overview::of(&worlds::canary())).unwrap();
    insta::assert_snapshot!("canary-json", json);
}

#[test]
fn every_world_has_its_word() {
    for (seen, phase) in [
        (worlds::at_rest as fn() -> Seen, Phase::AtRest),
        (worlds::unseen, Phase::Unseen),
        (worlds::canary, Phase::RollingOut),
        (worlds::halted, Phase::Halted),
        (worlds::draining, Phase::Degraded),
        (worlds::stale, Phase::Degraded),
        (worlds::rolled_back, Phase::RolledBack),
        (worlds::deleting, Phase::Deleting),
    ] {
        assert_eq!(Phase::of(&seen().cluster), phase);
        assert_eq!(phase.tone() == Tone::Good, phase == Phase::AtRest);
    }
    let mut paused = worlds::at_rest();
    paused.cluster.spec.paused = true;
    assert_eq!(Phase::of(&paused.cluster), Phase::Paused);
}

#[test]
fn conditions_at_rest_are_not_shown_and_those_that_merely_go_on_are_not_bad() {
    let condition = |kind: &str, status, reason: &str| Condition {
        kind: kind.into(),
        status,
        observed_generation: None,
        last_transition_time: Utc::default(),
        reason: reason.into(),
        message: String::new(),
    };
    for (kind, status, reason, shown, bad) in [
        ("Ready", Holds::True, "AllServe", false, false),
        ("Ready", Holds::False, "PodsStarting", true, false),
        ("Ready", Holds::False, "PoolDown", true, true),
        ("Progressing", Holds::True, "Draining", true, false),
        ("RolledBack", Holds::True, "RevisionBlocked", true, false),
        ("Applied", Holds::False, "ActionFailed", true, true),
        ("DrainBlocked", Holds::True, "CapacityNeeded", true, true),
        ("SomethingNew", Holds::False, "Fine", false, false),
        ("SomethingNew", Holds::True, "NotFine", true, true),
        ("EtcdUsable", Holds::Unknown, "Why", true, true),
    ] {
        let condition = condition(kind, status, reason);
        assert_eq!((!is_at_rest(&condition), is_bad(&condition)), (shown, bad), "{kind} {reason}");
    }
}

#[test]
fn an_operation_that_ended_is_shown_for_ten_minutes() {
    let mut seen = worlds::halted();
    assert_eq!(Overview::of(&seen).operations.len(), 1);
    seen.now = Utc(seen.now.0 + SHOW_ENDED_MS);
    assert_eq!(Overview::of(&seen).operations.len(), 0);
}

#[test]
fn pods_and_operations_of_others_are_not_shown() {
    let mut seen = worlds::at_rest();
    let mut stranger = seen.pods.as_ref().unwrap()[0].clone();
    stranger.metadata.labels.as_mut().unwrap().insert("throng.dev/cluster".into(), "stage".into());
    seen.pods.as_mut().unwrap().push(stranger);
    let mut elsewhere = seen.pods.as_ref().unwrap()[0].clone();
    elsewhere.metadata.namespace = Some("other".into());
    seen.pods.as_mut().unwrap().push(elsewhere);
    let of = Seen::of(&seen.cluster, &seen.pods, &seen.operations, &seen.nodes, seen.now);
    assert_eq!(of.pods.unwrap().len(), 6);
}
