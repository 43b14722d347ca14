//! From what an operator has seen to the world of the planner, as the shell around the real planner does it.

use std::collections::{BTreeMap, BTreeSet};

use throng_core::{Millis, Role};
use throng_plan::World;
use throng_plan::pools::Pools;
use throng_plan::spec::{Operation, ShapeHash};
use throng_plan::status::{ClusterStatus, OperationStatus, Utc};
use throng_plan::world::{Cluster, Edited, Node, Object as Owned, Phase, Pod, Registry, Rendered, Revision, Sample};

use super::api::watch::Informer;
use super::api::{Kind, Object};
use super::ground::statuses::Statuses;
use super::ground::{asks, spec};

/// Content of a Service or a network policy as it should be.
pub(crate) const CONTENT: &str = "as-rendered";

/// The label of the cluster, which people may take off.
pub(crate) const WATCHED: &str = "labels.cluster";
/// Number of a revision, which people may write over.
pub(crate) const NUMBER: &str = "spec.number";
/// The shape that a revision holds: the server lets nobody change it.
pub(crate) const DATA: &str = "data.shape";

/// What is seen beside the objects of the API server.
pub(crate) struct Sight<'a> {
    pub(crate) now: Millis,
    pub(crate) informer: &'a Informer,
    pub(crate) leader_epoch: u64,
    pub(crate) registry: Option<Registry>,
    pub(crate) statuses: &'a Statuses<ClusterStatus>,
    pub(crate) answers: &'a Statuses<OperationStatus>,
    /// Taken if there is a world; whoever looks puts it back.
    pub(crate) heard: &'a mut BTreeMap<String, Sample>,
}

/// The world as it is seen; none while the cluster is not.
pub(crate) fn world(sight: Sight<'_>) -> Option<World> {
    let informer = sight.informer;
    let clusters = informer.view(Kind::Cluster);
    let cluster = clusters.get(spec::CLUSTER)?;
    let nodes: BTreeMap<String, Node> =
        informer.view(Kind::Node).iter().map(|(name, found)| (name.clone(), node(found))).collect();
    let mine = |object: &Object| object.owner.as_ref() == Some(&cluster.uid);
    let pods = informer.view(Kind::Pod);
    let pods = pods.iter().filter(|(_, found)| mine(found));
    let pods = pods.filter_map(|(name, found)| Some((name.clone(), pod(found, &nodes)?))).collect();
    let stored = informer.view(Kind::Revision);
    let stored = stored.iter().filter(|(_, found)| mine(found));
    let mut edited = BTreeSet::new();
    for kind in [Kind::Pod, Kind::Revision] {
        let seen = informer.view(kind);
        edited.extend(seen.iter().filter(|(_, found)| mine(found)).filter_map(|(name, found)| lost(kind, name, found)));
    }
    let mut all = BTreeSet::new();
    for kind in [Kind::Secret, Kind::Revision, Kind::Service, Kind::Policy, Kind::Budget] {
        let seen = informer.view(kind);
        all.extend(seen.iter().filter(|(_, found)| mine(found)).filter_map(|(name, found)| owned(kind, name, found)));
    }
    Some(World {
        now: Utc(sight.now),
        cluster: Cluster {
            name: spec::CLUSTER.to_owned(),
            generation: cluster.generation,
            deleted_at: cluster.deleted_at.map(Utc),
            finalizer: cluster.finalizers.contains(spec::FINALIZER),
            let_go: false,
        },
        spec: spec::read(cluster),
        leader_epoch: sight.leader_epoch,
        status: (*sight.statuses.of(cluster)).clone(),
        revisions: stored.filter_map(|(name, found)| revision(name, found)).collect(),
        pods,
        nodes,
        registry: sight.registry,
        samples: std::mem::take(sight.heard),
        operations: operations(informer, sight.answers),
        owned: all,
        edited,
        rendered: rendered(),
    })
}

/// What people ask for, by name.
pub(crate) fn operations(informer: &Informer, answers: &Statuses<OperationStatus>) -> BTreeMap<String, Operation> {
    let all = informer.view(Kind::Operation);
    let read = |(name, found): (&String, &std::sync::Arc<Object>)| {
        Some((name.clone(), asks::read(name, found, &answers.of(found))?))
    };
    all.iter().filter_map(read).collect()
}

