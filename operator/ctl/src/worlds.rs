//! Clusters in several states, for tests: as an API server would give them. What stands in them as said by the operator its
//! planner says ([`said`]).

mod said;

use said::{by_the_planner, planned};
use serde_json::{Value, json};
use throng_crds::ChatroomCluster;
use throng_plan::status::Utc;

use crate::seen::Seen;

/// When all of them are looked at.
pub(crate) fn now() -> Utc {
    serde_json::from_value(json!("2026-12-31T12:00:00Z")).unwrap()
}

pub(crate) fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (name, value) in patch {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch,
    }
}

pub(crate) fn condition(kind: &str, status: &str, reason: &str, message: &str, since: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": format!("2026-12-31T{since}Z"), "observedGeneration": 4,
    })
}

fn pool(size: u32, users: u64, pressure_percent: u32) -> Value {
    json!({
        "wanted": size, "pods": size, "ready": size, "users": users, "pressurePercent": pressure_percent,
        "sampleAgeSeconds": 0, "why": format!("{size} wanted: the smallest number of the spec"), "nextIndex": size,
        "memo": {"buckets": [{"at": "2026-12-31T11:59:50Z", "low": size, "high": size, "loadPercent": 30}]},
    })
}

fn revision(number: u64, state: &str, image: &str, pods: u32, users: u64) -> Value {
    json!({
        "number": number, "hash": format!("h{number}"), "state": state, "image": image,
        "since": "2026-12-29T12:00:00Z", "pods": pods, "ready": pods, "users": users,
    })
}

