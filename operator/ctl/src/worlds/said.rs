//! What the operator's own planner says of a world for tests: its conditions and its lines of why, so that no page shows a
//! sentence that no operator writes.

use std::collections::{BTreeMap, BTreeSet};

use throng_core::{Role, Slot};
use throng_operator::snapshot::pod::pod as read;
use throng_plan::plan::{Action, Plan};
use throng_plan::spec::ShapeHash;
use throng_plan::status::Utc;
use throng_plan::world::sample::users_load;
use throng_plan::world::{Claim, Cluster, Node, Object, Pod, Revision};
use throng_plan::{World, plan};

use crate::planning::assumed;
use crate::seen::Seen;

/// Writes into the status of a world what the planner says of it; `cordoned`: nodes that take no new Pods.
pub(super) fn by_the_planner(mut seen: Seen, cordoned: &[&str]) -> Seen {
    let said = planned(&seen, cordoned).status;
    let status = seen.cluster.status.as_mut().unwrap();
    (status.conditions, status.why) = (said.conditions, said.why);
    seen
}

/// A look of the planner at a world whose slots are where they should be, and whose objects are as they were made.
pub(super) fn planned(seen: &Seen, cordoned: &[&str]) -> Plan {
    let mut world = world(seen, cordoned);
    assumed::fill(&mut world, true);
    spread(&mut world);
    for _ in 0..3 {
        place(&mut world);
    }
    plan(&world)
}

fn world(seen: &Seen, cordoned: &[&str]) -> World {
    let status = seen.cluster.status.clone().unwrap();
    let mut spec = throng_crds::validate::cluster(&seen.cluster.spec).unwrap().spec;
    let asked = status.revisions.iter().map(|revision| revision.number).max().unwrap();
    spec.shape = ShapeHash::new(format!("h{asked}"));
    let revisions = status.revisions.iter().map(|known| {
        let hash = ShapeHash::new(&known.hash);
        (known.number, Revision { hash, image: known.image.clone(), created: known.since })
    });
    let stored = revisions.clone().map(|(number, known)| {
        let name = format!("live-{number}");
        Object::ControllerRevision { name, number, hash: known.hash }
    });
    let pods: BTreeMap<String, Pod> =
        seen.pods.iter().flatten().filter_map(|pod| read(pod, "live", &BTreeMap::new())).collect();
    let node = |pod: &Pod| {
        let name = pod.node.clone()?;
        let cordoned = cordoned.contains(&name.as_str());
        Some((name, Node { zone: pod.zone.clone(), ready: true, cordoned, ..Node::default() }))
    };
    let deleted_at = seen.cluster.metadata.deletion_timestamp.as_ref().map(|at| Utc::of(at.0));
    World {
        now: seen.now,
        cluster: Cluster { name: "live".into(), generation: 4, deleted_at, finalizer: true, let_go: false },
        spec,
        leader_epoch: 1,
        revisions: revisions.collect(),
        nodes: pods.values().filter_map(node).collect(),
        pods,
        registry: None,
        samples: BTreeMap::new(),
        operations: BTreeMap::new(),
        owned: stored.chain([Object::PodKeySecret { name: "live-pod-key".into() }]).collect(),
        edited: BTreeSet::new(),
        rendered: throng_plan::world::Rendered::default(),
        status,
    }
}

/// Users as the status tells of them: those of each revision on its gateways, those that are left on a Pod that is drained.
fn spread(world: &mut World) {
    let drained = |uid: &str| world.status.drains.iter().find(|drain| drain.uid == uid);
    for known in &world.status.revisions {
        let gateways: Vec<&Pod> = world
            .pods
            .values()
            .filter(|pod| pod.role == Role::Gateway && pod.revision == known.number && pod.ready)
            .collect();
        let left = |pod: &&Pod| drained(&pod.uid).map(|drain| drain.users_left);
        let leaving: u64 = gateways.iter().filter_map(left).sum();
        let staying = gateways.iter().filter(|pod| left(pod).is_none()).count() as u64;
        for pod in &gateways {
            let users = left(pod).unwrap_or((known.users - leaving) / staying.max(1));
            if let Some(sample) = world.samples.get_mut(&pod.uid) {
                sample.load.insert(users_load(Role::Gateway).to_owned(), users as f64);
            }
        }
    }
}

/// Slots are where a look wants them, and Pods have heard of the policy.
fn place(world: &mut World) {
    let actions = plan(world).actions;
    let Some(registry) = &mut world.registry else { return };
    for action in actions {
        match action {
            Action::WriteTarget { role, document } => registry.documents.of_mut(role).target = Some(document),
            Action::WritePlacement { role, document } => {
                let claims = registry.claims.of_mut(role);
                for (slot, placed) in Slot::all().filter_map(|slot| Some((slot, document.0.owner(slot)?))) {
                    let owner = registry.members.iter().find(|(_, member)| *member.pod == *placed.pod);
                    let uid = owner.map(|(uid, _)| uid.as_str().into());
                    if let Some(uid) = uid {
                        claims.insert(slot, &Claim { uid, rooms: 0, users: 0 });
                    }
                }
                registry.documents.of_mut(role).in_force = Some(document);
            }
            Action::WritePolicy { policy } => registry.policy = Some(policy),
            _ => {}
        }
    }
}
