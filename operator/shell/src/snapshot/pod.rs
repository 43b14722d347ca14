//! Pods as the planner sees them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as k8s;
use throng_core::Millis;
use throng_plan::status::Utc;
use throng_plan::world::pod::of_name;
use throng_plan::world::{Node, Phase, Pod};

use super::{instant, instant_or_epoch, label};
use crate::names;
use crate::render::{self, Owner};

/// What a container waits for on its way up: no trouble.
const ON_THE_WAY: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// Most characters of what is said of a Pod that does not start.
const MAX_SAID: usize = 300;

/// Whether a Pod of this name has lost a label that it was made with, or has another in its place.
#[must_use]
pub fn is_edited(owner: &Owner<'_>, pod: &k8s::Pod, name: &str) -> bool {
    let Some((role, revision, index)) = of_name(owner.name, name) else { return false };
    let has = |(key, value): (&String, &String)| label(&pod.metadata, key) == Some(value.as_str());
    !render::pod::labels(owner, role, revision, index).iter().all(has)
}

/// The image that a Pod of its revision's `image` should have and has not, because somebody else wrote another. What was changed
/// on the way in, as by an admission webhook, is noted as the operator's own and stays.
#[must_use]
pub fn lost_image<'i>(pod: &k8s::Pod, image: &'i str) -> Option<&'i str> {
    let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let own = containers.find(|container| container.name == render::pod::CONTAINER)?;
    let mut writers = pod.metadata.managed_fields.iter().flatten();
    let by_others = writers.any(|writer| writer.manager.as_deref() != Some(names::MANAGER));
    (by_others && !image.is_empty() && own.image.as_deref() != Some(image)).then_some(image)
}

/// A Pod with its name, which says what it is: labels can be edited. None if it is no name that the operator gives.
#[must_use]
pub fn pod(pod: &k8s::Pod, cluster: &str, nodes: &BTreeMap<String, Node>) -> Option<(String, Pod)> {
    let metadata = &pod.metadata;
    let name = metadata.name.clone()?;
    let (role, revision, index) = of_name(cluster, &name)?;
    let status = pod.status.as_ref();
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty());
    let made_for = label(metadata, names::ZONE).unwrap_or_default();
    let runs_in = node.as_ref().and_then(|node| nodes.get(node)).map(|node| node.zone.as_str());
    let zone = runs_in.filter(|zone| !zone.is_empty()).unwrap_or(made_for).to_owned();
    let converted = Pod {
        uid: metadata.uid.clone()?,
        role,
        revision,
        index,
        node,
        zone,
        phase: phase(status),
        ready: has_condition(status, "Ready", "True"),
        serving: label(metadata, names::SERVING) == Some("true"),
        terminating: terminating(pod),
        trouble: trouble(status),
        restarts: restarts(status),
        created: instant_or_epoch(metadata.creation_timestamp.as_ref()),
    };
    Some((name, converted))
}

fn phase(status: Option<&k8s::PodStatus>) -> Phase {
    match status.and_then(|status| status.phase.as_deref()) {
        None | Some("" | "Pending") => Phase::Pending,
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some(_) => Phase::Unknown,
    }
}

fn has_condition(status: Option<&k8s::PodStatus>, kind: &str, holds: &str) -> bool {
    let conditions = status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == kind && condition.status == holds)
}

/// Since when it is to be deleted: Kubernetes writes down when its grace ends.
fn terminating(pod: &k8s::Pod) -> Option<Utc> {
    let ends = instant(pod.metadata.deletion_timestamp.as_ref()?);
    let grace = u64::try_from(pod.metadata.deletion_grace_period_seconds.unwrap_or(0)).unwrap_or(0);
    Some(Utc(Millis(ends.0.0.saturating_sub(grace.saturating_mul(1000)))))
}

/// Why it does not start, in the word of Kubernetes, with what is said of it after a colon.
fn trouble(status: Option<&k8s::PodStatus>) -> Option<String> {
    let status = status?;
    let mut containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let unscheduled = || {
        let conditions = status.conditions.iter().flatten();
        let mut unscheduled =
            conditions.filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
        unscheduled.find_map(|condition| Some(told(condition.reason.as_deref()?, condition.message.as_deref())))
    };
    let own = || Some(told(status.reason.as_deref()?, status.message.as_deref()));
    containers.find_map(waiting).or_else(unscheduled).or_else(own).filter(|told| !told.is_empty())
}

/// What a container waits for. Of one that ends again and again its own last words say more than that Kubernetes waits.
fn waiting(container: &k8s::ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| !ON_THE_WAY.contains(reason))?;
    let ended = || container.last_state.as_ref()?.terminated.as_ref()?.message.as_deref();
    let said = if reason == "CrashLoopBackOff" { ended() } else { waiting.message.as_deref() };
    Some(told(reason, said))
}

fn told(reason: &str, said: Option<&str>) -> String {
    let last = said.and_then(|said| said.lines().map(str::trim).rfind(|line| !line.is_empty()));
    let clipped: String = last.unwrap_or_default().chars().take(MAX_SAID).collect();
    if clipped.is_empty() { reason.to_owned() } else { format!("{reason}: {clipped}") }
}

fn restarts(status: Option<&k8s::PodStatus>) -> u32 {
    let containers = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    containers.fold(0, |sum, container| sum.saturating_add(u32::try_from(container.restart_count).unwrap_or(0)))
}
