//! What only the operator knows, assumed from what everybody can read: who lives in etcd, and what each Pod carries.
//!
//! Every Pod that is ready is taken as a living process, and users as spread evenly over those that serve. Slots are left
//! out: which of them move first is not told.

use std::collections::BTreeMap;

use throng_core::Role;
use throng_plan::plan;
use throng_plan::plan::Action;
use throng_plan::status::DrainStatus;
use throng_plan::world::sample::users_load;
use throng_plan::world::{Member, Node, Object, Pod, Registry, Sample, World};

/// What is assumed, in words for people.
pub const WORDS: [&str; 3] = [
    "etcd is not asked: every Pod that is ready counts as a living process, and moves of slots are not shown",
    "Pods are not asked: users are spread evenly over them, and pressure that users do not explain counts as CPU",
    "the Secret with the keys of the cluster is taken to be there if the cluster has a revision",
];

/// Puts into a world what is assumed of it.
pub fn fill(world: &mut World, nodes_known: bool) {
    if !nodes_known {
        world.nodes = nodes(&world.pods);
    }
    world.samples = samples(world);
    world.registry = Some(registry(world));
}

/// Takes a world as settled: slots are placed where they should be and, if objects could not be listed, these are as they
/// should be. So what is planned for another spec comes from that spec.
pub fn settle(world: &mut World, objects_known: bool) {
    for action in plan(world).actions {
        match (action, &mut world.registry) {
            (Action::Apply(Object::ControllerRevision { .. }), _) => {}
            (Action::Restore(edited), _) => drop(world.edited.remove(&edited)),
            (Action::Apply(object), _) if !objects_known => drop(world.owned.insert(object)),
            (Action::WriteTarget { role, document }, Some(registry)) => {
                registry.documents.of_mut(role).target = Some(document);
            }
            (Action::WritePlacement { role, document }, Some(registry)) => {
                registry.documents.of_mut(role).in_force = Some(document);
            }
            _ => {}
        }
    }
}

fn registry(world: &World) -> Registry {
    let drains = |uid: &str| drain(world, uid).is_some();
    let member = |(name, pod): (&String, &Pod)| {
        let member = Member { pod: name.clone(), role: pod.role, ready: true, draining: drains(&pod.uid) };
        pod.ready.then(|| (pod.uid.clone(), member))
    };
    Registry { members: world.pods.iter().filter_map(member).collect(), ..Registry::default() }
}

fn drain<'w>(world: &'w World, uid: &str) -> Option<&'w DrainStatus> {
    world.status.drains.iter().find(|drain| drain.uid == uid)
}

/// Of each Pod that is ready: its share of the users, and the pressure that the status tells of its pool.
fn samples(world: &World) -> BTreeMap<String, Sample> {
    let mut samples = BTreeMap::new();
    for role in Role::ALL {
        let pool = world.status.pools.of(role);
        let drained: u64 = world
            .pods
            .values()
            .filter(|pod| pod.role == role)
            .filter_map(|pod| drain(world, &pod.uid))
            .fold(0, |users, drain| users.saturating_add(drain.users_left));
        let each = pool.users.saturating_sub(drained) / u64::from(pool.ready.max(1));
        let cpu = cpu(world, role, each);
        for pod in world.pods.values().filter(|pod| pod.role == role && pod.ready) {
            let users = drain(world, &pod.uid).map_or(if pod.serving { each } else { 0 }, |drain| drain.users_left);
            let mut load = BTreeMap::from([(users_load(role).to_owned(), users as f64)]);
            if let Some(cpu) = cpu.filter(|_| pod.serving) {
                load.insert("cpu_percent".to_owned(), cpu);
            }
            // A Pod that serves has something to give away, if only slots; so none is taken to be empty.
            let left = users.max(u64::from(pod.serving));
            let draining = drain(world, &pod.uid).is_some();
            samples.insert(pod.uid.clone(), Sample { at: world.now, load, left, draining, unready: Vec::new() });
        }
    }
    samples
}

/// Use of the CPU that explains the pressure of a pool, where users do not.
fn cpu(world: &World, role: Role, users: u64) -> Option<f64> {
    let targets = &world.spec.pools.of(role).targets;
    let target = |load: &str| targets.iter().find(|target| target.load == load).map(|target| target.per_pod);
    let told = f64::from(world.status.pools.of(role).pressure_percent) / 100.0;
    let by_users = target(users_load(role)).map_or(0.0, |per_pod| users as f64 / per_pod);
    target("cpu_percent").filter(|_| told > by_users + 0.01).map(|per_pod| told * per_pod)
}

/// The nodes that Pods run on, taken as good.
fn nodes(pods: &BTreeMap<String, Pod>) -> BTreeMap<String, Node> {
    let node = |pod: &Pod| Some((pod.node.clone()?, Node { zone: pod.zone.clone(), ready: true, ..Node::default() }));
    pods.values().filter_map(node).collect()
}
