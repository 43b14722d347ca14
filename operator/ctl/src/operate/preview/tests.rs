//! What is said before an operation is asked for, world by world.

use serde_json::json;

use super::*;
use crate::seen::Seen;
use crate::worlds;

fn said(intent: &Intent, seen: &Seen) -> String {
    match Preview::of(intent, &Overview::of(seen)) {
        Ok(preview) => format!("{preview}{} [y/N]", preview.question),
        Err(error) => error.to_string(),
    }
}

fn back(to: Option<u64>) -> Intent {
    Intent::Rollback { to, pace: Pace::Fast }
}

fn pods(names: &[&str]) -> Intent {
    Intent::Drain(Target::Pods(names.iter().map(|name| (*name).to_owned()).collect()))
}

#[test]
fn each_operation_says_what_it_would_do() {
    let cases = vec![
        ("rollback-of-a-canary", back(None), worlds::canary()),
        ("rollback-to-a-warm-revision", back(None), worlds::warm()),
        ("rollback-gentle", Intent::Rollback { to: Some(7), pace: Pace::Gentle }, worlds::warm()),
        ("pause", Intent::Pause, worlds::canary()),
        ("pause-without-a-rollout", Intent::Pause, worlds::at_rest()),
        ("resume-after-a-halt", Intent::Resume, worlds::halted()),
        ("promote", Intent::Promote, worlds::canary()),
        ("drain", pods(&["live-gateway-7-0", "live-message-7-1"]), worlds::at_rest()),
        (
            "drain-of-all-gateways",
            pods(&["live-gateway-7-0", "live-gateway-7-1", "live-gateway-7-2", "live-gateway-7-3"]),
            worlds::draining(),
        ),
        ("drain-of-a-zone", Intent::Drain(Target::Zone("eu-1b".into())), worlds::at_rest()),
        ("drain-unseen", Intent::Drain(Target::Node("node-a".into())), worlds::stale()),
    ];
    for (name, intent, seen) in cases {
        insta::assert_snapshot!(name, said(&intent, &seen));
    }
}

#[test]
fn a_drain_of_a_zone_names_the_pods_on_its_nodes_or_says_that_nobody_can_tell() {
    let zone = |zone: &str| Intent::Drain(Target::Zone(zone.into()));
    let mut seen = worlds::at_rest();
    // Made for eu-1b, where there was no room.
    let node = json!({"metadata": {"name": "node-b", "labels": {"topology.kubernetes.io/zone": "eu-1z"}}});
    seen.nodes = Ok(vec![serde_json::from_value(node).unwrap()]);
    let told = said(&zone("eu-1z"), &seen);
    assert!(told.contains("live-gateway-7-1") && !told.contains("nodes may not be listed"), "{told}");
    let told = said(&zone("eu-1b"), &seen);
    assert!(told.contains("there is none now: nothing would happen"), "{told}");
    assert!(Overview::of(&seen).notes.is_empty());
    seen.nodes = Err("you may not list nodes".into());
    let told = said(&zone("eu-1b"), &seen);
    assert!(told.contains("live-gateway-7-1") && told.contains("but: nodes may not be listed"), "{told}");
    let notes = Overview::of(&seen).notes.join("\n");
    assert!(notes.contains("zones are those that Pods were made for") && notes.contains("you may not list"), "{notes}");
}

#[test]
fn what_is_impossible_is_refused_with_what_there_is() {
    assert!(said(&back(None), &worlds::at_rest()).contains("there is no revision before 7"));
    assert!(said(&back(Some(3)), &worlds::warm()).contains("there is no revision 3; known are 8 (throng:0.2.0), 7"));
    assert!(said(&back(Some(8)), &worlds::warm()).contains("revision 8 is the present one"));
    assert!(said(&back(None), &worlds::unseen()).contains("has no revision yet"));
    assert!(said(&pods(&["live-gateway-7-9"]), &worlds::at_rest()).contains("live has no Pod live-gateway-7-9"));
    // The revision that was rolled back is not where a second rollback goes by itself.
    assert!(said(&back(None), &worlds::rolled_back()).contains("there is no revision before 7"));
}
