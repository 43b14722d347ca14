//! What runs, as the API server says.

use serde::{Deserialize, Serialize};
use throng_core::Role;

use crate::status::Utc;

/// One Pod of the cluster. Its name is its key in the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its uid: another Pod of the same name has another.
    pub uid: String,
    /// Its pool.
    pub role: Role,
    /// Number of its revision.
    pub revision: u64,
    /// Its index among the Pods of its role and revision.
    pub index: u32,
    /// Node that it runs on; none before it is scheduled.
    pub node: Option<String>,
    /// Zone that it runs in or was made for; empty: any.
    pub zone: String,
    /// How far its containers are.
    pub phase: Phase,
    /// It has passed its readiness check.
    pub ready: bool,
    /// It has the label `throng.dev/serving: "true"`.
    pub serving: bool,
    /// Since when it is to be deleted.
    pub terminating: Option<Utc>,
    /// Why it does not start, such as `ImagePullBackOff`, and after a colon what is said of it.
    pub trouble: Option<String>,
    /// Restarts of its containers.
    pub restarts: u32,
    /// When it was made.
    pub created: Utc,
}

/// How far the containers of a Pod are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Not all have started.
    Pending,
    /// They run, or are started again.
    Running,
    /// They ended and are not started again.
    Succeeded,
    /// They ended with an error, or were ended, and are not started again.
    Failed,
    /// Nobody can tell: its node does not answer.
    Unknown,
}

impl Phase {
    /// Whether its processes are over for good.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// What the name of a Pod says: its pool, its revision and its index. None if it is no name that [`pod_name`] gives.
#[must_use]
pub fn of_name(cluster: &str, name: &str) -> Option<(Role, u64, u32)> {
    let mut parts = name.strip_prefix(cluster)?.strip_prefix('-')?.split('-');
    let (role, revision, index) = (parts.next()?, parts.next()?, parts.next()?);
    let (role, revision, index) = (Role::from_text(role)?, revision.parse().ok()?, index.parse().ok()?);
    // A number can be written in several ways; a name is one of them.
    (pod_name(cluster, role, revision, index) == name).then_some((role, revision, index))
}

/// Name of the Pod of an index.
#[must_use]
pub fn pod_name(cluster: &str, role: Role, revision: u64, index: u32) -> String {
    format!("{cluster}-{role}-{revision}-{index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_pod_it_is_and_only_one_that_was_given() {
        let name = pod_name("a-live", Role::Message, 3, 12);
        assert_eq!(of_name("a-live", &name), Some((Role::Message, 3, 12)));
        assert_eq!(of_name("a", &name), None, "another cluster has it");
        for end in
            ["", "-message-3", "-message-3-12-1", "-message-03-12", "-message-+3-12", "-poet-3-12", "-message-3-x"]
        {
            assert_eq!(of_name("a-live", &format!("a-live{end}")), None, "{end}");
        }
    }
}
