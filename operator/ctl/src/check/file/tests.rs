//! Files as people write them, wrong ones first of all.

use super::*;
use crate::check::finding::{Level, is_broken};
use crate::worlds;

fn told(text: &str) -> Vec<String> {
    match objects("new.yaml", text) {
        Err(error) => vec![error.to_string()],
        Ok(objects) => {
            let findings = objects.iter().flat_map(|object| findings("new.yaml", object, worlds::now()));
            findings.map(|finding| format!("{:?} {}: {}", finding.level, finding.what, finding.found)).collect()
        }
    }
}

const MINIMAL: &str = include_str!("../../../../../examples/minimal.yaml");

/// The least that a cluster needs, with nothing about its pools but what is said.
fn minimal(more: &str) -> String {
    let (least, pools) = MINIMAL.split_once("  # Pods that ask for nothing").unwrap();
    assert_eq!(pools.matches("requests: {cpu: ").count(), 3, "{pools}");
    format!("{least}{more}")
}

#[test]
fn every_example_is_valid() {
    for text in [
        MINIMAL,
        include_str!("../../../../../examples/event.yaml"),
        include_str!("../../../../../examples/canary.yaml"),
        include_str!("../../../../../examples/operations.yaml"),
        include_str!("../../../../../examples/rollback.yaml"),
    ] {
        let told = told(text);
        assert!(!told.is_empty() && !told.iter().any(|line| line.starts_with("Problem ")), "{told:?}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_to_write_instead() {
    let place = "Problem new.yaml: ChatroomCluster live: ";
    for (more, said) in [
        ("  gatway: {}\n", "spec.gatway: is not a field; near it: gateway"),
        (
            "  gateway: {replicas: {min: 5, max: 2}}\n",
            "spec.gateway.replicas: write a max that is not smaller than min",
        ),
        ("  gateway: {replicas: {min: none}}\n", "spec.gateway.replicas.min: write a whole number"),
        ("  drain: {deadline: soon}\n", "spec.drain.deadline: "),
    ] {
        let told = told(&minimal(more));
        let begin = format!("{place}{}", said.split(": ").next().unwrap());
        assert!(told.iter().any(|line| line.starts_with(&begin)), "{more}: {told:?}");
    }
    let zone = "  events: [{name: final, start: \"2027-12-31T20:00:00\", timeZone: Asia/Atlantis, hold: 1h, floor: {gateway: 4}}]\n";
    let told = told(&minimal(zone));
    assert!(told[0].starts_with(&format!("{place}spec.events[0].timeZone: no time zone is called")), "{told:?}");
}

#[test]
fn an_event_that_is_over_is_a_warning() {
    let past =
        "  events: [{name: final, start: \"2026-12-30T20:00:00\", timeZone: UTC, hold: 1h, floor: {gateway: 4}}]\n";
    let read = objects("new.yaml", &minimal(past)).unwrap();
    let found = findings("new.yaml", &read[0], worlds::now());
    assert_eq!((found[0].level, is_broken(&found)), (Level::Warning, false));
    assert_eq!(found[0].found, "the event final is over, 15h ago: it changes nothing");
}

#[test]
fn pools_that_ask_for_no_cpu_are_named() {
    let asks = |what: &str| format!("  gateway: {{template: {{resources: {{{what}: {{cpu: 500m}}}}}}}}\n");
    for (more, pools) in [
        (String::new(), "gateway, chatroom, message"),
        (asks("requests"), "chatroom, message"),
        // A limit alone is a request too.
        (asks("limits"), "chatroom, message"),
    ] {
        let told = told(&minimal(&more));
        let said = format!("Pods that ask for no CPU ({pools}) starve first where a node is busy");
        assert_eq!(told.get(1), Some(&format!("Warning new.yaml: ChatroomCluster live: {said}")), "{told:?}");
    }
    for example in [
        MINIMAL,
        include_str!("../../../../../examples/quickstart.yaml"),
        include_str!("../../../../../examples/canary.yaml"),
        include_str!("../../../../../examples/event.yaml"),
        include_str!("../../../../../examples/gitops/clusters/live.yaml"),
    ] {
        let told = told(example);
        assert!(!told.iter().any(|line| line.contains("no CPU")), "{told:?}");
    }
}

#[test]
fn what_is_no_yaml_or_not_for_throng_says_so() {
    assert!(told("a: [")[0].starts_with("new.yaml: it is no YAML: "));
    for text in ["", "kind: Pod\napiVersion: v1\n", "- 1\n- 2\n", "just a text"] {
        assert!(told(text)[0].starts_with("new.yaml: nothing in it is for Throng: write apiVersion"), "{text:?}");
    }
    let wrong_version = minimal("").replace("v1alpha1", "v1");
    assert!(told(&wrong_version)[0].contains("write apiVersion: throng.dev/v1alpha1"), "{:?}", told(&wrong_version));
}

#[test]
fn other_objects_beside_ours_are_left_out_and_lists_are_opened() {
    let several = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\n---\n{}", minimal(""));
    let told = |text: &str| told(text).into_iter().filter(|line| !line.starts_with("Warning")).collect::<Vec<_>>();
    assert_eq!(told(&several), ["Fine new.yaml: ChatroomCluster live: valid"]);
    let pause = "{apiVersion: throng.dev/v1alpha1, kind: ChatroomOperation, metadata: {generateName: pause-}, spec: {cluster: live, pause: {}}}";
    let list = format!("apiVersion: v1\nkind: List\nitems: [{pause}]\n");
    assert_eq!(told(&list), ["Fine new.yaml: ChatroomOperation pause-x: valid"]);
}
