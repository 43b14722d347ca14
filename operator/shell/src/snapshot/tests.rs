use k8s_openapi::api::core::v1 as k8s;
use serde_json::{Value, json};
use throng_core::{Millis, Role};
use throng_plan::world::{Node, Object, Phase};

use super::*;
use crate::render::{budget, policy, service};

fn node(value: Value) -> Option<(String, Node)> {
    node::node(&serde_json::from_value::<k8s::Node>(value).unwrap())
}

fn pod(value: Value) -> Option<(String, throng_plan::world::Pod)> {
    let zone = Node { zone: "eu-1b".into(), ..Node::default() };
    let nodes = BTreeMap::from([("n1".to_owned(), zone), ("n2".to_owned(), Node::default())]);
    pod::pod(&serde_json::from_value::<k8s::Pod>(value).unwrap(), "live", &nodes)
}

fn a_pod() -> Value {
    json!({
        "metadata": {
            "name": "live-gateway-3-7", "uid": "u7", "creationTimestamp": "2026-11-22T08:00:00Z",
            "labels": {
                "throng.dev/cluster": "live", "throng.dev/role": "gateway", "throng.dev/revision": "3",
                "throng.dev/index": "7", "throng.dev/zone": "eu-1a", "throng.dev/serving": "true",
            },
        },
        "spec": {"nodeName": "n1", "containers": []},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"name": "throng", "restartCount": 2, "image": "", "imageID": "", "ready": true, "state": {"running": {}}},
            ],
        },
    })
}

fn with(mut value: Value, place: &str, new: Value) -> Value {
    let (parent, name) = place.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.into(), new);
    value
}

#[test]
fn a_pod_that_serves_is_seen_whole() {
    let (name, pod) = pod(a_pod()).unwrap();
    assert_eq!(name, "live-gateway-3-7");
    assert_eq!((pod.uid.as_str(), pod.role, pod.revision, pod.index), ("u7", Role::Gateway, 3, 7));
    assert_eq!((pod.node.as_deref(), pod.zone.as_str()), (Some("n1"), "eu-1b"), "it runs elsewhere than planned");
    assert_eq!((pod.phase, pod.ready, pod.serving, pod.restarts), (Phase::Running, true, true, 2));
    assert_eq!((pod.terminating, pod.trouble), (None, None));
    assert_eq!(pod.created, Utc(Millis(1_795_334_400_000)));
}

#[test]
fn a_pod_that_nobody_has_touched_yet_is_pending_and_in_its_zone() {
    let mut bare = a_pod();
    bare.as_object_mut().unwrap().remove("status");
    bare["spec"] = json!({"containers": []});
    bare["metadata"]["labels"].as_object_mut().unwrap().remove("throng.dev/serving");
    let (_, pod) = pod(bare).unwrap();
    assert_eq!((pod.phase, pod.ready, pod.serving), (Phase::Pending, false, false));
    assert_eq!((pod.node, pod.zone.as_str(), pod.restarts), (None, "eu-1a", 0));
}

#[test]
fn every_phase_has_its_meaning() {
    let phases = [
        (json!("Pending"), Phase::Pending),
        (json!(""), Phase::Pending),
        (Value::Null, Phase::Pending),
        (json!("Running"), Phase::Running),
        (json!("Succeeded"), Phase::Succeeded),
        (json!("Failed"), Phase::Failed),
        (json!("Unknown"), Phase::Unknown),
        (json!("Dreaming"), Phase::Unknown),
    ];
    for (text, phase) in phases {
        assert_eq!(pod(with(a_pod(), "/status/phase", text.clone())).unwrap().1.phase, phase, "{text}");
    }
}

#[test]
fn trouble_is_what_kubernetes_calls_it() {
    let container = |state: Value| json!([{"name": "throng", "restartCount": 0, "image": "", "imageID": "", "ready": false, "state": state}]);
    let of = |state| pod(with(a_pod(), "/status/containerStatuses", container(state))).unwrap().1.trouble;
    assert_eq!(of(json!({"waiting": {"reason": "ImagePullBackOff"}})).as_deref(), Some("ImagePullBackOff"));
    for fine in ["ContainerCreating", "PodInitializing"] {
        assert_eq!(of(json!({"waiting": {"reason": fine}})), None);
    }
    assert_eq!(of(json!({"waiting": {}})), None);
    let missing =
        json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"throng:none\""}});
    assert_eq!(of(missing).as_deref(), Some("ImagePullBackOff: Back-off pulling image \"throng:none\""));
    let mut crashes = container(json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}}));
    crashes[0]["lastState"] = json!({"terminated": {"exitCode": 2, "message": "starting\nunknown key rooms.hisory\n"}});
    let crashes = pod(with(a_pod(), "/status/containerStatuses", crashes)).unwrap().1.trouble;
    assert_eq!(crashes.as_deref(), Some("CrashLoopBackOff: unknown key rooms.hisory"));
    assert_eq!(of(json!({})), None);
    let waits = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]);
    let waits = pod(with(a_pod(), "/status/conditions", waits)).unwrap().1;
    assert_eq!((waits.trouble.as_deref(), waits.ready), (Some("Unschedulable"), false));
    let evicted = pod(with(a_pod(), "/status/reason", json!("Evicted"))).unwrap().1;
    assert_eq!(evicted.trouble.as_deref(), Some("Evicted"));
}

