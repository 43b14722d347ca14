//! What is wanted, and the object that asks for it.

use std::collections::BTreeMap;

use kube::api::ObjectMeta;
use throng_core::Role;
use throng_crds::operation::{DrainPods, Nothing, Pace, Rollback};
use throng_crds::span::Span;
use throng_crds::{ChatroomOperation, ChatroomOperationSpec};

use crate::error::Error;
use crate::overview::Overview;

/// Label that Kubernetes gives each node: its host name, which is the name of the node nearly everywhere.
const HOST: &str = "kubernetes.io/hostname";

/// What is wanted of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Back to a revision before; none: the last good one.
    Rollback {
        /// Its number.
        to: Option<u64>,
        /// How fast users move.
        pace: Pace,
    },
    /// Hold the rollout.
    Pause,
    /// Go on with it.
    Resume,
    /// End the canary now.
    Promote,
    /// Empty Pods.
    Drain(Target),
}

/// Pods to empty, as an operation names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// These.
    Pods(Vec<String>),
    /// Those on a node, by its label, where Pods may not be listed.
    Node(String),
    /// Those of a zone.
    Zone(String),
}

/// Pods to empty, as people name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// These, all of one cluster.
    Pods {
        /// The cluster, as their names say.
        cluster: String,
        /// Their names.
        names: Vec<String>,
    },
    /// Those on a node.
    Node(String),
    /// Those of a zone.
    Zone(String),
}

impl Whom {
    /// Reads names of Pods.
    ///
    /// # Errors
    /// One is no name of a Pod of a cluster, or they are of several.
    pub fn pods(names: &[String]) -> Result<Self, Error> {
        let mut clusters = Vec::new();
        for name in names {
            let cluster = cluster_of(name).ok_or_else(|| {
                Error::NotDone(format!("{name:?} is no Pod of a cluster: write a name such as live-gateway-7-2"))
            })?;
            clusters.push(cluster);
        }
        clusters.dedup();
        match clusters.as_slice() {
            [cluster] => Ok(Self::Pods { cluster: (*cluster).to_owned(), names: names.to_vec() }),
            _ => Err(Error::NotDone(format!(
                "these are Pods of several clusters ({}): drain one after the other",
                clusters.join(", ")
            ))),
        }
    }

    /// The cluster that the names say.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        match self {
            Self::Pods { cluster, .. } => Some(cluster),
            Self::Node(_) | Self::Zone(_) => None,
        }
    }

    /// What to ask for, of the Pods that are there.
    ///
    /// # Errors
    /// None of them is there.
    pub fn intent(&self, overview: &Overview) -> Result<Intent, Error> {
        let target = match self {
            Self::Pods { names, .. } => Target::Pods(names.clone()),
            Self::Zone(zone) => Target::Zone(zone.clone()),
            Self::Node(node) if !overview.pods_listed => Target::Node(node.clone()),
            Self::Node(node) => {
                let on = |pod: &&crate::overview::pods::PodView| pod.node.as_ref() == Some(node);
                let names: Vec<String> = overview
                    .pools
                    .iter()
                    .flat_map(|(_, pool)| &pool.pods)
                    .filter(on)
                    .map(|pod| pod.name.clone())
                    .collect();
                if names.is_empty() {
                    return Err(Error::NotDone(format!("{} has no Pod on node {node}", overview.name)));
                }
                Target::Pods(names)
            }
        };
        Ok(Intent::Drain(target))
    }
}

/// The cluster that the name of a Pod says: `<cluster>-<role>-<revision>-<index>`.
fn cluster_of(pod: &str) -> Option<&str> {
    let (rest, index) = pod.rsplit_once('-')?;
    let (rest, revision) = rest.rsplit_once('-')?;
    let (cluster, role) = rest.rsplit_once('-')?;
    let number = |text: &str| text.parse::<u64>().is_ok();
    (number(index) && number(revision) && Role::from_text(role).is_some() && !cluster.is_empty()).then_some(cluster)
}

