use k8s_openapi::api::core::v1 as k8s;
use serde_json::{Value, json};
use throng_core::{Millis, Role};
use throng_plan::pools::Pools;
use throng_plan::world::{Edited, Node, Object, Phase};

use super::*;
use crate::example::cluster;
use crate::render::pod::Birth;
use crate::render::{self, budget, policy, service};

fn node(value: Value) -> Option<(String, Node)> {
    node::node(&serde_json::from_value::<k8s::Node>(value).unwrap(), &cluster().spec)
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

/// A Pod as the operator makes it, with its owner.
fn made(cluster: &ChatroomCluster) -> Value {
    let birth = Birth { name: "live-gateway-3-7", role: Role::Gateway, revision: 3, index: 7, zone: "" };
    let mut pod = serde_json::to_value(render::pod::pod(&owner(cluster), &birth)).unwrap();
    pod["metadata"]["uid"] = json!("u7");
    pod
}

fn edited(cluster: &ChatroomCluster, objects: &Objects) -> (World, Vec<Edited>) {
    let validated = validate::cluster(&cluster.spec).unwrap();
    let world = world(&sight(cluster, &validated, objects, &Idle::default()));
    let edited = world.edited.iter().cloned().collect();
    (world, edited)
}

#[test]
fn a_pod_is_what_its_name_says_and_one_that_lost_a_label_is_to_get_it_back() {
    let cluster = cluster();
    let seen = |pod: Value| {
        let pods = vec![Arc::new(serde_json::from_value(pod).unwrap())];
        edited(&cluster, &Objects { pods, ..Objects::default() })
    };
    let (world, none) = seen(made(&cluster));
    assert_eq!((world.pods.len(), none.len()), (1, 0));
    let lost = [Edited::Pod { name: "live-gateway-3-7".into(), uid: "u7".into() }];
    for label in ["cluster", "role", "revision", "index"] {
        for value in [None, Some("9"), Some("chatroom"), Some("")] {
            let mut pod = made(&cluster);
            let labels = pod["metadata"]["labels"].as_object_mut().unwrap();
            let before = labels.remove(&format!("throng.dev/{label}"));
            assert!(before.is_some(), "{label} is one of its labels");
            labels.extend(value.map(|value| (format!("throng.dev/{label}"), json!(value))));
            let (world, edited) = seen(pod);
            let pod = &world.pods["live-gateway-3-7"];
            assert_eq!((pod.role, pod.revision, pod.index), (Role::Gateway, 3, 7), "{label}={value:?}");
            assert_eq!(edited, lost, "{label}={value:?}");
        }
    }
    let other = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r", "controller": true}]);
    let name = ("/metadata/name", json!("live-gateway-03-7"));
    for (place, value) in [name, ("/metadata/ownerReferences", other)] {
        let (world, edited) = seen(with(made(&cluster), place, value));
        assert_eq!((world.pods.len(), edited.len()), (0, 0), "it is somebody else's");
    }
}

#[test]
fn a_pod_without_an_owner_is_ours_if_its_labels_say_so_and_is_to_get_it_back() {
    let cluster = cluster();
    let seen = |pod: Value| {
        let pods = vec![Arc::new(serde_json::from_value(pod).unwrap())];
        let (world, edited) = edited(&cluster, &Objects { pods, ..Objects::default() });
        (world.pods.len(), edited.len())
    };
    for none in [json!([]), Value::Null] {
        let alone = with(made(&cluster), "/metadata/ownerReferences", none);
        assert_eq!(seen(alone.clone()), (1, 1), "it is drained as before, and gets its owner back");
        for label in ["throng.dev/cluster", "app.kubernetes.io/managed-by"] {
            let mut unknown = alone.clone();
            unknown["metadata"]["labels"][label] = json!("another");
            assert_eq!(seen(unknown), (0, 0), "{label}");
        }
    }
}

#[test]
fn owners_that_do_not_control_an_object_stay_beside_the_cluster() {
    let cluster = cluster();
    let of = |owners: Value| serde_json::from_value::<ObjectMeta>(json!({"ownerReferences": owners})).unwrap();
    let another = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "a"});
    let mended = owners(&owner(&cluster), &of(json!([another])));
    assert_eq!(
        mended.iter().map(|one| (one.uid.as_str(), one.controller)).collect::<Vec<_>>(),
        [("a", None), ("c1", Some(true))]
    );
    assert_eq!(
        owners(&owner(&cluster), &ObjectMeta { owner_references: Some(mended.clone()), ..Default::default() }),
        mended
    );
}

