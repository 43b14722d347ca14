//! A Pod: the template of its pool, and what the operator decides.
//!
//! It meets *restricted* Pod security: no root, no rights, nothing to write to, no token of the API server.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LocalObjectReference, Pod, PodSecurityContext, PodSpec, SeccompProfile};
use throng_core::Role;
use throng_crds::cluster::template::Template;
use throng_crds::{ChatroomClusterSpec, span::Span};

use super::{Owner, container, mounts, place};
use crate::names;

/// Name of the one container.
pub const CONTAINER: &str = "throng";
/// Ports of every Pod, by name.
pub const GRPC_PORT: i32 = 7070;
/// Health and metrics.
pub const HTTP_PORT: i32 = 7080;
/// Where a gateway takes clients.
pub const PUBLIC_PORT: i32 = 8080;

/// User and group of the process: nobody in particular.
const NOBODY: i64 = 65532;
/// A Pod that was told to end has so long beyond its drain.
const GRACE_S: u64 = 60;
/// A drain that cannot be read: never, for validation came before. As the default of the schema.
const DEADLINE_MS: u64 = 30 * 60 * 1000;

/// A Pod to be made: what the planner asks for.
#[derive(Clone, Copy, Debug)]
pub struct Birth<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its pool.
    pub role: Role,
    /// Number of its revision.
    pub revision: u64,
    /// Its index.
    pub index: u32,
    /// Zone that it should run in; empty: any.
    pub zone: &'a str,
}

/// Renders a Pod. The spec of `owner` is that of the Pod's revision.
#[must_use]
pub fn pod(owner: &Owner<'_>, birth: &Birth<'_>) -> Pod {
    let template = template(owner.spec, birth.role);
    let mut metadata = owner.meta(birth.name);
    let mut all = template.labels.clone();
    all.extend(labels(owner, birth.role, birth.revision, birth.index));
    if !birth.zone.is_empty() {
        all.insert(names::ZONE.to_owned(), birth.zone.to_owned());
    }
    metadata.labels = Some(all);
    metadata.annotations = (!template.annotations.is_empty()).then(|| template.annotations.clone());
    Pod { metadata, spec: Some(spec(owner, birth, template)), status: None }
}

/// Labels that a Pod has for ever: they say what its name says.
#[must_use]
pub fn labels(owner: &Owner<'_>, role: Role, revision: u64, index: u32) -> BTreeMap<String, String> {
    let mut labels = owner.labels(Some(role));
    labels.insert(names::REVISION.to_owned(), revision.to_string());
    labels.insert(names::INDEX.to_owned(), index.to_string());
    labels
}

fn spec(owner: &Owner<'_>, birth: &Birth<'_>, template: &Template) -> PodSpec {
    let pull = template.image_pull_secrets.iter();
    let pull: Vec<_> = pull.map(|secret| LocalObjectReference { name: secret.name.clone() }).collect();
    let (volumes, volume_mounts) = mounts::mounts(owner, birth.role);
    let grace_s = drain_ms(owner.spec) / 1000 + GRACE_S;
    PodSpec {
        containers: vec![container::container(owner, birth, template, volume_mounts)],
        volumes: Some(volumes),
        restart_policy: Some("Always".to_owned()),
        termination_grace_period_seconds: i64::try_from(grace_s).ok(),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NOBODY),
            run_as_group: Some(NOBODY),
            fs_group: Some(NOBODY),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        affinity: place::affinity(&template.affinity, birth.zone),
        tolerations: Some(place::tolerations(&template.tolerations)),
        topology_spread_constraints: place::spread(owner, birth.role, &template.topology_spread),
        node_selector: (!template.node_selector.is_empty()).then(|| template.node_selector.clone()),
        priority_class_name: template.priority_class_name.clone(),
        image_pull_secrets: (!pull.is_empty()).then_some(pull),
        ..PodSpec::default()
    }
}

/// The template of a pool.
#[must_use]
pub const fn template(spec: &ChatroomClusterSpec, role: Role) -> &Template {
    match role {
        Role::Gateway => &spec.gateway.template,
        Role::Chatroom => &spec.chatroom.template,
        Role::Message => &spec.message.template,
    }
}

/// How long a drain may take.
pub(super) fn drain_ms(spec: &ChatroomClusterSpec) -> u64 {
    Span::as_ms(&spec.drain.deadline).unwrap_or(DEADLINE_MS)
}
