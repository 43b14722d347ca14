//! Requests of an operator: each carries all that must still be true when it arrives, so it may arrive late.

use std::fmt;
use std::sync::Arc;

use throng_core::Role;
use throng_core::policy::Policy;
use throng_plan::Action;
use throng_plan::plan::Because;
use throng_plan::status::{ClusterStatus, OperationPhase, OperationStatus};
use throng_plan::world::{Document, Edited, Object as Owned};

use super::api::apply::Apply;
use super::api::{Answer, Expected, Key, Kind, Object, Refusal};
use super::ground::Ground;
use super::ground::spec::{CLUSTER, FINALIZER, SHAPE};
use super::see::{self, CONTENT, NUMBER};
use super::tally::Transition;

/// Who writes fields.
const MANAGER: &str = "throng";

/// One request.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Status { expected: Expected, status: Arc<ClusterStatus> },
    Finalizer { expected: Expected, on: bool },
    Apply { owner: String, object: Owned },
    Restore { key: Key, uid: String },
    Create { owner: String, name: String, role: Role, revision: u64, index: u32, zone: String, shape: String },
    Delete { name: String, expected: Expected, uid: String, because: Because },
    ForgetRevision { name: String },
    Label { name: String, uid: String, serving: bool },
    Drain { uid: String, on: bool },
    Shed { uid: String, users: u64 },
    Answer { name: String, expected: Expected, status: Arc<OperationStatus> },
    Forget { name: String, uid: String },
    Policy { policy: Policy, read: u64 },
    ForgetKeys { leader_epoch: u64 },
    Write { role: Role, is_target: bool, document: Document, read: u64 },
}

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The operator has died.
    Dead,
    /// It does not lead any more.
    Deposed,
    /// No answer in time.
    Late,
    /// The server cannot serve it now.
    Unavailable,
    /// The server refuses.
    Refused(Refusal),
    /// The Pod is not what was planned for.
    Stale,
    /// The Pod does not answer.
    Unreachable,
    /// Another leader has taken the epoch.
    EpochLost,
}

