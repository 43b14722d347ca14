//! The simulator as a runtime of plans: the order of what is done, and what a failure stops, are those of every other.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use throng_plan::status::ClusterStatus;
use throng_plan::{Action, World};
use throng_runtime::Runtime;

use super::api::{Expected, Kind, Shelf};
use super::replica::Replica;
use super::request::{Failure, Request};
use super::sim::Sim;

/// What one process does of one plan.
pub(crate) struct Hand<'s> {
    sim: &'s mut Sim,
    who: usize,
    term: u32,
    replica: &'s mut Replica,
    world: &'s World,
    /// The cluster, as it was seen.
    cluster: Expected,
    /// Pods as they were planned with: one that was labelled since is not deleted.
    pods: Arc<Shelf>,
}

impl<'s> Hand<'s> {
    /// None if the cluster is not seen.
    pub(crate) fn of(
        sim: &'s mut Sim,
        who: usize,
        term: u32,
        replica: &'s mut Replica,
        world: &'s World,
        name: &str,
    ) -> Option<Self> {
        let found = replica.informer.view(Kind::Cluster).get(name).cloned()?;
        let cluster = Expected { uid: Some(found.uid.clone()), version: Some(found.version) };
        let pods = replica.informer.view(Kind::Pod);
        Some(Self { sim, who, term, replica, world, cluster, pods })
    }

    fn act(&mut self, action: &Action) -> Result<(), Failure> {
        let uid = self.cluster.uid.as_deref().unwrap_or_default();
        self.cluster.version = self.replica.cluster_version(uid).or(self.cluster.version);
        let seen = match action {
            Action::DeletePod { name, .. } => self.pods.get(name).map(|pod| pod.version),
            _ => Some(self.replica.planned_at),
        };
        self.sim.act(self.who, self.term, self.replica, self.world, (action, seen), &self.cluster)
    }
}

impl Runtime for Hand<'_> {
    type Failure = Failure;

    async fn remember(&mut self, status: &ClusterStatus) -> Result<(), Failure> {
        let request = Request::Status { expected: self.cluster.clone(), status: Arc::new(status.clone()) };
        self.sim.send(self.who, self.term, self.replica, request)
    }

    /// In any order: the dice say in which.
    async fn together(&mut self, actions: &[&Action]) -> Vec<Result<(), Failure>> {
        let mut actions = actions.to_vec();
        self.sim.ground.dice.shuffle(&mut actions);
        let mut results = Vec::with_capacity(actions.len());
        for action in actions {
            let result = self.act(action);
            let ends = result.as_ref().is_err_and(throng_runtime::Failure::ends_the_pass);
            results.push(result);
            if ends {
                break;
            }
        }
        results
    }
}

/// Nothing waits in the model: time passes between requests, not within one. So what is asked is answered when it is asked
/// first; what is not came too late.
pub(crate) fn at_once<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(Failure::Late),
    }
}
