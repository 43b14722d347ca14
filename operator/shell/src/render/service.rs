//! The Service that clients reach gateways by. It selects Pods that serve: a drain leaves it first.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use throng_core::Role;
use throng_crds::cluster::pools::{ServiceKind, TrafficPolicy};

use super::Owner;
use crate::names;

/// Renders the Service of the gateways.
#[must_use]
pub fn gateway(owner: &Owner<'_>) -> Service {
    let given = &owner.spec.gateway.service;
    let mut metadata = owner.meta(&names::of_role(owner.name, Role::Gateway));
    let mut labels = given.labels.clone();
    labels.extend(owner.labels(Some(Role::Gateway)));
    metadata.labels = Some(labels);
    metadata.annotations = (!given.annotations.is_empty()).then(|| given.annotations.clone());
    let kind = match given.kind {
        ServiceKind::ClusterIP => "ClusterIP",
        ServiceKind::NodePort => "NodePort",
        ServiceKind::LoadBalancer => "LoadBalancer",
    };
    let outside = given.kind != ServiceKind::ClusterIP;
    let policy = match given.external_traffic_policy {
        TrafficPolicy::Local => "Local",
        TrafficPolicy::Cluster => "Cluster",
    };
    let port = ServicePort {
        name: Some("public".to_owned()),
        port: i32::from(given.port),
        target_port: Some(IntOrString::String("public".to_owned())),
        protocol: Some("TCP".to_owned()),
        node_port: given.node_port.map(i32::from),
        ..ServicePort::default()
    };
    let ranges = &given.load_balancer_source_ranges;
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(kind.to_owned()),
            selector: Some(owner.selects_serving(Role::Gateway)),
            ports: Some(vec![port]),
            external_traffic_policy: outside.then(|| policy.to_owned()),
            load_balancer_class: given.load_balancer_class.clone(),
            load_balancer_source_ranges: (!ranges.is_empty()).then(|| ranges.clone()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
