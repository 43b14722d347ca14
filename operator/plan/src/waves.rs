//! In which order actions are carried out, and which together. Pure.
//!
//! The order of a plan is kept. Actions on Pods that follow each other touch different Pods, or the same in a known order
//! (into the Service, out of it, then drained, then deleted), so they go together, in that order of kinds.

use crate::plan::Action;
use crate::world::{Edited, Object};

/// What is carried out next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wave<'a> {
    /// Something that what follows stands on: if it fails, nothing follows.
    Alone(&'a Action),
    /// Actions at the same time. One that fails is skipped.
    Together(Vec<&'a Action>),
}

/// Divides a plan.
#[must_use]
pub fn waves(actions: &[Action]) -> Vec<Wave<'_>> {
    let mut waves = Vec::new();
    for run in actions.chunk_by(|a, b| rank(a).is_some() && rank(b).is_some()) {
        for wanted in 0..4 {
            let together: Vec<&Action> = run.iter().filter(|action| rank(action) == Some(wanted)).collect();
            if !together.is_empty() {
                waves.push(Wave::Together(together));
            }
        }
        let apart = |action| if is_stood_on(action) { Wave::Alone(action) } else { Wave::Together(vec![action]) };
        waves.extend(run.iter().filter(|action| rank(action).is_none()).map(apart));
    }
    waves
}

/// Whether what follows needs it. A Service that is refused (its node port is taken) keeps no lost Pod from being replaced.
const fn is_stood_on(action: &Action) -> bool {
    !matches!(
        action,
        Action::Apply(Object::Service { .. } | Object::NetworkPolicy { .. })
            | Action::DeleteRevision { .. }
            | Action::Restore(_)
    )
}

/// Place of an action among those on Pods; none: it is about more than one Pod.
const fn rank(action: &Action) -> Option<u8> {
    match action {
        Action::CreatePod { .. } | Action::UndrainPod { .. } | Action::LabelServing { serving: true, .. } => Some(0),
        Action::LabelServing { serving: false, .. } => Some(1),
        Action::DrainPod { .. } | Action::ShedUsers { .. } => Some(2),
        Action::DeletePod { .. } => Some(3),
        Action::SetFinalizer
        | Action::RemoveFinalizer
        | Action::Apply(_)
        | Action::Restore(_)
        | Action::WriteTarget { .. }
        | Action::WritePlacement { .. }
        | Action::WriteOperation { .. }
        | Action::DeleteOperation { .. }
        | Action::DeleteRevision { .. }
        | Action::WritePolicy { .. }
        | Action::ForgetKeys { .. } => None,
    }
}

/// The kind of an action in one word.
#[must_use]
pub const fn kind(action: &Action) -> &'static str {
    match action {
        Action::SetFinalizer => "set_finalizer",
        Action::RemoveFinalizer => "remove_finalizer",
        Action::Apply(_) => "apply",
        Action::Restore(_) => "restore",
        Action::CreatePod { .. } => "create_pod",
        Action::DeletePod { .. } => "delete_pod",
        Action::DrainPod { .. } => "drain_pod",
        Action::UndrainPod { .. } => "undrain_pod",
        Action::LabelServing { .. } => "label_serving",
        Action::WriteTarget { .. } => "write_target",
        Action::WritePlacement { .. } => "write_placement",
        Action::ShedUsers { .. } => "shed_users",
        Action::WriteOperation { .. } => "write_operation",
        Action::DeleteOperation { .. } => "delete_operation",
        Action::DeleteRevision { .. } => "delete_revision",
        Action::WritePolicy { .. } => "write_policy",
        Action::ForgetKeys { .. } => "forget_keys",
    }
}