/// A Pod that serves on a node of its zone.
pub(crate) fn pod(role: &str, revision: u64, index: u32, more: Value) -> Value {
    let name = format!("live-{role}-{revision}-{index}");
    let (node, zone) = [("node-a", "eu-1a"), ("node-b", "eu-1b"), ("node-c", "eu-1c")][index as usize % 3];
    let mut pod = json!({
        "metadata": {
            "name": name, "namespace": "show", "uid": format!("u-{name}"),
            "creationTimestamp": "2026-12-29T12:00:00Z",
            "labels": {
                "app.kubernetes.io/name": "throng", "app.kubernetes.io/instance": "live",
                "app.kubernetes.io/managed-by": "throng-operator", "app.kubernetes.io/component": role,
                "throng.dev/cluster": "live", "throng.dev/role": role, "throng.dev/revision": revision.to_string(),
                "throng.dev/index": index.to_string(), "throng.dev/zone": zone, "throng.dev/serving": "true",
            },
        },
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    merge(&mut pod, more);
    pod
}

/// The Pods of a revision: two gateways, two chatroom Pods, two message Pods.
fn six(revision: u64) -> Vec<Value> {
    ["gateway", "chatroom", "message"]
        .into_iter()
        .flat_map(|role| (0..2).map(move |index| pod(role, revision, index, json!({}))))
        .collect()
}

fn at_rest_status() -> Value {
    json!({
        "observedGeneration": 4,
        "conditions": [
            condition("Ready", "True", "AllServe", "serving: gateway 2/2, chatroom 2/2, message 2/2", "09:00:00"),
            condition("Progressing", "False", "AtRest", "", "09:00:00"),
            condition("Degraded", "False", "Healthy", "", "09:00:00"),
            condition("Paused", "False", "Following", "", "09:00:00"),
            condition("DrainBlocked", "False", "NothingWaits", "", "09:00:00"),
            condition("MetricsStale", "False", "SamplesFresh", "", "09:00:00"),
            condition("SpecValid", "True", "Valid", "", "09:00:00"),
            condition("Applied", "True", "Done", "", "09:00:00"),
        ],
        "ready": "6/6", "users": 24_113, "pressure": "30%", "draining": 0, "revision": 7, "nextRevision": 8,
        "why": [
            "gateway: 2 wanted: the smallest number of the spec",
            "chatroom: 2 wanted: the smallest number of the spec",
            "message: 2 wanted: the smallest number of the spec",
        ],
        "pools": {"gateway": pool(2, 24_113, 30), "chatroom": pool(2, 24_900, 12), "message": pool(2, 24_113, 2)},
        "revisions": [revision(7, "Serving", "throng:0.1.0", 6, 24_113)],
    })
}

/// A cluster of `examples/minimal.yaml` with this status, and these Pods.
pub(crate) fn seen(status: &Value, pods: Vec<Value>, operations: Vec<Value>) -> Seen {
    let pods = pods.into_iter().map(|pod| serde_json::from_value(pod).unwrap()).collect();
    let operations = operations.into_iter().map(|operation| serde_json::from_value(operation).unwrap()).collect();
    Seen { now: now(), cluster: cluster(status), pods: Ok(pods), operations: Ok(operations), nodes: Ok(vec![]) }
}

pub(crate) fn cluster(status: &Value) -> ChatroomCluster {
    let text = include_str!("../../../examples/minimal.yaml");
    let mut stored = throng_crds::admit::admit(serde_saphyr::from_str(text).unwrap(), None).unwrap();
    let meta = json!({"metadata": {"namespace": "show", "uid": "c1", "generation": 4}, "status": status});
    merge(&mut stored, meta);
    serde_json::from_value(stored).unwrap()
}

/// Nothing happens.
pub(crate) fn at_rest() -> Seen {
    by_the_planner(seen(&at_rest_status(), six(7), vec![]), &[])
}

/// Nobody has looked at it yet.
pub(crate) fn unseen() -> Seen {
    seen(&json!({}), vec![], vec![])
}

/// Revision 8 has five percent of the users, for two minutes more.
pub(crate) fn canary() -> Seen {
    let mut status = at_rest_status();
    merge(
        &mut status,
        json!({
            "conditions": [
                condition("Ready", "True", "AllServe", "", "09:00:00"),
                condition("Progressing", "True", "RollingOut", "", "11:55:00"),
            ],
            "revisions": [
                revision(8, "Canary", "throng:0.2.0", 3, 1206),
                revision(7, "Serving", "throng:0.1.0", 6, 22_907),
            ],
            "rollout": {
                "from": 7, "to": 8, "phase": "Canary", "step": 0, "stepSince": "2026-12-31T11:55:30Z",
                "reachedAt": "2026-12-31T11:57:00Z", "targetPercent": 5, "usersPercent": 5,
            },
        }),
    );
    let canary = ["gateway", "chatroom", "message"].map(|role| pod(role, 8, 0, json!({})));
    by_the_planner(seen(&status, six(7).into_iter().chain(canary).collect(), vec![]), &[])
}

/// The new revision does not come up.
pub(crate) fn halted() -> Seen {
    let mut status = at_rest_status();
    merge(
        &mut status,
        json!({
            "conditions": [
                condition("Ready", "True", "AllServe", "", "09:00:00"),
                condition("Degraded", "True", "RolloutHalted", "", "11:50:00"),
                condition("Progressing", "True", "RollingOut", "", "11:49:00"),
            ],
            "revisions": [{"number": 8, "hash": "h8", "state": "Canary", "image": "throng:oops", "since": "2026-12-31T11:49:00Z", "pods": 3}, revision(7, "Serving", "throng:0.1.0", 6, 24_113)],
            "rollout": {
                "from": 7, "to": 8, "phase": "Halted", "step": 0, "stepSince": "2026-12-31T11:49:00Z",
                "targetPercent": 5, "usersPercent": 0, "haltedBecause": "live-gateway-8-0: ImagePullBackOff",
                "haltedFor": "NotStarting",
            },
        }),
    );
    let broken = json!({"status": {"phase": "Pending", "conditions": [], "containerStatuses": [
        {"name": "throng", "restartCount": 3, "image": "", "imageID": "", "ready": false,
         "state": {"waiting": {"reason": "ImagePullBackOff"}}},
    ]}});
    let asked = json!({
        "metadata": {"name": "promote-x7k2p", "namespace": "show", "uid": "o1", "creationTimestamp": "2026-12-31T11:58:00Z"},
        "spec": {"cluster": "live", "promote": {}},
        "status": {"action": "Promote", "phase": "Failed", "finishedAt": "2026-12-31T11:58:01Z",
                   "message": "the rollout has halted: live-gateway-8-0: ImagePullBackOff. Create a Resume first, or a Rollback"},
    });
    let pods = six(7).into_iter().chain(["gateway", "chatroom", "message"].map(|role| pod(role, 8, 0, broken.clone())));
    by_the_planner(seen(&status, pods.collect(), vec![asked]), &[])
}

/// A gateway goes from a cordoned node, slowly; another one cannot go, for there is no room for what is to take its place.
pub(crate) fn draining() -> Seen {
    let mut status = at_rest_status();
    merge(
        &mut status,
        json!({
            "conditions": [
                condition("Ready", "True", "AllServe", "", "09:00:00"),
                condition("Progressing", "True", "Draining", "", "11:57:00"),
                condition("Degraded", "True", "PodsFailing", "", "11:58:00"),
                condition("DrainBlocked", "True", "CapacityNeeded", "", "11:58:00"),
            ],
            "draining": 1,
            "drains": [{
                "pod": "live-gateway-7-0", "uid": "u-live-gateway-7-0", "cause": "Cordoned", "why": "its node node-d takes no new Pods",
                "since": "2026-12-31T11:57:00Z", "deadline": "2026-12-31T12:27:00Z", "usersAtStart": 12_050, "usersLeft": 1310,
            }],
            "moves": {"roomSlots": 12, "userSlots": 0},
            "pools": {"gateway": {"pods": 4, "draining": 1}},
        }),
    );
    let mut pods = six(7).split_off(2);
    let on = |node: &str| json!({"spec": {"nodeName": node}});
    pods.extend([("node-d", 0), ("node-e", 1), ("node-c", 2)].map(|(node, index)| pod("gateway", 7, index, on(node))));
    let nowhere = json!({"spec": {"nodeName": null}, "status": {"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"},
    ]}});
    pods.push(pod("gateway", 7, 3, nowhere));
    by_the_planner(seen(&status, pods, vec![]), &["node-d", "node-e"])
}

