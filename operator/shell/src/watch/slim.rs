//! What is not kept of an object, because nobody here reads it: of hundreds of Pods and nodes it would be most of the
//! memory of this process.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use throng_crds::{ChatroomCluster, ChatroomOperation};

/// An object that can be made smaller before it is kept.
pub trait Slim: ResourceExt {
    /// Takes out what nobody reads. Who wrote which field never is.
    fn slim(&mut self) {
        self.managed_fields_mut().clear();
    }
}

impl Slim for ChatroomCluster {}
impl Slim for ChatroomOperation {}
impl Slim for Service {}
impl Slim for PodDisruptionBudget {}
impl Slim for NetworkPolicy {}
impl Slim for ControllerRevision {}

impl Slim for Pod {
    /// Of its spec only the node: what it should be is rendered, not read.
    fn slim(&mut self) {
        self.managed_fields_mut().clear();
        if let Some(spec) = &mut self.spec {
            *spec = PodSpec { node_name: spec.node_name.take(), ..PodSpec::default() };
        }
    }
}

impl Slim for Node {
    /// Not the images and volumes that it has.
    fn slim(&mut self) {
        self.managed_fields_mut().clear();
        if let Some(status) = &mut self.status {
            (status.images, status.volumes_attached, status.volumes_in_use) = (None, None, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_keeps_its_node_and_all_that_its_state_is_read_from() {
        let whole = json!({
            "metadata": {"name": "a", "managedFields": [{"manager": "kubelet"}], "labels": {"x": "y"}},
            "spec": {"nodeName": "n", "containers": [{"name": "throng", "args": ["gateway"]}]},
            "status": {"phase": "Running", "podIP": "10.0.0.7"},
        });
        let mut pod: Pod = serde_json::from_value(whole).unwrap();
        let status = pod.status.clone();
        pod.slim();
        assert_eq!(pod.metadata.labels.as_ref().unwrap()["x"], "y");
        assert!(pod.managed_fields().is_empty());
        let spec = pod.spec.unwrap();
        assert_eq!((spec.node_name.as_deref(), spec.containers.len(), pod.status), (Some("n"), 0, status));
    }
}