impl Intent {
    /// Its word, as the beginning of a name.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Rollback { .. } => "rollback",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Promote => "promote",
            Self::Drain(_) => "drain",
        }
    }

    /// The object that asks for it. The API server gives it a name.
    #[must_use]
    pub fn operation(&self, namespace: &str, cluster: &str, note: Option<&str>) -> ChatroomOperation {
        let on = |wanted: bool| wanted.then_some(Nothing {});
        let rollback = match self {
            Self::Rollback { to, pace } => Some(Rollback { to: *to, pace: *pace }),
            _ => None,
        };
        let drain = match self {
            Self::Drain(target) => Some(target.pods()),
            _ => None,
        };
        let spec = ChatroomOperationSpec {
            cluster: cluster.to_owned(),
            rollback,
            pause: on(*self == Self::Pause),
            resume: on(*self == Self::Resume),
            promote: on(*self == Self::Promote),
            drain,
            rebalance: None,
            note: note.map(str::to_owned),
            ttl: Span::new("24h"),
        };
        let metadata = ObjectMeta {
            generate_name: Some(format!("{}-", self.word())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        };
        ChatroomOperation { metadata, spec, status: None }
    }
}

impl Target {
    fn pods(&self) -> DrainPods {
        match self {
            Self::Pods(names) => DrainPods { pods: Some(names.clone()), ..DrainPods::default() },
            Self::Node(node) => {
                let labels = BTreeMap::from([(HOST.to_owned(), node.clone())]);
                DrainPods { node_selector: Some(labels), ..DrainPods::default() }
            }
            Self::Zone(zone) => DrainPods { zone: Some(zone.clone()), ..DrainPods::default() },
        }
    }
}

/// An operation as YAML that `kubectl create -f -` takes.
///
/// # Errors
/// YAML cannot hold it; a test shows that there is none.
pub fn yaml(operation: &ChatroomOperation) -> Result<String, Error> {
    let unfit = |why: String| Error::Unreadable { what: "the operation".to_owned(), why };
    serde_saphyr::to_string(operation).map_err(|error| unfit(error.to_string()))
}

/// Whether an answer is a yes.
#[must_use]
pub fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use throng_crds::admit::admit;

    use super::*;

    #[test]
    fn the_name_of_a_pod_says_its_cluster() {
        for (pod, cluster) in [
            ("live-gateway-7-2", Some("live")),
            ("live-gateway-chatroom-1-0", Some("live-gateway")),
            ("gateway-7-2", None),
            ("live-gateway-7", None),
            ("live-poet-7-2", None),
            ("live-gateway-x-2", None),
            ("", None),
        ] {
            assert_eq!(cluster_of(pod), cluster, "{pod}");
        }
    }

    #[test]
    fn pods_of_several_clusters_or_of_none_are_refused() {
        let of = |names: &[&str]| Whom::pods(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["live-gateway-7-2", "live-message-7-0"]).unwrap().cluster(), Some("live"));
        assert!(of(&["live-gateway-7-2", "stage-gateway-7-0"]).unwrap_err().to_string().contains("live, stage"));
        assert!(of(&["web-0"]).unwrap_err().to_string().contains("such as live-gateway-7-2"));
    }

    #[test]
    fn every_intent_is_an_operation_that_an_api_server_takes() {
        let pods = Target::Pods(vec!["live-gateway-7-2".into()]);
        let intents = [
            Intent::Rollback { to: None, pace: Pace::Fast },
            Intent::Rollback { to: Some(7), pace: Pace::Gentle },
            Intent::Pause,
            Intent::Resume,
            Intent::Promote,
            Intent::Drain(pods),
            Intent::Drain(Target::Node("node-a.example".into())),
            Intent::Drain(Target::Zone("eu-west-1a".into())),
        ];
        for intent in intents {
            let text = yaml(&intent.operation("show", "live", Some("half-time"))).unwrap();
            let mut read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(read["metadata"]["generateName"], format!("{}-", intent.word()));
            // The API server makes the name.
            read["metadata"]["name"] = "made".into();
            admit(read, None).unwrap_or_else(|problems| panic!("{intent:?}: {problems:?}\n{text}"));
        }
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for yes in ["y", "Y\n", " yes ", "YES"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n", "no", "yess", "j"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
