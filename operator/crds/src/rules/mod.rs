//! The one table of CEL rules: what a schema's types and bounds cannot say.
//!
//! An API server evaluates them, and so does [`crate::admit`]. Each rule has a name that tests and documents use, the
//! places it guards, and a message that says what to write instead. `tests/cases.yaml` has what each accepts and rejects.
//! Formats of texts are rules too and not `pattern`s, as a pattern can only answer with itself.

mod cluster;
mod operation;

/// A rule of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name; unique.
    pub name: &'static str,
    /// The kind that it belongs to.
    pub kind: Kind,
    /// The places that it guards, such as `spec.events[].start`; an empty one is the object itself. `[]` is each item of a list.
    pub paths: &'static [&'static str],
    /// The condition in CEL; `self` is the value at the place.
    pub rule: &'static str,
    /// What to write instead.
    pub message: &'static str,
}

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `ChatroomCluster`.
    Cluster,
    /// `ChatroomOperation`.
    Operation,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cluster, Self::Operation];

    /// Its name in YAML.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "ChatroomCluster",
            Self::Operation => "ChatroomOperation",
        }
    }
}

/// All rules.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    cluster::RULES.iter().chain(operation::RULES)
}

/// The rules of one kind.
pub fn of(kind: Kind) -> impl Iterator<Item = &'static Rule> {
    all().filter(move |rule| rule.kind == kind)
}
