//! New Pods: which index they get and which zone.

use std::collections::{BTreeMap, BTreeSet};

use throng_core::Role;

use super::census::Seat;
use super::{Action, Look};
use crate::world::pod::pod_name;

/// Makes `count` Pods: the lowest free indices, each in the zone that has the fewest.
///
/// An index is free when neither a Pod nor a living process has its name, whatever their uid. Indices are used again, so a
/// planner that does not see its own Pods yet asks for the same names once more, and gets no second Pod.
pub(super) fn create(look: &Look<'_>, role: Role, revision: u64, seats: &[Seat<'_>], count: u32) -> Vec<Action> {
    let world = look.world;
    let taken: BTreeSet<u32> =
        seats.iter().filter(|seat| seat.pod.revision == revision).map(|seat| seat.pod.index).collect();
    let members = world.registry.iter().flat_map(|registry| registry.members.values());
    let named: BTreeSet<&str> = members.map(|member| member.pod.as_str()).collect();
    let mut zones = zones(look, role, seats);
    let free = (0..).filter(|index| !taken.contains(index)).map(|index| {
        let name = pod_name(&world.cluster.name, role, revision, index);
        (index, name)
    });
    let free = free.filter(|(_, name)| !named.contains(name.as_str()) && !world.pods.contains_key(name));
    let create = |(index, name)| {
        let zone = emptiest(&mut zones);
        Action::CreatePod { name, role, revision, index, zone }
    };
    free.take(count as usize).map(create).collect()
}

/// Zones that take Pods of this pool, with those that stay there.
fn zones<'a>(look: &Look<'a>, role: Role, seats: &[Seat<'a>]) -> BTreeMap<&'a str, usize> {
    let world = look.world;
    let open = world.nodes.values().filter(|node| {
        let closed = look.course.operations.closed_zones.contains(&node.zone);
        let takes = !*node.refuses.of(role);
        node.ready && takes && !closed && !node.cordoned && !node.is_tainted(&world.spec.drain.taints)
    });
    let mut zones: BTreeMap<&str, usize> = open.map(|node| (node.zone.as_str(), 0)).collect();
    for seat in seats.iter().filter(|seat| seat.stays() && seat.unfit.is_none()) {
        if let Some(pods) = zones.get_mut(seat.pod.zone.as_str()) {
            *pods += 1;
        }
    }
    zones
}

/// The zone with the fewest Pods, which has one more from now on.
fn emptiest(zones: &mut BTreeMap<&str, usize>) -> String {
    let zone = zones.iter_mut().min_by_key(|(zone, pods)| (**pods, **zone));
    zone.map_or_else(String::new, |(zone, pods)| {
        *pods += 1;
        (*zone).to_owned()
    })
}
