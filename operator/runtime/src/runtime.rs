//! The contract of a runtime, and how a plan is followed.

use throng_plan::status::ClusterStatus;
use throng_plan::waves::{Wave, waves};
use throng_plan::{Action, Plan};

/// Why something could not be done. Whatever it is: the world is looked at anew, and the next plan goes on from there.
pub trait Failure {
    /// Nothing more can be done now, whatever it is about: the right to act is lost, or a service does not answer.
    fn ends_the_pass(&self) -> bool;
}

/// What a plan is carried out on.
///
/// A runtime takes the snapshot itself, from what it has: objects of an API server, threads of a process, a model. Two
/// promises are asked of it. An action that names a uid touches no Pod of another, and one that is done already is done:
/// plans are made from what was seen, which may be a moment old. And every call ends: nothing here has a deadline of its own.
pub trait Runtime: Send {
    /// Why something could not be done.
    type Failure: Failure + Send;

    /// Stores the status: all that the planner remembers. Only if nobody else has stored one since it was read.
    fn remember(&mut self, status: &ClusterStatus) -> impl Future<Output = Result<(), Self::Failure>> + Send;

    /// Does actions that may be done in any order or at the same time; a result for each, in whatever order. The rest may be
    /// left after one that ends the pass.
    fn together(&mut self, actions: &[&Action]) -> impl Future<Output = Vec<Result<(), Self::Failure>>> + Send;
}

/// Follows a plan: the status first, if it differs from the stored one, so that progress is never in memory only; then the
/// actions.
///
/// # Errors
/// The failure that ended it; nothing was done if that was to store the status.
pub async fn follow<R: Runtime>(runtime: &mut R, stored: &ClusterStatus, plan: &Plan) -> Result<(), R::Failure> {
    if plan.status != *stored {
        runtime.remember(&plan.status).await?;
    }
    carry_out(runtime, &plan.actions).await
}

/// Does actions in their waves. The first failure of something that all stand on ends it; one about a single Pod is only
/// skipped, or a Pod that does not answer would hold up all the others.
///
/// # Errors
/// The failure that ended it; else the first of those that were skipped.
pub async fn carry_out<R: Runtime>(runtime: &mut R, actions: &[Action]) -> Result<(), R::Failure> {
    let mut first = Ok(());
    for wave in waves(actions) {
        let (alone, actions) = match wave {
            Wave::Alone(action) => (true, vec![action]),
            Wave::Together(actions) => (false, actions),
        };
        for result in runtime.together(&actions).await {
            match result {
                Err(failure) if alone || failure.ends_the_pass() => return Err(failure),
                result => first = first.and(result),
            }
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use throng_plan::plan::Because;
    use throng_plan::status::Utc;
    use throng_plan::waves::kind;

    use super::*;

    /// Writes down what it is asked for, and fails where it is told to.
    #[derive(Default)]
    struct Notes {
        said: Vec<String>,
        fails: Option<(&'static str, bool)>,
    }

    #[derive(Debug, PartialEq)]
    struct Failed(bool);

    impl Failure for Failed {
        fn ends_the_pass(&self) -> bool {
            self.0
        }
    }

    impl Notes {
        fn note(&mut self, what: &str) -> Result<(), Failed> {
            self.said.push(what.to_owned());
            self.fails.filter(|(at, _)| *at == what).map_or(Ok(()), |(_, ends)| Err(Failed(ends)))
        }
    }

    impl Runtime for Notes {
        type Failure = Failed;

        async fn remember(&mut self, _: &ClusterStatus) -> Result<(), Failed> {
            self.note("status")
        }

        async fn together(&mut self, actions: &[&Action]) -> Vec<Result<(), Failed>> {
            actions.iter().map(|action| self.note(kind(action))).collect()
        }
    }

    fn plan(status: ClusterStatus) -> Plan {
        let (name, uid) = ("a".to_owned(), "u".to_owned());
        let actions = vec![
            Action::SetFinalizer,
            Action::DeletePod { name: name.clone(), uid: uid.clone(), because: Because::Emptied, most_users_cut: 0 },
            Action::DrainPod { name, uid, deadline: Utc::default(), users_per_s: None },
            Action::RemoveFinalizer,
        ];
        Plan { actions, conditions: vec![], status, why: vec![], look_again_ms: 0 }
    }

    async fn followed(fails: Option<(&'static str, bool)>) -> (Vec<String>, Result<(), Failed>) {
        let mut notes = Notes { fails, ..Notes::default() };
        let status = ClusterStatus { users: 7, ..ClusterStatus::default() };
        let result = follow(&mut notes, &ClusterStatus::default(), &plan(status)).await;
        (notes.said, result)
    }

    const ALL: [&str; 5] = ["status", "set_finalizer", "drain_pod", "delete_pod", "remove_finalizer"];

    #[tokio::test]
    async fn the_status_comes_first_and_the_waves_in_their_order() {
        assert_eq!(followed(None).await, (ALL.map(str::to_owned).to_vec(), Ok(())));
        let mut notes = Notes::default();
        let same = ClusterStatus::default();
        follow(&mut notes, &same, &plan(same.clone())).await.unwrap();
        assert_eq!(notes.said, ALL[1..], "a status that is stored is not stored again");
    }

    #[tokio::test]
    async fn nothing_is_done_that_the_status_does_not_know_of() {
        assert_eq!(followed(Some(("status", false))).await, (vec!["status".to_owned()], Err(Failed(false))));
    }

    #[tokio::test]
    async fn one_pod_that_fails_is_skipped_and_told_of_at_the_end() {
        let (said, result) = followed(Some(("drain_pod", false))).await;
        assert_eq!((said, result), (ALL.map(str::to_owned).to_vec(), Err(Failed(false))));
    }

    #[tokio::test]
    async fn what_all_stand_on_and_what_ends_the_pass_ends_it() {
        for (fails, done) in [(("set_finalizer", false), 2), (("drain_pod", true), 3)] {
            let (said, result) = followed(Some(fails)).await;
            assert_eq!((said.len(), result), (done, Err(Failed(fails.1))), "{fails:?}");
        }
    }
}