/// Objects as they should be.
pub(crate) fn rendered() -> Rendered {
    let name = |role: Role| (format!("{}-{role}", spec::CLUSTER), CONTENT.to_owned());
    Rendered { services: [name(Role::Gateway)].into(), network_policies: Role::ALL.map(name).into() }
}

fn node(found: &Object) -> Node {
    let taint = found.field("spec.taints");
    Node {
        zone: found.field("labels.zone").to_owned(),
        labels: [("pool".to_owned(), found.field("labels.pool").to_owned())].into(),
        cordoned: found.field("spec.unschedulable") == "true",
        taints: if taint.is_empty() { BTreeSet::new() } else { [taint.to_owned()].into() },
        refuses: Pools::default(),
        ready: found.state("ready") == "true",
        since: Utc(Millis(found.state("since").parse().unwrap_or(0))),
    }
}

fn pod(found: &Object, nodes: &BTreeMap<String, Node>) -> Option<Pod> {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let node = text(found.field("spec.node"));
    let runs_in = node.as_ref().and_then(|node| nodes.get(node)).map(|node| node.zone.clone());
    Some(Pod {
        uid: found.uid.clone(),
        role: Role::from_text(found.field("labels.role"))?,
        revision: found.field("labels.revision").parse().ok()?,
        index: found.field("labels.index").parse().ok()?,
        node,
        zone: runs_in.unwrap_or_else(|| found.field("labels.zone").to_owned()),
        phase: match found.state("phase") {
            "" => Phase::Pending,
            "Running" => Phase::Running,
            _ => Phase::Failed,
        },
        ready: found.state("ready") == "true",
        serving: found.field("labels.serving") == "true",
        terminating: found.deleted_at.map(Utc),
        trouble: text(found.state("trouble")),
        restarts: found.state("restarts").parse().unwrap_or(0),
        created: Utc(found.created),
    })
}

/// Number and shape that a revision was made with.
pub(crate) fn made_as(name: &str, found: &Object) -> Option<(u64, String)> {
    let number = name.strip_prefix(spec::CLUSTER)?.strip_prefix('-')?.parse().ok()?;
    Some((number, found.field(DATA).to_owned()))
}

fn revision(name: &str, found: &Object) -> Option<(u64, Revision)> {
    let (number, shape) = made_as(name, found)?;
    Some((number, Revision { hash: ShapeHash::new(shape), image: String::new(), created: Utc(found.created) }))
}

/// What somebody edited.
fn lost(kind: Kind, name: &str, found: &Object) -> Option<Edited> {
    let unlabelled = found.field(WATCHED) != spec::CLUSTER;
    let (name, uid) = (name.to_owned(), found.uid.clone());
    if kind == Kind::Pod {
        return unlabelled.then_some(Edited::Pod { name, uid });
    }
    let (number, shape) = made_as(&name, found)?;
    let same = found.field(NUMBER) == number.to_string() && found.field(spec::SHAPE) == shape;
    (unlabelled || !same).then_some(Edited::Revision { name, uid })
}

fn owned(kind: Kind, name: &str, found: &Object) -> Option<Owned> {
    let name = name.to_owned();
    let hash = if found.field("spec.content") == CONTENT { CONTENT } else { "" }.to_owned();
    Some(match kind {
        Kind::Secret => Owned::PodKeySecret { name },
        Kind::Revision => {
            let (number, revision) = revision(&name, found)?;
            Owned::ControllerRevision { name, number, hash: revision.hash }
        }
        Kind::Service => Owned::Service { name, hash },
        Kind::Policy => Owned::NetworkPolicy { name, hash },
        Kind::Budget => {
            let role = Role::from_text(found.field("spec.role"))?;
            Owned::PodDisruptionBudget { name, role, min_available: found.field("spec.min").parse().ok()? }
        }
        Kind::Cluster | Kind::Pod | Kind::Node | Kind::Operation => return None,
    })
}
