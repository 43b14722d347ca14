//! What a person would compare: everything but times, uids, numbers and zones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use throng_core::slot::SLOTS;
use throng_core::{Role, Slot};
use throng_plan::status::Holds;

use super::api::{Kind, Object};
use super::ground::Ground;
use super::ground::spec::{CLUSTER, SHAPE, size};
use super::see::CONTENT;

/// A world in the large, as lines by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome(BTreeMap<String, String>);

impl Outcome {
    /// What is there.
    pub(crate) fn of(ground: &Ground) -> Self {
        let mut lines = BTreeMap::new();
        for (_, pod) in ground.api.list(Kind::Pod) {
            let role = pod.field("labels.role");
            let state = format!(
                "{} ready={} serving={} going={} serves={}",
                pod.field(SHAPE),
                pod.state("ready"),
                pod.field("labels.serving"),
                pod.deleted_at.is_some(),
                ground.serves(&pod.uid)
            );
            let same = lines.keys().filter(|key: &&String| key.starts_with(&format!("{role} "))).count();
            lines.insert(format!("{role} {same:03}"), state);
        }
        for kind in [Kind::Secret, Kind::Service, Kind::Policy, Kind::Budget] {
            let all = ground.api.list(kind);
            lines.extend(all.map(|(name, found)| (format!("{kind:?} {name}"), content(found))));
        }
        lines.insert("processes".to_owned(), ground.processes.len().to_string());
        lines.insert("operations".to_owned(), ground.api.list(Kind::Operation).count().to_string());
        if let Some(cluster) = ground.api.get(Kind::Cluster, CLUSTER) {
            lines.insert("finalizers".to_owned(), cluster.finalizers.len().to_string());
            let status = ground.statuses.of(cluster);
            lines.insert("drains".to_owned(), status.drains.len().to_string());
            let holds = status.conditions.iter().filter(|condition| condition.status == Holds::True);
            lines.insert(
                "conditions".to_owned(),
                holds.map(|condition| condition.kind.as_str()).collect::<Vec<_>>().join(","),
            );
            for role in [Role::Chatroom, Role::Message] {
                lines.insert(format!("slots of {role}"), slots(ground, role));
            }
        }
        Self(lines)
    }

    /// What a spec alone says should be there; a rollback that somebody asked for is obeyed as long as the spec asks for what
    /// it blocks.
    pub(crate) fn expected(ground: &Ground) -> Self {
        let none = ["processes", "operations"].map(|name| (name.to_owned(), "0".to_owned()));
        let mut lines: BTreeMap<String, String> = none.into();
        let cluster = ground.api.get(Kind::Cluster, CLUSTER);
        let Some(cluster) = cluster.filter(|cluster| cluster.deleted_at.is_none()) else { return Self(lines) };
        let (mut all, instead) = (0, instead(ground, cluster));
        let shape = instead.as_deref().unwrap_or(cluster.field(SHAPE));
        for role in Role::ALL {
            let pods = size(cluster, role);
            all += pods;
            let state = format!("{shape} ready=true serving=true going=false serves=true");
            lines.extend((0..pods).map(|place| (format!("{role} {place:03}"), state.clone())));
            lines.insert(format!("Policy {CLUSTER}-{role}"), CONTENT.to_owned());
            lines.insert(format!("Budget {CLUSTER}-{role}"), format!("{role} {}", pods.saturating_sub(1)));
        }
        lines.insert(format!("Service {CLUSTER}-gateway"), CONTENT.to_owned());
        lines.insert(format!("Secret {CLUSTER}-pod-key"), String::new());
        lines.insert("processes".to_owned(), all.to_string());
        lines.insert("finalizers".to_owned(), "1".to_owned());
        lines.insert("drains".to_owned(), "0".to_owned());
        let conditions = if instead.is_some() { "Ready,RolledBack" } else { "Ready" };
        lines.insert("conditions".to_owned(), conditions.to_owned());
        for role in [Role::Chatroom, Role::Message] {
            lines.insert(
                format!("slots of {role}"),
                format!("{} Pods own {SLOTS}, all where they should be", size(cluster, role)),
            );
        }
        Self(lines)
    }

    /// What is not as expected.
    pub(crate) fn difference(&self, expected: &Self) -> String {
        let mut text = String::new();
        for key in self.0.keys().chain(expected.0.keys().filter(|key| !self.0.contains_key(*key))) {
            let (is, should) = (self.0.get(key), expected.0.get(key));
            if is != should {
                let _ = write!(text, "{key} is {is:?}, should be {should:?}; ");
            }
        }
        text
    }
}

/// The shape of a revision that serves instead of the one that the spec asks for, because that is blocked.
fn instead(ground: &Ground, cluster: &Object) -> Option<String> {
    let status = ground.statuses.of(cluster);
    let rollback = status.rollback.as_ref()?;
    let number = rollback.to.to_string();
    let mut stored = ground.api.list(Kind::Revision).filter(|(_, stored)| stored.field("spec.number") == number);
    let shape = stored.next().map(|(_, stored)| stored.field(SHAPE).to_owned());
    shape.filter(|_| rollback.blocked_revision.hash == cluster.field(SHAPE))
}

fn content(found: &Object) -> String {
    let parts = ["spec.role", "spec.min", "spec.content"].map(|path| found.field(path));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn slots(ground: &Ground, role: Role) -> String {
    let registry = ground.etcd.now();
    let claims = registry.claims.of(role);
    let Some(document) = &registry.documents.of(role).in_force else { return "no placement".to_owned() };
    let place = |uid: &Arc<str>| {
        let pod = &registry.members.get(&**uid)?.pod;
        document.0.pods().iter().position(|placed| *placed.pod == **pod)
    };
    let places: Vec<Option<usize>> = claims.uids().iter().map(place).collect();
    let there = |(slot, owner): &(Slot, usize)| {
        let is = places.get(*owner).copied().flatten();
        is.is_some() && is == document.0.place(*slot)
    };
    let owned = claims.owned().count();
    let all = if claims.owned().all(|claim| there(&claim)) { "all" } else { "not all" };
    let pods = claims.counts().into_iter().filter(|count| *count > 0).count();
    format!("{pods} Pods own {owned}, {all} where they should be")
}