#[test]
fn a_pod_terminates_since_it_was_asked_to_and_not_since_its_grace_ends() {
    let going = with(a_pod(), "/metadata/deletionTimestamp", json!("2026-11-22T09:00:00Z"));
    let at = |value: Value| pod(value).unwrap().1.terminating;
    let asked = Utc(Millis(1_795_338_000_000 - 1_860_000));
    assert_eq!(at(with(going.clone(), "/metadata/deletionGracePeriodSeconds", json!(1860))), Some(asked));
    assert_eq!(at(going), Some(Utc(Millis(1_795_338_000_000))));
}

#[test]
fn pods_with_labels_that_were_edited_are_not_the_operators() {
    for (label, value) in [
        ("throng.dev/role", "poet"),
        ("throng.dev/role", "chatroom"),
        ("throng.dev/revision", "three"),
        ("throng.dev/revision", "-1"),
        ("throng.dev/index", "99999999999"),
        ("throng.dev/index", ""),
    ] {
        let mut edited = a_pod();
        edited["metadata"]["labels"][label] = json!(value);
        assert_eq!(pod(edited), None, "{label}={value}");
    }
    for missing in ["throng.dev/role", "throng.dev/revision", "throng.dev/index"] {
        let mut edited = a_pod();
        edited["metadata"]["labels"].as_object_mut().unwrap().remove(missing);
        assert_eq!(pod(edited), None, "{missing}");
    }
}

#[test]
fn a_node_is_seen_with_its_zone_its_taints_and_since_when() {
    let (name, seen) = node(json!({
        "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "eu-1a"}},
        "spec": {"unschedulable": true, "taints": [
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
            {"key": "karpenter.sh/disrupted", "effect": "NoSchedule", "value": "x"},
        ]},
        "status": {"conditions": [
            {"type": "MemoryPressure", "status": "False"},
            {"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-11-22T08:00:00Z"},
        ]},
    }))
    .unwrap();
    let taints = ["karpenter.sh/disrupted", "node.kubernetes.io/unschedulable"].map(str::to_owned).into();
    let since = Utc(Millis(1_795_334_400_000));
    assert_eq!(name, "n1");
    let labels = [("topology.kubernetes.io/zone".to_owned(), "eu-1a".to_owned())].into();
    assert_eq!(seen, Node { zone: "eu-1a".into(), labels, cordoned: true, taints, ready: false, since });
}

#[test]
fn a_node_that_says_nothing_is_not_ready_since_it_was_made() {
    let made = json!({"metadata": {"name": "n1", "creationTimestamp": "2026-11-22T08:00:00Z"}});
    let since = Utc(Millis(1_795_334_400_000));
    assert_eq!(node(made), Some(("n1".into(), Node { since, ..Node::default() })));
    assert_eq!(node(json!({"metadata": {}})), None);
    let ready = json!({"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    assert!(node(ready).unwrap().1.ready);
}

fn cluster() -> ChatroomCluster {
    let text = include_str!("../../../../examples/minimal.yaml");
    let stored = throng_crds::admit::admit(serde_saphyr::from_str(text).unwrap(), None).unwrap();
    let mut cluster: ChatroomCluster = serde_json::from_value(stored).unwrap();
    cluster.metadata.namespace = Some("show".into());
    cluster.metadata.uid = Some("c1".into());
    cluster.metadata.generation = Some(4);
    cluster
}

fn sight<'a>(
    cluster: &'a ChatroomCluster,
    validated: &'a Validated,
    objects: &'a Objects,
    idle: &'a Idle,
) -> Sight<'a> {
    Sight {
        now: Utc(Millis(1_795_334_400_000)),
        cluster,
        validated,
        leader_epoch: 5,
        objects,
        nodes: &[],
        operations: &[],
        has_keys: true,
        view: None,
        activities: &idle.activities,
        samples: &idle.samples,
        conditions: &[],
    }
}

#[derive(Default)]
struct Idle {
    activities: Activities,
    samples: BTreeMap<String, Sample>,
}

/// Objects just as the operator would write them.
fn written(cluster: &ChatroomCluster) -> Objects {
    let owner = owner(cluster);
    Objects {
        services: vec![Arc::new(service::gateway(&owner))],
        policies: Role::ALL.map(|role| Arc::new(policy::policy(&owner, role))).to_vec(),
        budgets: Role::ALL
            .map(|role| Arc::new(budget::budget(&owner, &names::of_role("live", role), role, 1)))
            .to_vec(),
        ..Objects::default()
    }
}

