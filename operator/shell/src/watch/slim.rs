//! What is not kept of an object, because nobody here reads it: of hundreds of Pods and nodes it would be most of the
//! memory of this process.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;
use throng_crds::{ChatroomCluster, ChatroomOperation};

/// An object that can be made smaller before it is kept.
pub trait Slim: ResourceExt {
    /// Takes out what nobody reads.
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
    /// Of its spec only the node and the images, which are what people may edit; of who wrote which field, who wrote an image.
    fn slim(&mut self) {
        let writers = self.managed_fields_mut();
        writers.retain(wrote_an_image);
        for writer in writers.iter_mut() {
            *writer = ManagedFieldsEntry { manager: writer.manager.take(), ..ManagedFieldsEntry::default() };
        }
        if let Some(spec) = &mut self.spec {
            let image = |container: Container| Container {
                name: container.name,
                image: container.image,
                ..Container::default()
            };
            let containers = std::mem::take(&mut spec.containers).into_iter().map(image).collect();
            *spec = PodSpec { node_name: spec.node_name.take(), containers, ..PodSpec::default() };
        }
    }
}

/// Whether the image of a container of a Pod is what it is by this writer, as the API server notes it.
fn wrote_an_image(writer: &ManagedFieldsEntry) -> bool {
    let written = writer.fields_v1.as_ref().and_then(|fields| fields.0.pointer("/f:spec/f:containers")?.as_object());
    // A slimmed entry names the writer and no fields.
    let slimmed = writer.fields_v1.is_none();
    slimmed || written.is_some_and(|containers| containers.values().any(|fields| fields.get("f:image").is_some()))
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
            "metadata": {"name": "a", "labels": {"x": "y"}, "managedFields": [
                {"manager": "kubelet", "fieldsV1": {"f:status": {"f:phase": {}}}},
                {"manager": "kubectl-set", "fieldsV1": {"f:spec": {"f:containers": {"k:{\"name\":\"throng\"}": {"f:image": {}}}}}},
            ]},
            "spec": {"nodeName": "n", "containers": [{"name": "throng", "image": "throng:2", "args": ["gateway"]}]},
            "status": {"phase": "Running", "podIP": "10.0.0.7"},
        });
        let mut pod: Pod = serde_json::from_value(whole).unwrap();
        let status = pod.status.clone();
        // Once as the watch does, once as one that is learned.
        pod.slim();
        pod.slim();
        assert_eq!(pod.metadata.labels.as_ref().unwrap()["x"], "y");
        let writers: Vec<_> = pod.managed_fields().iter().map(|one| (one.manager.as_deref(), &one.fields_v1)).collect();
        assert_eq!(writers, [(Some("kubectl-set"), &None)]);
        let spec = pod.spec.unwrap();
        let container = Container { name: "throng".into(), image: Some("throng:2".into()), ..Container::default() };
        assert_eq!((spec.node_name.as_deref(), spec.containers, pod.status), (Some("n"), vec![container], status));
    }
}
