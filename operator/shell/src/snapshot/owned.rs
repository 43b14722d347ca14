//! What the operator owns beside Pods: as it is, and as it should be.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use throng_core::Role;
use throng_plan::world::pod::of_name;
use throng_plan::world::{Edited, Object, Rendered, Revision};

use super::{Objects, Whose, instant_or_epoch, pod, whose};
use crate::names;
use crate::render::{Owner, budget, drift, policy, revision, service};

/// A stored revision by its number, whatever somebody wrote over it. None if it is no revision of this cluster.
#[must_use]
pub fn revision(owner: &Owner<'_>, stored: &ControllerRevision) -> Option<(u64, Revision)> {
    let (number, hash) = revision::made_as(owner, stored)?;
    let image = stored.data.as_ref().and_then(|data| data.0.get("image")?.as_str());
    let created = instant_or_epoch(stored.metadata.creation_timestamp.as_ref());
    Some((number, Revision { hash, image: image.unwrap_or_default().to_owned(), created }))
}

/// Pods and revisions of the cluster that somebody edited.
#[must_use]
pub fn edited(owner: &Owner<'_>, objects: &Objects, known: &BTreeMap<u64, Revision>) -> BTreeSet<Edited> {
    let named = |metadata: &ObjectMeta| {
        let whose = whose(owner, metadata);
        let named = metadata.name.clone().zip(metadata.uid.clone());
        named.filter(|_| whose.is_ours()).map(|(name, uid)| (name, uid, whose == Whose::Released))
    };
    let pods = objects.pods.iter().filter_map(|pod| {
        let (name, uid, released) = named(&pod.metadata)?;
        let revision = of_name(owner.name, &name).and_then(|(_, number, _)| known.get(&number));
        let image = revision.is_some_and(|revision| pod::lost_image(pod, &revision.image).is_some());
        (pod::is_edited(owner, pod, &name) || released || image).then_some(Edited::Pod { name, uid })
    });
    let revisions = objects.revisions.iter().filter_map(|stored| {
        let (name, uid, released) = named(&stored.metadata)?;
        let (number, hash) = revision::made_as(owner, stored)?;
        (revision::is_edited(owner, stored, number, &hash) || released).then_some(Edited::Revision { name, uid })
    });
    pods.chain(revisions).collect()
}

/// Objects as they should be.
#[must_use]
pub fn rendered(owner: &Owner<'_>) -> Rendered {
    let gateway = (names::of_role(owner.name, Role::Gateway), drift::hash(&service::gateway(owner)));
    let policy = |role| (names::of_role(owner.name, role), drift::hash(&policy::policy(owner, role)));
    Rendered { services: [gateway].into(), network_policies: Role::ALL.map(policy).into() }
}

/// Objects as they are. One that is not as it was written has no hash, so it is written again.
#[must_use]
pub fn owned(owner: &Owner<'_>, objects: &Objects, has_keys: bool) -> BTreeSet<Object> {
    let mut all = BTreeSet::new();
    if has_keys {
        all.insert(Object::PodKeySecret { name: names::key_secret(owner.name) });
    }
    let mine = |metadata: &_| whose(owner, metadata).is_ours();
    for stored in objects.revisions.iter().filter(|stored| mine(&stored.metadata)) {
        if let (Some(name), Some((number, revision))) = (stored.metadata.name.clone(), revision(owner, stored)) {
            all.insert(Object::ControllerRevision { name, number, hash: revision.hash });
        }
    }
    let wanted = service::gateway(owner);
    for found in objects.services.iter().filter(|found| found.metadata.name == wanted.metadata.name) {
        let hash = if drift::is_as_rendered(&wanted, &**found) { drift::hash(&wanted) } else { String::new() };
        all.insert(Object::Service { name: names::of_role(owner.name, Role::Gateway), hash });
    }
    for role in Role::ALL {
        let wanted = policy::policy(owner, role);
        for found in objects.policies.iter().filter(|found| found.metadata.name == wanted.metadata.name) {
            let hash = if drift::is_as_rendered(&wanted, &**found) { drift::hash(&wanted) } else { String::new() };
            all.insert(Object::NetworkPolicy { name: names::of_role(owner.name, role), hash });
        }
        let name = names::of_role(owner.name, role);
        let mut found = objects.budgets.iter().filter(|found| found.metadata.name.as_ref() == Some(&name));
        all.extend(found.find_map(|found| budget(owner, &name, role, found)));
    }
    all
}

/// A budget as it is; none if anything but its number was changed.
fn budget(owner: &Owner<'_>, name: &str, role: Role, found: &PodDisruptionBudget) -> Option<Object> {
    let Some(IntOrString::Int(min_available)) = found.spec.as_ref()?.min_available else { return None };
    let min_available = u32::try_from(min_available).ok()?;
    let wanted = budget::budget(owner, name, role, min_available);
    let same = drift::is_as_rendered(&wanted, found);
    same.then(|| Object::PodDisruptionBudget { name: name.to_owned(), role, min_available })
}
