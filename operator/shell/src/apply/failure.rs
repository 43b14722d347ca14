//! Why something could not be done.

use std::time::Duration;

use throng_registry::{Conflict, Error as RegistryError};

/// Why something could not be done. It is looked at anew and tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// This process does not lead any more.
    #[error("this process does not lead any more")]
    Deposed,
    /// No answer in time.
    #[error("no answer within {:.1} s", .0.as_secs_f64())]
    Late(Duration),
    /// The world is not the one that was planned with.
    #[error("the world has changed: {0}")]
    Stale(String),
    /// What is to be written has the name of somebody else's.
    #[error("{0}: rename or delete it")]
    Foreign(String),
    /// There is no way to the Pod: its key or its address is not known.
    #[error("the Pod cannot be reached: {0}")]
    Unreachable(String),
    /// There is no way to etcd.
    #[error("etcd cannot be reached")]
    NoRegistry,
    /// The API server refused.
    #[error("the API server refuses: {0}")]
    Kube(Box<kube::Error>),
    /// etcd refused.
    #[error("etcd: {0}")]
    Registry(#[from] RegistryError),
    /// The Pod refused.
    #[error("the Pod refuses: {}", .0.message())]
    Pod(Box<tonic::Status>),
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_conflict() && !status.is_already_exists() => {
                Self::Stale(status.message.clone())
            }
            error => Self::Kube(Box::new(error)),
        }
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        Self::Pod(Box::new(status))
    }
}

impl Failure {
    /// Whether nothing more can be done now, whatever it is about.
    #[must_use]
    pub fn ends_the_pass(&self) -> bool {
        match self {
            Self::Deposed | Self::Late(_) => true,
            // A service that does not answer; one that refuses this call may take the next.
            Self::Kube(error) => !matches!(**error, kube::Error::Api(_)),
            _ => false,
        }
    }

    /// Whether another leader has taken the epoch of the cluster.
    #[must_use]
    pub const fn lost_epoch(&self) -> bool {
        matches!(self, Self::Registry(RegistryError::Conflict(Conflict::LeaderEpoch { .. })))
    }

    /// Whether only the view was old: not worth a word to people.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Deposed
                | Self::Stale(_)
                | Self::Late(_)
                | Self::Registry(RegistryError::Conflict(Conflict::Document { .. }))
        )
    }
}
