//! Objects as they come from people: what is filled in, and what they are told.

use serde_json::json;

use super::*;

fn minimal() -> Value {
    json!({
        "apiVersion": "throng.dev/v1alpha1",
        "kind": "ChatroomCluster",
        "metadata": {"name": "live"},
        "spec": {
            "image": "throng:0.1.0",
            "redis": {"url": "redis://redis:6379"},
            "etcd": {"endpoints": ["http://etcd:2379"]},
            "auth": {"jwt": {"secretRef": {"name": "live-auth"}}},
        },
    })
}

fn problems(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut object = minimal();
    change(&mut object);
    admit(object, None).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn a_minimal_cluster_gets_every_default() {
    let stored = admit(minimal(), None).unwrap();
    let spec = &stored["spec"];
    assert_eq!(spec["imagePullPolicy"], "IfNotPresent");
    assert_eq!(spec["redis"]["mode"], "Standalone");
    assert_eq!(spec["auth"]["jwt"]["algorithms"], json!(["ES256"]));
    assert_eq!(spec["gateway"]["replicas"], json!({"min": 2, "max": 10}));
    assert_eq!(spec["gateway"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 300);
    assert_eq!(spec["message"]["template"]["topologySpread"][0]["topologyKey"], "topology.kubernetes.io/zone");
    assert_eq!(spec["drain"]["deadline"], "30m");
    assert_eq!(spec["paused"], false);
}

#[test]
fn a_part_of_an_object_keeps_the_other_defaults() {
    let mut object = minimal();
    object["spec"]["gateway"] = json!({"replicas": {"max": 60}, "behavior": {"scaleUp": {"tolerance": 0.2}}});
    let stored = admit(object, None).unwrap();
    assert_eq!(stored["spec"]["gateway"]["replicas"], json!({"min": 2, "max": 60}));
    assert_eq!(stored["spec"]["gateway"]["behavior"]["scaleUp"]["policies"].as_array().unwrap().len(), 2);
}

#[test]
fn a_null_means_what_a_missing_field_means() {
    let mut object = minimal();
    object["spec"]["drain"] = json!({"deadline": null, "usersPerSecond": null});
    object["spec"]["events"] = Value::Null;
    let stored = admit(object, None).unwrap();
    assert_eq!(stored, admit(minimal(), None).unwrap());
}

#[test]
fn admitting_what_was_admitted_changes_nothing() {
    let stored = admit(minimal(), None).unwrap();
    assert_eq!(admit(stored.clone(), Some(&stored)).unwrap(), stored);
}

#[test]
fn defaults_of_the_schema_are_those_of_the_types() {
    let stored = admit(minimal(), None).unwrap();
    let typed: crate::ChatroomClusterSpec = serde_json::from_value(minimal()["spec"].clone()).unwrap();
    let from_stored: crate::ChatroomClusterSpec = serde_json::from_value(stored["spec"].clone()).unwrap();
    assert_eq!(from_stored, typed);
}

#[test]
fn every_wrong_value_is_told_what_to_write_instead() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 14] = [
        (
            |o| o["kind"] = json!("ChatCluster"),
            "write apiVersion: throng.dev/v1alpha1 and kind: ChatroomCluster or kind: ChatroomOperation",
        ),
        (|o| o["metadata"] = json!({}), "metadata.name: write a name"),
        (|o| _ = o["spec"].as_object_mut().unwrap().remove("redis"), "spec.redis: is missing, and there is no default"),
        (|o| o["spec"]["gatway"] = json!({}), "spec.gatway: is not a field; near it: gateway, "),
        (|o| o["spec"]["drain"] = json!({"deadlne": "1m"}), "spec.drain.deadlne: is not a field; near it: deadline, "),
        (
            |o| o["spec"]["redis"]["mode"] = json!("Single"),
            "spec.redis.mode: Single is unknown: write one of Standalone, Sentinel, Cluster",
        ),
        (|o| o["spec"]["paused"] = json!("no"), "spec.paused: write true or false, not a text"),
        (
            |o| o["spec"]["drain"] = json!({"deadline": 30}),
            "spec.drain.deadline: write a text (in quotes if it looks like a number), not a number",
        ),
        (
            |o| o["spec"]["gateway"] = json!({"replicas": {"min": 0}}),
            "spec.gateway.replicas.min: write at least 1, not 0",
        ),
        (
            |o| o["spec"]["gateway"] = json!({"replicas": {"min": 2.5}}),
            "spec.gateway.replicas.min: write a whole number, not a number",
        ),
        (|o| o["spec"]["etcd"]["endpoints"] = json!([]), "spec.etcd.endpoints: write at least 1 entries, not 0"),
        (|o| o["spec"]["image"] = json!(""), "spec.image: write at least 1 characters, not 0"),
        (
            |o| o["spec"]["rollout"] = json!({"canaryPercent": [100]}),
            "spec.rollout.canaryPercent[0]: write at most 99, not 100",
        ),
        (
            |o| o["spec"]["auth"]["jwt"]["algorithms"] = json!(["ES256", "ES256"]),
            "spec.auth.jwt.algorithms[1]: is there twice: remove one",
        ),
    ];
    for (change, expected) in cases {
        let told = problems(change);
        assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?} instead of {expected:?}");
    }
}

#[test]
fn two_events_of_one_name_are_refused() {
    let event =
        json!({"name": "final", "start": "2026-12-31T20:00", "timeZone": "UTC", "hold": "4h", "floor": {"gateway": 4}});
    let told = problems(|object| object["spec"]["events"] = json!([event, event]));
    assert_eq!(told, ["spec.events[1]: is there twice: remove one"]);
}

#[test]
fn resources_are_those_of_kubernetes_and_a_typing_error_in_them_is_found() {
    let resources = json!({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": 2}});
    assert_eq!(problems(|object| object["spec"]["gateway"] = json!({"template": {"resources": resources}})), [""; 0]);
    let told = problems(|object| object["spec"]["gateway"] = json!({"template": {"resources": {"request": {}}}}));
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("spec.gateway.template.resources.request: is not a field; near it: requests"),
        "{told:?}"
    );
}

#[test]
fn a_status_within_its_bounds_fits_the_schema() {
    use throng_core::Millis;
    use throng_plan::status::{Bucket, ClusterStatus, Condition, Holds, Utc};
    let mut status = ClusterStatus { why: vec!["x".repeat(5000); 100], ..ClusterStatus::default() };
    let bucket = Bucket { at: Utc(Millis(10_000)), low: 1, high: 2, load_percent: 50, added: 0, removed: 3 };
    status.pools.message.memo.buckets = vec![bucket; 1000];
    status.conditions.push(Condition {
        kind: "Ready".into(),
        status: Holds::True,
        observed_generation: Some(3),
        last_transition_time: Utc(Millis(1_798_718_400_000)),
        reason: "AllReady".into(),
        message: "é".repeat(40_000),
    });
    status.clamp();
    let mut object = minimal();
    object["status"] = serde_json::to_value(&status).unwrap();
    let stored = admit(object, None).unwrap();
    assert_eq!(serde_json::from_value::<ClusterStatus>(stored["status"].clone()).unwrap(), status);
}
