//! The one container of a Pod.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector, Probe,
    SecurityContext, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use throng_core::Role;
use throng_crds::cluster::PullPolicy;
use throng_crds::cluster::template::Template;

use super::pod::{Birth, CONTAINER, GRPC_PORT, HTTP_PORT, PUBLIC_PORT};
use super::{Owner, settings};

/// What a process learns of itself only where it runs: setting and field of its Pod.
const OF_THE_POD: [(&str, &str); 3] = [
    ("THRONG_NODE__ADVERTISE", "status.podIP"),
    ("THRONG_NODE__POD", "metadata.name"),
    ("THRONG_NODE__UID", "metadata.uid"),
];

pub(super) fn container(
    owner: &Owner<'_>,
    birth: &Birth<'_>,
    template: &Template,
    mounts: Vec<VolumeMount>,
) -> Container {
    let pull = match owner.spec.image_pull_policy {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    };
    let settings = settings::settings(owner, birth.role, birth.revision);
    let sets = settings.into_iter().flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]);
    Container {
        name: CONTAINER.to_owned(),
        image: Some(owner.spec.image.clone()),
        image_pull_policy: Some(pull.to_owned()),
        args: Some(std::iter::once(birth.role.to_string()).chain(sets).collect()),
        env: Some(OF_THE_POD.map(|(name, field)| from_field(name, field)).to_vec()),
        ports: Some(ports(birth.role)),
        // Ready once and for all until it drains, so the probe may be quick without taking Pods away for a hiccup.
        readiness_probe: Some(probe("/readyz", 2, 3)),
        // The process fences itself; a restart by the kubelet is for one that hangs for good.
        liveness_probe: Some(probe("/healthz", 10, 6)),
        resources: Some(template.resources.clone()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        }),
        // The last words of a process that cannot start become part of a condition.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn from_field(name: &str, field: &str) -> EnvVar {
    let field_ref = Some(ObjectFieldSelector { api_version: None, field_path: field.to_owned() });
    let value_from = Some(EnvVarSource { field_ref, ..EnvVarSource::default() });
    EnvVar { name: name.to_owned(), value: None, value_from }
}

fn ports(role: Role) -> Vec<ContainerPort> {
    let mut ports = vec![("grpc", GRPC_PORT), ("http", HTTP_PORT)];
    if role == Role::Gateway {
        ports.push(("public", PUBLIC_PORT));
    }
    let port = |(name, port): (&str, i32)| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    ports.into_iter().map(port).collect()
}

fn probe(path: &str, period_s: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("http".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_s),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