#[test]
fn a_pod_whose_image_somebody_changed_is_to_get_that_of_its_revision_back() {
    let cluster = cluster();
    let hash = throng_crds::shape::hash(&cluster.spec);
    let revisions = vec![Arc::new(render::revision::revision(&owner(&cluster), "live-3", 3, &hash))];
    let seen = |image: &str, by: &str| {
        let mut pod = made(&cluster);
        pod["spec"]["containers"][0]["image"] = json!(image);
        pod["metadata"]["managedFields"] = json!([{"manager": by}]);
        let pods = vec![Arc::new(serde_json::from_value(pod).unwrap())];
        edited(&cluster, &Objects { pods, revisions: revisions.clone(), ..Objects::default() }).1.len()
    };
    assert_eq!(cluster.spec.image, "throng:0.1.0");
    assert_eq!(seen("throng:0.1.0", "kubectl-set"), 0, "it is the same");
    assert_eq!(seen("throng:0.2.0", "kubectl-set"), 1);
    // A webhook may have written another while the operator made it.
    assert_eq!(seen("mirror.example.com/throng:0.1.0", names::MANAGER), 0);
}

#[test]
fn a_revision_is_what_its_name_and_its_data_say_and_one_that_was_edited_is_to_be_as_it_was_made() {
    let cluster = cluster();
    let hash = throng_crds::shape::hash(&cluster.spec);
    let as_made = || {
        let mut stored = render::revision::revision(&owner(&cluster), "live-2", 2, &hash);
        stored.metadata.uid = Some("r2".into());
        stored
    };
    let seen = |stored: ControllerRevision| {
        edited(&cluster, &Objects { revisions: vec![Arc::new(stored)], ..Objects::default() })
    };
    let (world, none) = seen(as_made());
    assert_eq!((&world.revisions[&2].hash, world.revisions[&2].image.as_str(), none.len()), (&hash, "throng:0.1.0", 0));
    let edits: [fn(&mut ControllerRevision); 5] = [
        |stored| stored.revision = 7,
        |stored| stored.revision = -2,
        |stored| stored.metadata.annotations = None,
        |stored| stored.metadata.annotations = Some([(names::SHAPE.to_owned(), "another".to_owned())].into()),
        |stored| drop(stored.metadata.labels.as_mut().unwrap().remove(names::CLUSTER)),
    ];
    for (at, edit) in edits.into_iter().enumerate() {
        let mut stored = as_made();
        edit(&mut stored);
        let (world, edited) = seen(stored);
        assert_eq!(world.revisions.keys().collect::<Vec<_>>(), [&2], "edit {at}");
        assert_eq!(world.revisions[&2].hash, hash, "edit {at}");
        assert_eq!(edited, [Edited::Revision { name: "live-2".into(), uid: "r2".into() }], "edit {at}");
        assert!(world.owned.contains(&Object::ControllerRevision {
            name: "live-2".into(),
            number: 2,
            hash: hash.clone()
        }));
    }
    for name in ["live-0", "live-02", "live-two", "other-2"] {
        let mut stored = as_made();
        stored.metadata.name = Some(name.into());
        let (world, edited) = seen(stored);
        assert_eq!((world.revisions.len(), edited.len()), (0, 0), "{name}");
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
    let refuses = Pools::from_fn(|_| true);
    assert_eq!(seen, Node { zone: "eu-1a".into(), labels, cordoned: true, taints, refuses, ready: false, since });
}

#[test]
fn a_node_refuses_what_does_not_tolerate_its_taints_or_selects_other_labels() {
    let tolerates = |toleration: Value| json!({"tolerations": [toleration]});
    let refuses = |effect: &str, template: Value| {
        let node = json!({
            "metadata": {"name": "n", "labels": {"disk": "fast"}},
            "spec": {"taints": [{"key": "dedicated", "value": "db", "effect": effect}]},
        });
        let mut spec = serde_json::to_value(cluster().spec).unwrap();
        spec["chatroom"]["template"] = template;
        let refuses = node::node(&serde_json::from_value(node).unwrap(), &serde_json::from_value(spec).unwrap());
        let refuses = refuses.unwrap().1.refuses;
        assert_eq!(refuses.gateway, effect != "PreferNoSchedule", "what another pool tolerates is of no use");
        refuses.chatroom
    };
    for effect in ["NoSchedule", "NoExecute"] {
        assert!(refuses(effect, json!({})));
        assert!(!refuses(effect, tolerates(json!({"operator": "Exists"}))), "whatever there is");
        assert!(!refuses(effect, tolerates(json!({"key": "dedicated", "operator": "Exists"}))));
        assert!(!refuses(effect, tolerates(json!({"key": "dedicated", "value": "db", "effect": effect}))));
        assert!(refuses(effect, tolerates(json!({"key": "dedicated", "value": "web"}))));
        assert!(refuses(effect, tolerates(json!({"key": "other", "operator": "Exists"}))));
        assert!(refuses(effect, tolerates(json!({"operator": "Exists", "effect": "PreferNoSchedule"}))));
    }
    assert!(!refuses("PreferNoSchedule", json!({})), "it is only less liked");
    assert!(!refuses("PreferNoSchedule", json!({"nodeSelector": {"disk": "fast"}})));
    assert!(refuses("PreferNoSchedule", json!({"nodeSelector": {"disk": "slow"}})));
    assert!(refuses("PreferNoSchedule", json!({"nodeSelector": {"arch": "arm64"}})), "it has no such label");
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
