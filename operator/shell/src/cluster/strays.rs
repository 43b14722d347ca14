//! Operations on clusters that do not exist: they are answered too.

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::Api;
use throng_crds::{ChatroomOperation, validate};
use throng_plan::Action;
use throng_plan::plan::stray;
use throng_plan::status::Utc;
use tracing::{debug, info};

use super::worker::Shared;
use crate::apply::operations;
use crate::watch::ClusterKey;

/// Answers those that are due, while this process leads and everything was listed. What fails is tried at the next time.
pub async fn answer(shared: &Shared, clusters: &[ClusterKey]) {
    let Some(term) = shared.leadership.term().filter(|_| shared.watches.unsynced().is_empty()) else { return };
    let now = Utc::of(Timestamp::now());
    for object in shared.watches.strays(clusters) {
        let Some(asks) = validate::operation(&object).ok() else { continue };
        let Some(action) = stray(&asks, &object.spec.cluster, now) else { continue };
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<ChatroomOperation> = Api::namespaced(shared.clients.usual.clone(), &namespace);
        let done = match &action {
            Action::WriteOperation { name, uid, status } => {
                operations::write(&api, term, name, uid, status).await.map(|written| {
                    info!(namespace, name, cluster = object.spec.cluster, "its cluster does not exist");
                    shared.watches.operations.learn(written);
                })
            }
            Action::DeleteOperation { name, uid } => operations::delete(&api, term, name, uid).await,
            _ => Ok(()),
        };
        if let Err(failure) = done {
            debug!(namespace, error = %failure, "an operation was not answered; it is tried again");
            return;
        }
    }
}
