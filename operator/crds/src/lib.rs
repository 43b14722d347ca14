//! `ChatroomCluster` and `ChatroomOperation`: what people write, checked before anything is done with it.
//!
//! [`cluster`] and [`operation`] are the kinds; their doc comments are what `kubectl explain` says. [`rules`] is the one
//! table of CEL rules, each with a message that says what to write instead. [`schema`] makes the CRDs of both, [`files`]
//! the files that are generated from them. [`admit`] does offline what an API server does with an object: defaults,
//! pruning, types, bounds and rules. [`validate`] turns an admitted object into the plain values of `throng-plan`, and
//! [`shape`] tells which fields shape Pods.
//!
//! Nothing here does I/O. Compile it with a version feature of `k8s-openapi`, which only binaries and tests choose.

pub mod admit;
pub mod cluster;
mod docs;
pub mod files;
pub mod operation;
pub mod rules;
pub mod schema;
pub mod shape;
pub mod span;
pub mod validate;

pub use cluster::{ChatroomCluster, ChatroomClusterSpec};
pub use operation::{ChatroomOperation, ChatroomOperationSpec};

/// The API group of both kinds.
pub const GROUP: &str = "throng.dev";
/// Their version.
pub const VERSION: &str = "v1alpha1";
