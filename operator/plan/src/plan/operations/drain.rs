//! A drain that somebody asked for: Pods that were there when it was asked for are replaced and emptied.

use std::collections::BTreeMap;

use super::super::census::{Census, Seat, State};
use super::super::words::{are, pods};
use super::{Operations, fail, progress, run, succeed};
use crate::spec::Operation;
use crate::spec::operation::Whom;
use crate::status::{MAX_COUNT, OperationPhase, OperationStatus};
use crate::world::World;

/// Names the Pods that it means.
pub(super) fn drain(
    world: &World,
    census: &Census<'_>,
    operations: &mut Operations,
    asks: &Operation,
    whom: &Whom,
    status: &mut OperationStatus,
) {
    if status.started_at.is_none()
        && let Some(wrong) = nobody(world, whom)
    {
        return fail(status, wrong);
    }
    let there = |seat: &&Seat<'_>| seat.pod.created.0 <= asks.asked_at && is_meant(world, seat, whom);
    let living = |seat: &&Seat<'_>| matches!(seat.state, State::Live | State::Going);
    let names: Vec<String> = census.all().filter(there).filter(living).map(|seat| seat.name.to_owned()).collect();
    if let Whom::Zone(zone) = whom {
        operations.closed_zones.insert(zone.clone());
    }
    operations.drains.extend(names.into_iter().map(|name| (name, asks.name.clone())));
    status.phase = OperationPhase::Running;
}

fn is_meant(world: &World, seat: &Seat<'_>, whom: &Whom) -> bool {
    let node = || seat.pod.node.as_ref().and_then(|node| world.nodes.get(node));
    match whom {
        Whom::Pods(names) => names.iter().any(|name| name == seat.name),
        Whom::Nodes(labels) => node().is_some_and(|node| node.has(labels)),
        Whom::Zone(zone) => seat.pod.zone == *zone,
    }
}

/// Why nobody can be meant.
fn nobody(world: &World, whom: &Whom) -> Option<String> {
    match whom {
        Whom::Pods(names) => {
            let missing: Vec<&str> =
                names.iter().filter(|name| !world.pods.contains_key(*name)).map(String::as_str).collect();
            let cluster = &world.cluster.name;
            (!missing.is_empty()).then(|| {
                format!(
                    "there is no Pod {}: `kubectl get pods -l throng.dev/cluster={cluster}` shows all",
                    missing.join(", ")
                )
            })
        }
        Whom::Nodes(labels) => {
            let fits = world.nodes.values().any(|node| node.has(labels));
            (!fits).then(|| "no node has these labels: `kubectl get nodes --show-labels` shows them".to_owned())
        }
        Whom::Zone(zone) => {
            let fits = world.nodes.values().any(|node| node.zone == *zone);
            (!fits).then(|| {
                format!("no node is in zone {zone}: `kubectl get nodes -L topology.kubernetes.io/zone` shows them")
            })
        }
    }
}

/// How far it is.
pub(super) fn settle(census: &Census<'_>, drains: &BTreeMap<String, String>, name: &str, status: &mut OperationStatus) {
    let meant: Vec<&Seat<'_>> =
        census.all().filter(|seat| drains.get(seat.name).is_some_and(|operation| operation == name)).collect();
    let left = meant.iter().fold(0u64, |left, seat| left.saturating_add(seat.load.users)).min(MAX_COUNT);
    progress(status, left);
    if meant.is_empty() {
        succeed(status, "its Pods are empty and gone, others have taken their place".to_owned());
    } else {
        let meant = meant.len() as u64;
        run(status, format!("{} {} replaced and emptied", pods(meant), are(meant)));
    }
}