impl throng_runtime::Failure for Failure {
    fn ends_the_pass(&self) -> bool {
        matches!(self, Self::Dead | Self::Deposed | Self::Late)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The object as it is after a request, for whoever sent it to learn.
pub(crate) type Done = Result<Option<(Key, Arc<Object>)>, Failure>;

impl Request {
    /// Whether the API server answers it; else etcd or a Pod does.
    pub(crate) const fn is_for_api(&self) -> bool {
        !matches!(
            self,
            Self::Write { .. } | Self::Policy { .. } | Self::ForgetKeys { .. } | Self::Drain { .. } | Self::Shed { .. }
        )
    }

    /// The transition that this makes, if it is done.
    pub(crate) fn transition(&self) -> Transition {
        match self {
            Self::Status { .. } => Transition::StatusWritten,
            Self::Finalizer { on: true, .. } => Transition::FinalizerSet,
            Self::Finalizer { on: false, .. } => Transition::FinalizerRemoved,
            Self::Apply { object: Owned::ControllerRevision { .. }, .. } => Transition::RevisionWritten,
            Self::Apply { object: Owned::PodDisruptionBudget { .. }, .. } => Transition::BudgetWritten,
            Self::Apply { .. } => Transition::ObjectWritten,
            Self::Restore { key: (Kind::Pod, _), .. } => Transition::PodRestored,
            Self::Restore { .. } => Transition::RevisionRestored,
            Self::Create { .. } => Transition::PodCreated,
            Self::Delete { because: Because::Emptied, .. } => Transition::DeletedEmptied,
            Self::Delete { because: Because::Deadline, .. } => Transition::DeletedDeadline,
            Self::Delete { because: Because::Unused, .. } => Transition::DeletedUnused,
            Self::Delete { because: Because::Failed, .. } => Transition::DeletedFailed,
            Self::Delete { because: Because::ClusterDeleted, .. } => Transition::DeletedWithCluster,
            Self::ForgetRevision { .. } => Transition::RevisionForgotten,
            Self::Label { serving: true, .. } => Transition::LabelOn,
            Self::Label { serving: false, .. } => Transition::LabelOff,
            Self::Drain { on: true, .. } => Transition::DrainStarted,
            Self::Drain { on: false, .. } => Transition::DrainTakenBack,
            Self::Shed { .. } => Transition::UsersShed,
            Self::Answer { status, .. } => match status.phase {
                OperationPhase::Succeeded => Transition::OperationSucceeded,
                OperationPhase::Failed => Transition::OperationFailed,
                OperationPhase::Superseded => Transition::OperationSuperseded,
                _ => Transition::OperationWritten,
            },
            Self::Forget { .. } => Transition::OperationForgotten,
            Self::Policy { .. } => Transition::PolicyWritten,
            Self::ForgetKeys { .. } => Transition::KeysForgotten,
            Self::Write { is_target: true, .. } => Transition::TargetWritten,
            Self::Write { is_target: false, .. } => Transition::PlacementWritten,
        }
    }

    /// Uid of the Pod whose service it may end.
    pub(crate) fn takes_away(&self) -> Option<&str> {
        match self {
            Self::Delete { uid, .. } | Self::Label { uid, serving: false, .. } | Self::Drain { uid, on: true } => {
                Some(uid)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Request {
    /// As a line of a trace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { expected, status } => {
                let drains: Vec<&str> = status.drains.iter().map(|drain| &*drain.pod).collect();
                write!(f, "status over {:?}: {}, drains {drains:?}", expected.version, status.why.join("; "))
            }
            Self::Finalizer { on, .. } => write!(f, "finalizer {}", if *on { "on" } else { "off" }),
            Self::Apply { object, .. } => write!(f, "apply {object:?}"),
            Self::Restore { key: (kind, name), .. } => write!(f, "restore {kind:?} {name}"),
            Self::Create { name, zone, shape, .. } => write!(f, "create {name} in {zone:?} of {shape}"),
            Self::Delete { name, uid, because, .. } => write!(f, "delete {name} ({uid}): {because:?}"),
            Self::Label { name, serving, .. } => write!(f, "label {name} serving={serving}"),
            Self::Drain { uid, on } => write!(f, "{} {uid}", if *on { "drain" } else { "undrain" }),
            Self::Shed { uid, users } => write!(f, "ask {users} users of {uid} to connect anew"),
            Self::Answer { name, status, .. } => write!(f, "{name} is {:?}: {}", status.phase, status.message),
            Self::Forget { name, .. } => write!(f, "delete {name}: its time is over"),
            Self::ForgetRevision { name } => write!(f, "delete {name}: nobody needs it"),
            Self::ForgetKeys { leader_epoch } => write!(f, "remove all keys, epoch {leader_epoch}"),
            Self::Policy { policy, .. } => {
                write!(f, "policy, epoch {} version {}", policy.leader_epoch, policy.version)
            }
            Self::Write { role, is_target, document, .. } => {
                let what = if *is_target { "target" } else { "placement" };
                let pods: Vec<&str> = document.0.pods().iter().map(|placed| &*placed.pod).collect();
                let (epoch, version) = (document.0.leader_epoch, document.0.version);
                write!(f, "{what} of {role}, epoch {epoch} version {version}: {pods:?}")
            }
        }
    }
}

impl Ground {
    /// Does what a request asks for.
    pub(crate) fn perform(&mut self, request: &Request) -> Done {
        let done = self.attempt(request);
        match (&done, request) {
            (Ok(_), Request::Status { status, .. }) => self.note_effects(status),
            (Ok(_), Request::Answer { name, status, .. }) => self.note_answer(name, status),
            _ => {}
        }
        match &done {
            Ok(_) => self.tally.transition(request.transition()),
            Err(Failure::EpochLost) => self.tally.transition(Transition::EpochRefused),
            Err(Failure::Refused(_)) if matches!(request, Request::Status { .. }) => {
                self.tally.transition(Transition::StatusRefused);
            }
            Err(Failure::Refused(Refusal::AlreadyExists)) => self.tally.transition(Transition::PodNotCreated),
            Err(_) => {}
        }
        // What is there already, or gone already, is as good as done.
        match (done, request) {
            (Err(Failure::Refused(Refusal::AlreadyExists)), _)
            | (
                Err(Failure::Refused(Refusal::NotFound)),
                Request::Delete { .. }
                | Request::ForgetRevision { .. }
                | Request::Restore { .. }
                | Request::Label { .. }
                | Request::Finalizer { on: false, .. }
                | Request::Answer { .. }
                | Request::Forget { .. },
            ) => Ok(None),
            (done, _) => done,
        }
    }

    fn attempt(&mut self, request: &Request) -> Done {
        let now = self.now;
        match request {
            Request::Status { expected, status } => {
                let status = self.statuses.write(status);
                let key = (Kind::Cluster, CLUSTER.to_owned());
                let answer = self.api.apply_status(&key, expected, status);
                learn(key, answer)
            }
            Request::Finalizer { expected, on } => {
                let key = (Kind::Cluster, CLUSTER.to_owned());
                let answer = self.api.edit(&key, expected, |cluster| {
                    cluster.finalizers.remove(FINALIZER);
                    cluster.finalizers.extend(on.then(|| FINALIZER.to_owned()));
                });
                learn(key, answer)
            }
            Request::Apply { owner, object } => self.apply(owner, object),
            Request::Restore { key, uid } => {
                let same = Expected { uid: Some(uid.clone()), version: None };
                let answer = self.api.edit(key, &same, |object| {
                    object.fields.insert(see::WATCHED.to_owned(), CLUSTER.to_owned());
                    if let Some((number, shape)) = see::made_as(&key.1, object).filter(|_| key.0 == Kind::Revision) {
                        object.fields.insert(NUMBER.to_owned(), number.to_string());
                        object.fields.insert(SHAPE.to_owned(), shape);
                    }
                });
                learn(key.clone(), answer)
            }
            Request::Create { owner, name, role, revision, index, zone, shape } => {
                let labels = [
                    (see::WATCHED, CLUSTER.to_owned()),
                    ("labels.role", role.to_string()),
                    ("labels.revision", revision.to_string()),
                    ("labels.index", index.to_string()),
                    ("labels.zone", zone.clone()),
                    ("spec.shape", shape.clone()),
                ];
                let key = (Kind::Pod, name.clone());
                let answer = self.api.create(now, key.clone(), Object::new(Some(owner), labels));
                learn(key, answer)
            }
            Request::Delete { name, expected, .. } => {
                let key = (Kind::Pod, name.clone());
                let answer = self.api.delete(now, &key, expected, false);
                learn(key, answer)
            }
            Request::ForgetRevision { name } => {
                let key = (Kind::Revision, name.clone());
                let answer = self.api.delete(now, &key, &Expected::default(), false);
                learn(key, answer)
            }
            Request::Label { name, uid, serving } => {
                let key = (Kind::Pod, name.clone());
                let same = Expected { uid: Some(uid.clone()), version: None };
                let answer = self.api.edit(&key, &same, |pod| {
                    pod.fields.insert("labels.serving".to_owned(), serving.to_string());
                });
                learn(key, answer)
            }
            Request::Drain { uid, on } => {
                let process = self.processes.get(uid).ok_or(Failure::Unreachable)?;
                if !self.machines.get(&process.node).is_some_and(super::ground::nodes::Machine::reachable) {
                    return Err(Failure::Unreachable);
                }
                self.processes.get_mut(uid).into_iter().for_each(|process| process.draining = *on);
                Ok(None)
            }
            Request::ForgetKeys { leader_epoch } => {
                self.etcd.forget(*leader_epoch)?;
                Ok(None)
            }
            Request::Shed { uid, users } => {
                self.shed(uid, *users);
                Ok(None)
            }
            Request::Answer { name, expected, status } => {
                let key = (Kind::Operation, name.clone());
                let status = self.answers.write(status);
                let answer = self.api.apply_status(&key, expected, status);
                learn(key, answer)
            }
            Request::Forget { name, uid } => {
                let key = (Kind::Operation, name.clone());
                let same = Expected { uid: Some(uid.clone()), version: None };
                let answer = self.api.delete(now, &key, &same, false);
                learn(key, answer)
            }
            Request::Policy { policy, read } => {
                self.etcd.put_policy(policy.clone(), *read)?;
                Ok(None)
            }
            Request::Write { role, is_target, document, read } => {
                self.etcd.put(*role, *is_target, document.clone(), *read)?;
                Ok(None)
            }
        }
    }

    fn apply(&mut self, owner: &str, object: &Owned) -> Done {
        let (kind, fields) = match object {
            Owned::PodKeySecret { .. } => (Kind::Secret, vec![]),
            Owned::ControllerRevision { number, hash, .. } => {
                let shape = hash.as_str().to_owned();
                let watched = (see::WATCHED, CLUSTER.to_owned());
                let number = (NUMBER, number.to_string());
                (Kind::Revision, vec![watched, number, (SHAPE, shape.clone()), (see::DATA, shape)])
            }
            Owned::NetworkPolicy { .. } => (Kind::Policy, vec![("spec.content", CONTENT.to_owned())]),
            Owned::Service { .. } => (Kind::Service, vec![("spec.content", CONTENT.to_owned())]),
            Owned::PodDisruptionBudget { role, min_available, .. } => {
                (Kind::Budget, vec![("spec.role", role.to_string()), ("spec.min", min_available.to_string())])
            }
        };
        let key = (kind, object.name().to_owned());
        // What holds a key or a revision is made once; the rest is written whoever wrote it last.
        let answer = if matches!(kind, Kind::Secret | Kind::Revision) {
            self.api.create(self.now, key.clone(), Object::new(Some(owner), fields))
        } else {
            let fields = fields.into_iter().map(|(path, value)| (path.to_owned(), value)).collect();
            let apply = Apply { manager: MANAGER, force: true, fields, owner: Some(owner) };
            self.api.apply(self.now, &key, &Expected::default(), &apply)
        };
        learn(key, answer)
    }
}

fn learn(key: Key, answer: Answer) -> Done {
    Ok(answer?.map(|object| (key, object)))
}

/// What an action asks a server for. `version` of the Pod or the operation it names, or of the registry it was planned with, `cluster` with its uid and version, shape of new Pods.
pub(crate) fn request(action: &Action, cluster: &Expected, version: Option<u64>, shape: &str) -> Request {
    let owner = cluster.uid.clone().unwrap_or_default();
    let read = version.unwrap_or_default();
    match action.clone() {
        Action::SetFinalizer => Request::Finalizer { expected: cluster.clone(), on: true },
        Action::RemoveFinalizer => Request::Finalizer { expected: cluster.clone(), on: false },
        Action::Apply(object) => Request::Apply { owner, object },
        Action::Restore(Edited::Pod { name, uid }) => Request::Restore { key: (Kind::Pod, name), uid },
        Action::Restore(Edited::Revision { name, uid }) => Request::Restore { key: (Kind::Revision, name), uid },
        Action::CreatePod { name, role, revision, index, zone } => {
            Request::Create { owner, name, role, revision, index, zone, shape: shape.to_owned() }
        }
        Action::DeletePod { name, uid, because, .. } => {
            Request::Delete { name, expected: Expected { uid: Some(uid.clone()), version }, uid, because }
        }
        Action::DrainPod { uid, .. } => Request::Drain { uid, on: true },
        Action::UndrainPod { uid, .. } => Request::Drain { uid, on: false },
        Action::ShedUsers { uid, users, .. } => Request::Shed { uid, users },
        Action::DeleteRevision { name, .. } => Request::ForgetRevision { name },
        Action::WriteOperation { name, uid, status } => {
            Request::Answer { name, expected: Expected { uid: Some(uid), version }, status: Arc::new(*status) }
        }
        Action::DeleteOperation { name, uid } => Request::Forget { name, uid },
        Action::LabelServing { name, uid, serving } => Request::Label { name, uid, serving },
        Action::ForgetKeys { leader_epoch } => Request::ForgetKeys { leader_epoch },
        Action::WritePolicy { policy } => Request::Policy { policy, read },
        Action::WriteTarget { role, document } => Request::Write { role, is_target: true, document, read },
        Action::WritePlacement { role, document } => Request::Write { role, is_target: false, document, read },
    }
}
