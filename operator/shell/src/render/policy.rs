//! Who may reach the Pods. Ingress only: a policy cannot name a Redis or an etcd outside the cluster.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use throng_core::Role;

use super::Owner;
use super::owner::texts;
use super::pod::{GRPC_PORT, HTTP_PORT, PUBLIC_PORT};
use crate::names;

/// Renders the policy of a role: other Pods of the cluster and the operator call it, anybody may look at its health and
/// metrics, and clients reach gateways.
#[must_use]
pub fn policy(owner: &Owner<'_>, role: Role) -> NetworkPolicy {
    let mut metadata = owner.meta(&names::of_role(owner.name, role));
    metadata.labels = Some(owner.labels(Some(role)));
    let peers = LabelSelector { match_labels: Some(texts([(names::CLUSTER, owner.name)])), match_expressions: None };
    let operator = LabelSelector { match_labels: Some(texts([names::OPERATOR])), match_expressions: None };
    let of_cluster = NetworkPolicyPeer { pod_selector: Some(peers), ..NetworkPolicyPeer::default() };
    let operator = NetworkPolicyPeer {
        pod_selector: Some(operator),
        namespace_selector: Some(LabelSelector::default()),
        ip_block: None,
    };
    let mut open = vec![port(HTTP_PORT)];
    if role == Role::Gateway {
        open.push(port(PUBLIC_PORT));
    }
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(owner.selects(role)), match_expressions: None }),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule { from: Some(vec![of_cluster, operator]), ports: Some(vec![port(GRPC_PORT)]) },
                NetworkPolicyIngressRule { from: None, ports: Some(open) },
            ]),
            egress: None,
        }),
    }
}

fn port(port: i32) -> NetworkPolicyPort {
    NetworkPolicyPort { port: Some(IntOrString::Int(port)), protocol: Some("TCP".to_owned()), end_port: None }
}
