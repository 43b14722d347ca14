//! Operations on clusters that do not exist, and such as cannot be read: they are answered too.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::Api;
use throng_crds::validate::Flaw;
use throng_crds::{ChatroomOperation, validate};
use throng_plan::Action;
use throng_plan::plan::{self, stray};
use throng_plan::status::{OperationStatus, Utc};
use tracing::{info, warn};

use super::worker::Shared;
use crate::apply::Failure;
use crate::apply::operations::{self, Named};
use crate::events::of_operation;
use crate::lease::Term;
use crate::watch::ClusterKey;

/// Answers those that are due, while this process leads and everything was listed. What fails is tried at the next time, and
/// keeps none of the others waiting. `refused` remembers the uids of those that could not be read and have their answer: it
/// cannot be read either.
pub async fn answer(shared: &Shared, clusters: &[ClusterKey], refused: &mut BTreeSet<String>) {
    let Some(term) = shared.leadership.term().filter(|_| shared.watches.unsynced().is_empty()) else { return };
    let now = Utc::of(Timestamp::now());
    refuse(shared, term, now, refused).await;
    for object in shared.watches.strays(clusters) {
        let Some(asks) = validate::operation(&object).ok() else { continue };
        let Some(action) = stray(&asks, &object.spec.cluster, now) else { continue };
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<ChatroomOperation> = Api::namespaced(shared.clients.usual.clone(), &namespace);
        let done = match &action {
            Action::WriteOperation { name, status, .. } => {
                operations::write(&api, term, &object, status).await.map(|written| {
                    info!(namespace, name, cluster = object.spec.cluster, "its cluster does not exist");
                    if let Some(key) = Named::of(&object.metadata) {
                        shared.teller.tell_of(&key, of_operation(name, status));
                    }
                    shared.watches.operations.learn(written);
                })
            }
            Action::DeleteOperation { name, uid } => operations::delete(&api, term, name, uid).await,
            _ => Ok(()),
        };
        if let Err(failure) = done {
            not_answered(&namespace, &object.name_any(), &failure);
        }
    }
}

fn not_answered(namespace: &str, operation: &str, failure: &Failure) {
    warn!(namespace, operation, error = %failure, "not answered; it is tried again");
}

/// Fails those that cannot be followed.
async fn refuse(shared: &Shared, term: Term, now: Utc, done: &mut BTreeSet<String>) {
    let client = &shared.clients.usual;
    for object in shared.watches.open_operations() {
        let Err(flaws) = validate::operation(&object) else { continue };
        let Some(key) = Named::of(&object.metadata) else { continue };
        let status = plan::refused(&object.status.clone().unwrap_or_default(), told(&flaws), now);
        match operations::refuse(client, term, &key, &status).await {
            Ok(written) => {
                info!(namespace = key.namespace, name = key.name, "an operation cannot be followed");
                shared.teller.tell_of(&key, of_operation(key.name, &status));
                if let Ok(written) = written.try_parse() {
                    shared.watches.operations.learn(written);
                }
            }
            Err(failure) => not_answered(key.namespace, key.name, &failure),
        }
    }
    let unreadable = shared.watches.unreadable_operations();
    done.retain(|uid| unreadable.iter().any(|one| one.metadata.uid.as_ref() == Some(uid)));
    for one in unreadable {
        let Some(key) = Named::of(&one.metadata).filter(|key| !done.contains(key.uid)) else { continue };
        let message =
            format!("it cannot be read: {}; `kubectl explain chatroomoperation.spec` says what to write", one.error);
        let status = plan::refused(&OperationStatus::default(), message, now);
        match operations::refuse(client, term, &key, &status).await {
            Ok(_) => {
                info!(namespace = key.namespace, name = key.name, "an operation cannot be read");
                shared.teller.tell_of(&key, of_operation(key.name, &status));
                done.insert(key.uid.to_owned());
            }
            Err(failure) => not_answered(key.namespace, key.name, &failure),
        }
    }
}

fn told(flaws: &[Flaw]) -> String {
    let all: Vec<String> = flaws.iter().map(ToString::to_string).collect();
    format!("{}; create another", all.join("; "))
}
