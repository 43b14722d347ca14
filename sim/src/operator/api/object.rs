//! Objects as an API server keeps them: metadata, fields with their managers, status.

use std::collections::{BTreeMap, BTreeSet};

use throng_core::Millis;

/// Kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `ChatroomCluster`.
    Cluster,
    /// Pods.
    Pod,
    /// Nodes.
    Node,
    /// `ControllerRevision`.
    Revision,
    /// Secrets.
    Secret,
    /// Services.
    Service,
    /// Network policies.
    Policy,
    /// Budgets of disruptions.
    Budget,
    /// `ChatroomOperation`.
    Operation,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Cluster,
        Self::Pod,
        Self::Node,
        Self::Revision,
        Self::Secret,
        Self::Service,
        Self::Policy,
        Self::Budget,
        Self::Operation,
    ];
}

/// What an object is found by.
pub type Key = (Kind, String);
/// Fields by their paths, such as `labels.serving`.
pub type Fields = BTreeMap<String, String>;

/// One object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Another object of the same name has another.
    pub uid: String,
    /// The write that made it what it is.
    pub version: u64,
    /// Counts the changes of its `spec.` fields.
    pub generation: i64,
    /// Who must let it go before it goes.
    pub finalizers: BTreeSet<String>,
    /// Since when it is to be deleted.
    pub deleted_at: Option<Millis>,
    /// Uid of the object that it goes with.
    pub owner: Option<String>,
    /// When it was made.
    pub created: Millis,
    /// Labels and spec.
    pub fields: Fields,
    /// Its subresource.
    pub status: Fields,
    /// Who wrote each field last.
    pub managers: BTreeMap<String, String>,
}

impl Object {
    /// An object to be made.
    #[must_use]
    pub fn new<'f>(owner: Option<&str>, fields: impl IntoIterator<Item = (&'f str, String)>) -> Self {
        let fields = fields.into_iter().map(|(path, value)| (path.to_owned(), value)).collect();
        Self { owner: owner.map(str::to_owned), fields, ..Self::default() }
    }

    /// A field; empty if it is not there.
    #[must_use]
    pub fn field(&self, path: &str) -> &str {
        self.fields.get(path).map_or("", String::as_str)
    }

    /// A field of the status; empty if it is not there.
    #[must_use]
    pub fn state(&self, path: &str) -> &str {
        self.status.get(path).map_or("", String::as_str)
    }

    /// Writes a field of the status.
    pub fn set_state(&mut self, path: &str, value: impl std::fmt::Display) {
        self.status.insert(path.to_owned(), value.to_string());
    }

    /// Writes a field as somebody who is not the operator.
    pub fn set_field(&mut self, path: &str, value: impl std::fmt::Display) {
        self.fields.insert(path.to_owned(), value.to_string());
        self.managers.insert(path.to_owned(), "somebody".to_owned());
    }
}
