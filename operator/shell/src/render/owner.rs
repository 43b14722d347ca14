//! Whose an object is: labels, namespace, and the reference that lets it go with its cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use throng_core::Role;
use throng_crds::{ChatroomClusterSpec, GROUP, VERSION};

use crate::names;

/// A cluster that objects are rendered for.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid: objects of an earlier cluster of the same name are not its own.
    pub uid: &'a str,
    /// What it asks for.
    pub spec: &'a ChatroomClusterSpec,
}

impl Owner<'_> {
    /// Metadata of an object of this name.
    #[must_use]
    pub fn meta(&self, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.to_owned()),
            labels: Some(self.labels(None)),
            owner_references: Some(vec![self.reference()]),
            ..ObjectMeta::default()
        }
    }

    /// What says in an object that it is the cluster's. It does not hold the deletion of the cluster back
    /// (`blockOwnerDeletion`): the finalizer does, and no right on finalizers is needed.
    #[must_use]
    pub fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: format!("{GROUP}/{VERSION}"),
            kind: "ChatroomCluster".to_owned(),
            name: self.name.to_owned(),
            uid: self.uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }

    /// Labels of an object, of a role or of the whole cluster.
    #[must_use]
    pub fn labels(&self, role: Option<Role>) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            ("app.kubernetes.io/name", "throng"),
            ("app.kubernetes.io/instance", self.name),
            (names::MANAGED_BY, names::MANAGER),
            (names::CLUSTER, self.name),
        ]);
        if let Some(role) = role {
            labels.insert("app.kubernetes.io/component", role.as_str());
            labels.insert(names::ROLE, role.as_str());
        }
        texts(labels)
    }

    /// Labels that the Pods of a role have for ever, and no others.
    #[must_use]
    pub fn selects(&self, role: Role) -> BTreeMap<String, String> {
        texts([(names::CLUSTER, self.name), (names::ROLE, role.as_str())])
    }

    /// Labels that the Pods of a role have while they serve.
    #[must_use]
    pub fn selects_serving(&self, role: Role) -> BTreeMap<String, String> {
        let mut labels = self.selects(role);
        labels.insert(names::SERVING.to_owned(), "true".to_owned());
        labels
    }
}

/// A map of texts.
pub(super) fn texts<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
