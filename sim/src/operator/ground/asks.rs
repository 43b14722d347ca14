//! What people ask for beside the spec: operations, as the API server keeps them.

use std::sync::Arc;

use throng_core::Millis;
use throng_plan::spec::Operation;
use throng_plan::spec::operation::{Action, Pace, Whom};
use throng_plan::status::{ClusterStatus, OperationStatus};

use super::super::api::{Kind, Object};
use super::{Ground, spec};

/// Operations are kept for so long after their end.
const TTL_MS: u64 = 20_000;

impl Ground {
    /// Somebody creates an operation.
    pub(crate) fn ask(&mut self, action: &Action) -> String {
        let (word, whom) = words(action);
        let name = format!("operation-{}", self.api.revision() + 1);
        let fields = [("spec.action", word.to_owned()), ("spec.whom", whom)];
        let _ = self.api.create(self.now, (Kind::Operation, name.clone()), Object::new(None, fields));
        name
    }

    /// What became of an operation.
    pub(crate) fn answer(&self, name: &str) -> Option<Arc<OperationStatus>> {
        self.api.get(Kind::Operation, name).map(|found| self.answers.of(found))
    }

    /// Whether an operation has taken effect, or is over.
    pub(crate) fn was_effective(&self, name: &str) -> bool {
        self.effective.contains(name)
    }

    /// Notes which operations a written status of the cluster names as those that did something.
    pub(crate) fn note_effects(&mut self, status: &ClusterStatus) {
        let rollback = status.rollback.as_ref().map(|rollback| &rollback.operation);
        let rollout = status.rollout.as_ref().and_then(|rollout| rollout.operation.as_ref());
        self.effective.extend([rollback, rollout].into_iter().flatten().cloned());
    }

    /// Notes the end of an operation.
    pub(crate) fn note_answer(&mut self, name: &str, status: &OperationStatus) {
        self.effective.extend(status.phase.is_final().then(|| name.to_owned()));
    }

    /// Operations that are not at their end.
    pub(crate) fn open_operations(&self) -> usize {
        let open = |found: &Object| !self.answers.of(found).phase.is_final();
        self.api.list(Kind::Operation).filter(|(_, found)| open(found)).count()
    }

    /// The stored status of the cluster.
    pub(crate) fn status(&self) -> Option<Arc<ClusterStatus>> {
        self.api.get(Kind::Cluster, spec::CLUSTER).map(|cluster| self.statuses.of(cluster))
    }
}

/// An action in two words.
fn words(action: &Action) -> (&'static str, String) {
    let pace = |pace: &Pace| if *pace == Pace::Fast { "RollbackFast" } else { "RollbackGentle" };
    match action {
        Action::Rollback { to, pace: how } => (pace(how), to.map_or_else(String::new, |to| to.to_string())),
        Action::Pause => ("Pause", String::new()),
        Action::Resume => ("Resume", String::new()),
        Action::Promote => ("Promote", String::new()),
        Action::Drain(Whom::Pods(names)) => ("DrainPods", names.join(",")),
        Action::Drain(Whom::Nodes(labels)) => {
            let pairs: Vec<String> = labels.iter().map(|(key, is)| format!("{key}={is}")).collect();
            ("DrainNodes", pairs.join(","))
        }
        Action::Drain(Whom::Zone(zone)) => ("DrainZone", zone.clone()),
        Action::Rebalance => ("Rebalance", String::new()),
    }
}

/// An operation as the planner knows it.
pub(crate) fn read(name: &str, found: &Object, status: &OperationStatus) -> Option<Operation> {
    let whom = found.field("spec.whom");
    let list = || whom.split(',').map(str::to_owned).collect();
    let rollback = |pace| Action::Rollback { to: whom.parse().ok(), pace };
    let pairs = || whom.split(',').filter_map(|pair| pair.split_once('='));
    let action = match found.field("spec.action") {
        "RollbackFast" => rollback(Pace::Fast),
        "RollbackGentle" => rollback(Pace::Gentle),
        "Pause" => Action::Pause,
        "Resume" => Action::Resume,
        "Promote" => Action::Promote,
        "DrainPods" => Action::Drain(Whom::Pods(list())),
        "DrainNodes" => Action::Drain(Whom::Nodes(pairs().map(|(key, is)| (key.to_owned(), is.to_owned())).collect())),
        "DrainZone" => Action::Drain(Whom::Zone(whom.to_owned())),
        "Rebalance" => Action::Rebalance,
        _ => return None,
    };
    // The API server keeps times in seconds.
    let asked_at = Millis(found.created.0 / 1000 * 1000);
    let (name, uid) = (name.to_owned(), found.uid.clone());
    Some(Operation { name, uid, asked_at, action, ttl_ms: TTL_MS, status: status.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_read_as_it_was_asked_for() {
        let two = || vec!["a".to_owned(), "b".to_owned()];
        let asked = [
            Action::Rollback { to: Some(7), pace: Pace::Gentle },
            Action::Rollback { to: None, pace: Pace::Fast },
            Action::Pause,
            Action::Resume,
            Action::Promote,
            Action::Drain(Whom::Pods(two())),
            Action::Drain(Whom::Nodes(vec![("pool".to_owned(), "old".to_owned())])),
            Action::Drain(Whom::Zone("a".to_owned())),
            Action::Rebalance,
        ];
        let mut ground = Ground::new(1, [1, 1, 1]);
        for action in asked {
            let name = ground.ask(&action);
            let found = ground.api.get(Kind::Operation, &name).unwrap();
            assert_eq!(read(&name, found, &OperationStatus::default()).unwrap().action, action);
        }
        assert_eq!(ground.open_operations(), 9);
    }
}