/// An action as people read it.
#[must_use]
pub fn describe(action: &Action) -> String {
    match action {
        Action::SetFinalizer => "put the finalizer on the cluster".to_owned(),
        Action::RemoveFinalizer => "take the finalizer off the cluster".to_owned(),
        Action::Apply(object) => format!("write {} {}", object.kind(), object.name()),
        Action::Restore(Edited::Pod { name, .. }) => format!("write Pod {name} as it was made"),
        Action::Restore(Edited::Revision { name, .. }) => format!("write ControllerRevision {name} as it was made"),
        Action::CreatePod { name, zone, .. } if zone.is_empty() => format!("make {name}"),
        Action::CreatePod { name, zone, .. } => format!("make {name} in {zone}"),
        Action::DeletePod { name, because, .. } => format!("delete {name}: {because:?}"),
        Action::DrainPod { name, .. } => format!("drain {name}"),
        Action::UndrainPod { name, .. } => format!("take the drain of {name} back"),
        Action::LabelServing { name, serving: true, .. } => format!("put {name} into its Service"),
        Action::LabelServing { name, serving: false, .. } => format!("take {name} out of its Service"),
        Action::ShedUsers { name, users, .. } => format!("ask {users} users of {name} to connect anew"),
        Action::WriteOperation { name, status, .. } => format!("write that operation {name} is {:?}", status.phase),
        Action::DeleteOperation { name, .. } => format!("delete operation {name}: its time to live is over"),
        Action::DeleteRevision { number, .. } => format!("forget revision {number}"),
        Action::WriteTarget { role, .. } => format!("write the target of {role} slots"),
        Action::WritePlacement { role, document } => {
            format!("write version {} of the placement of {role} slots", document.0.version)
        }
        Action::ForgetKeys { .. } => "remove the keys of the cluster from etcd".to_owned(),
        Action::WritePolicy { policy } => format!("write version {} of the policy of rooms", policy.version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Because;
    use crate::status::Utc;
    use throng_core::Role;

    fn drain(name: &str) -> Action {
        Action::DrainPod { name: name.into(), uid: "u".into(), deadline: Utc::default(), users_per_s: None }
    }

    fn label(name: &str, serving: bool) -> Action {
        Action::LabelServing { name: name.into(), uid: "u".into(), serving }
    }

    fn delete(name: &str) -> Action {
        let (name, uid) = (name.into(), "u".into());
        Action::DeletePod { name, uid, because: Because::Emptied, most_users_cut: 0 }
    }

    #[test]
    fn pods_leave_their_service_before_they_are_drained() {
        let plan = [label("a", false), drain("a"), label("b", false), drain("b"), delete("c")];
        let names = |wave: &Wave<'_>| match wave {
            Wave::Alone(action) => vec![describe(action)],
            Wave::Together(actions) => actions.iter().map(|action| describe(action)).collect(),
        };
        let waves: Vec<Vec<String>> = waves(&plan).iter().map(names).collect();
        assert_eq!(
            waves,
            [
                vec!["take a out of its Service", "take b out of its Service"],
                vec!["drain a", "drain b"],
                vec!["delete c: Emptied"],
            ]
        );
    }

    #[test]
    fn a_pod_comes_into_service_before_another_leaves_it() {
        let plan = [label("new", true), label("old", false)];
        assert_eq!(waves(&plan), [Wave::Together(vec![&plan[0]]), Wave::Together(vec![&plan[1]])]);
    }

    #[test]
    fn what_all_stand_on_is_a_wave_of_its_own_and_parts_the_others() {
        let budget =
            Action::Apply(Object::PodDisruptionBudget { name: "x".into(), role: Role::Gateway, min_available: 1 });
        let plan = [Action::SetFinalizer, label("a", true), budget.clone(), delete("b"), Action::RemoveFinalizer];
        let wanted = vec![
            Wave::Alone(&plan[0]),
            Wave::Together(vec![&plan[1]]),
            Wave::Alone(&plan[2]),
            Wave::Together(vec![&plan[3]]),
            Wave::Alone(&plan[4]),
        ];
        assert_eq!(waves(&plan), wanted);
        assert_eq!(waves(&[]), []);
    }
}
