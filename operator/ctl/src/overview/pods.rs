//! Pods as people see them: where each runs, and what it does in one word.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1 as k8s;
use serde::Serialize;
use throng_core::Role;
use throng_operator::snapshot::pod::pod as read;
use throng_plan::status::{DrainStatus, Utc};
use throng_plan::world::{Node, Pod};

use crate::text::Tone;

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Number of its revision; none if only its drain is known.
    pub revision: Option<u64>,
    /// The node that it runs on.
    pub node: Option<String>,
    /// The zone of its node; while it has none, or nodes could not be read, the one that it was made for. Empty: not known.
    pub zone: String,
    /// What it does.
    pub state: State,
    /// Why it does not start or has ended, in the word of Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Restarts of its containers.
    pub restarts: u32,
    /// When it was made; none if only its drain is known.
    pub created: Option<Utc>,
    /// Its drain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
}

/// What a Pod does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum State {
    /// It has users and may get more.
    Serves,
    /// It could serve, and is in no Service.
    Ready,
    /// It is on its way.
    Starting,
    /// It does not come up.
    Fails,
    /// It is emptied.
    Draining,
    /// It was deleted and ends.
    Ends,
    /// Its containers are over.
    Over,
}

impl State {
    /// How it is shown.
    #[must_use]
    pub const fn tone(self) -> Tone {
        match self {
            Self::Serves => Tone::Good,
            Self::Ready | Self::Starting | Self::Draining | Self::Ends => Tone::Busy,
            Self::Fails | Self::Over => Tone::Bad,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serves => "serves",
            Self::Ready => "ready, not in service",
            Self::Starting => "starting",
            Self::Fails => "fails",
            Self::Draining => "draining",
            Self::Ends => "ends",
            Self::Over => "over",
        })
    }
}

/// The Pods of a pool, by revision and index. Without the right to list Pods, those that are drained, which the status names.
#[must_use]
pub fn pods(
    cluster: &str,
    role: Role,
    pods: Option<&[k8s::Pod]>,
    nodes: &BTreeMap<String, Node>,
    drains: &[DrainStatus],
) -> Vec<PodView> {
    let Some(pods) = pods else {
        let begin = format!("{cluster}-{role}-");
        return drains.iter().filter(|drain| drain.pod.starts_with(&begin)).map(only_drain).collect();
    };
    let mut found: Vec<(String, Pod)> =
        pods.iter().filter_map(|pod| read(pod, cluster, nodes)).filter(|(_, pod)| pod.role == role).collect();
    found.sort_by_key(|(_, pod)| (pod.revision, pod.index));
    found.into_iter().map(|(name, pod)| view(name, pod, drains)).collect()
}

fn view(name: String, pod: Pod, drains: &[DrainStatus]) -> PodView {
    let drain = drains.iter().find(|drain| drain.uid == pod.uid).cloned();
    let state = match () {
        () if pod.phase.is_over() => State::Over,
        () if pod.terminating.is_some() => State::Ends,
        () if drain.is_some() => State::Draining,
        () if pod.trouble.is_some() => State::Fails,
        () if pod.ready && pod.serving => State::Serves,
        () if pod.ready => State::Ready,
        () => State::Starting,
    };
    PodView {
        name,
        revision: Some(pod.revision),
        node: pod.node,
        zone: pod.zone,
        state,
        trouble: pod.trouble,
        restarts: pod.restarts,
        created: Some(pod.created),
        drain,
    }
}

fn only_drain(drain: &DrainStatus) -> PodView {
    PodView {
        name: drain.pod.clone(),
        revision: None,
        node: None,
        zone: String::new(),
        state: State::Draining,
        trouble: None,
        restarts: 0,
        created: None,
        drain: Some(drain.clone()),
    }
}