#[test]
fn objects_as_they_were_written_leave_nothing_to_write() {
    let cluster = cluster();
    let validated = validate::cluster(&cluster.spec).unwrap();
    let objects = written(&cluster);
    let world = world(&sight(&cluster, &validated, &objects, &Idle::default()));
    for (name, hash) in world.rendered.services {
        assert!(world.owned.contains(&Object::Service { name, hash }));
    }
    for (name, hash) in world.rendered.network_policies {
        assert!(world.owned.contains(&Object::NetworkPolicy { name, hash }));
    }
    for role in Role::ALL {
        let name = names::of_role("live", role);
        assert!(world.owned.contains(&Object::PodDisruptionBudget { name, role, min_available: 1 }));
    }
    assert!(world.owned.contains(&Object::PodKeySecret { name: "live-pod-key".into() }));
    assert_eq!((world.cluster.generation, world.cluster.finalizer, world.registry), (4, false, None));
}

#[test]
fn an_object_that_somebody_edited_is_not_as_it_should_be() {
    let cluster = cluster();
    let validated = validate::cluster(&cluster.spec).unwrap();
    let mut objects = written(&cluster);
    let service = Arc::make_mut(&mut objects.services[0]);
    service.spec.as_mut().unwrap().selector.as_mut().unwrap().insert("more".into(), "x".into());
    let budget = Arc::make_mut(&mut objects.budgets[0]);
    budget.spec.as_mut().unwrap().selector = None;
    let world = world(&sight(&cluster, &validated, &objects, &Idle::default()));
    let name = "live-gateway".to_owned();
    assert!(world.owned.contains(&Object::Service { name, hash: String::new() }));
    let budgets = world.owned.iter().filter(|object| matches!(object, Object::PodDisruptionBudget { .. }));
    assert_eq!(budgets.count(), 2, "the edited one does not count");
}

#[test]
fn what_an_earlier_cluster_of_the_same_name_left_is_not_seen() {
    let cluster = cluster();
    let validated = validate::cluster(&cluster.spec).unwrap();
    let owned_by = |uid: &str| {
        with(
            a_pod(),
            "/metadata/ownerReferences",
            json!([
                {"apiVersion": "throng.dev/v1alpha1", "kind": "ChatroomCluster", "name": "live", "uid": uid, "controller": true},
            ]),
        )
    };
    for (uid, seen) in [("c1", 1), ("c0", 0)] {
        let pods = vec![Arc::new(serde_json::from_value(owned_by(uid)).unwrap())];
        let objects = Objects { pods, ..Objects::default() };
        assert_eq!(world(&sight(&cluster, &validated, &objects, &Idle::default())).pods.len(), seen);
    }
}

#[test]
fn a_cluster_that_is_deleted_says_so_and_what_the_shell_states_is_in_its_status() {
    let mut cluster = cluster();
    cluster.metadata.deletion_timestamp = Some(Time("2026-11-22T08:00:00Z".parse().unwrap()));
    cluster.metadata.finalizers = Some(vec!["other".into(), names::FINALIZER.into()]);
    cluster.metadata.annotations = Some([(names::LET_GO.to_owned(), "true".to_owned())].into());
    let validated = validate::cluster(&cluster.spec).unwrap();
    let (objects, idle) = (Objects::default(), Idle::default());
    let condition = Condition {
        kind: "SpecValid".into(),
        status: throng_plan::status::Holds::True,
        observed_generation: Some(4),
        last_transition_time: Utc(Millis(1)),
        reason: "Valid".into(),
        message: String::new(),
    };
    let conditions = [condition.clone()];
    let sight = Sight { conditions: &conditions, ..sight(&cluster, &validated, &objects, &idle) };
    let world = world(&sight);
    assert_eq!(world.cluster.deleted_at, Some(Utc(Millis(1_795_334_400_000))));
    assert!(world.cluster.finalizer && world.cluster.let_go);
    assert_eq!(world.status.conditions, [condition]);
    let plan = throng_plan::plan(&world);
    assert!(plan.conditions.iter().any(|condition| condition.kind == "SpecValid"), "the planner keeps it");
}

#[test]
fn a_revision_without_its_hash_is_none() {
    let cluster = cluster();
    let hash = throng_crds::shape::hash(&cluster.spec);
    let mut stored = crate::render::revision::revision(&owner(&cluster), "live-2", 2, &hash);
    let (number, revision) = owned::revision(&stored).unwrap();
    assert_eq!((number, revision.image.as_str(), revision.hash), (2, "throng:0.1.0", hash));
    stored.revision = -2;
    assert_eq!(owned::revision(&stored), None);
    stored.revision = 2;
    stored.metadata.annotations = None;
    assert_eq!(owned::revision(&stored), None);
}
