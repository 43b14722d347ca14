//! The cluster that tests look at: the smallest example, as an API server keeps it.

use throng_crds::ChatroomCluster;

pub(crate) fn cluster() -> ChatroomCluster {
    let text = include_str!("../../../examples/minimal.yaml");
    let stored = throng_crds::admit::admit(serde_saphyr::from_str(text).unwrap(), None).unwrap();
    let mut cluster: ChatroomCluster = serde_json::from_value(stored).unwrap();
    cluster.metadata.namespace = Some("show".into());
    cluster.metadata.uid = Some("c1".into());
    cluster.metadata.generation = Some(4);
    cluster
}