/// Pods are silent, and whoever looks may not list Pods.
pub(crate) fn stale() -> Seen {
    let mut status = at_rest_status();
    merge(
        &mut status,
        json!({
            "conditions": [
                condition("Ready", "True", "AllServe", "", "09:00:00"),
                condition("SpecValid", "True", "Valid", "", "09:00:00"),
                condition("MetricsStale", "True", "SamplesMissing", "live-gateway-7-1; gateway does not shrink", "11:40:00"),
            ],
            "pools": {"gateway": {"memo": {"buckets": [{"at": "2026-12-31T11:40:00Z", "low": 2, "high": 2, "loadPercent": 3}]}},
                      "chatroom": {"memo": {"buckets": []}}, "message": {"memo": {"buckets": []}}},
            "events": [{
                "name": "final", "phase": "Ramping", "rampTime": "2026-12-31T11:50:00Z",
                "startTime": "2026-12-31T12:05:00Z", "endTime": "2026-12-31T16:05:00Z",
            }],
        }),
    );
    let mut seen = seen(&status, vec![], vec![]);
    seen.cluster.metadata.generation = Some(5);
    seen.pods = Err("you may not list pods in namespace show".into());
    seen
}

/// Rolled back, and applied again with the old spec since then.
pub(crate) fn rolled_back() -> Seen {
    let mut status = at_rest_status();
    merge(
        &mut status,
        json!({
            "revisions": [
                revision(8, "Blocked", "throng:0.2.0", 0, 0),
                revision(7, "Serving", "throng:0.1.0", 6, 24_113),
            ],
            "conditions": [
                condition("Ready", "True", "AllServe", "", "09:00:00"),
                condition("Progressing", "False", "AtRest", "", "11:30:00"),
                condition("RolledBack", "True", "RevisionBlocked", "", "11:30:00"),
            ],
            "rollback": {
                "blockedRevision": {"number": 8, "hash": "h8"}, "to": 7, "pace": "Fast",
                "since": "2026-12-31T11:30:00Z", "doneAt": "2026-12-31T11:30:21Z", "operation": "rollback-2xq4w",
            },
        }),
    );
    by_the_planner(seen(&status, six(7), vec![]), &[])
}

/// After a rollout: revision 7 stays warm.
pub(crate) fn warm() -> Seen {
    let mut status = at_rest_status();
    let mut old = revision(7, "Warm", "throng:0.1.0", 3, 0);
    merge(&mut old, json!({"warmUntil": "2026-12-31T12:40:00Z"}));
    merge(&mut status, json!({"revision": 8, "revisions": [revision(8, "Serving", "throng:0.2.0", 6, 24_113), old]}));
    by_the_planner(seen(&status, six(8), vec![]), &[])
}

/// It is deleted, and its gateways are emptied.
pub(crate) fn deleting() -> Seen {
    let mut status = at_rest_status();
    merge(
        &mut status,
        json!({
            "conditions": [
                condition("Ready", "False", "Deleting", "", "11:59:00"),
                condition("Progressing", "True", "Deleting", "6 Pods left", "11:59:00"),
            ],
        }),
    );
    let mut seen = seen(&status, six(7), vec![]);
    let deleted = "2026-12-31T11:59:00Z".parse().unwrap();
    seen.cluster.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(deleted));
    by_the_planner(seen, &[])
}

/// What else stands in these worlds as the planner's own words.
#[test]
fn causes_and_sizes_are_those_of_the_planner() {
    let mut halting = halted();
    let status = halting.cluster.status.as_mut().unwrap();
    let rollout = status.rollout.as_mut().unwrap();
    let (because, kind) = (rollout.halted_because.take(), rollout.halted_for.take());
    rollout.phase = throng_plan::status::RolloutPhase::Starting;
    let rollout = planned(&halting, &[]).status.rollout.unwrap();
    assert_eq!((rollout.halted_because, rollout.halted_for), (because, kind));
    let mut going = draining();
    let status = going.cluster.status.as_mut().unwrap();
    let drain = status.drains.remove(0);
    let began = planned(&going, &["node-d", "node-e"]).status.drains;
    let same = |begun: &throng_plan::status::DrainStatus| {
        (begun.cause, begun.why.replace("node-e", "node-d")) == (drain.cause, drain.why.clone())
    };
    assert!(began.iter().any(same), "{began:?}");
    for seen in [at_rest, canary, halted, draining, rolled_back, warm].map(|world| Box::new(world())) {
        let said = planned(&seen, &["node-d", "node-e"]).status;
        let sizes = |status: &throng_plan::status::ClusterStatus| status.pools.map(|_, pool| (pool.wanted, pool.ready));
        assert_eq!(sizes(&said), sizes(seen.cluster.status.as_ref().unwrap()), "{:?}", said.why);
    }
}
