//! Whether an operator may be uninstalled: nobody would empty the Pods of clusters that it leaves behind.

use std::time::Duration;

use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use throng_crds::ChatroomCluster;
use tokio::time::{sleep, timeout};

use crate::kube_api::{CALL, Clients, Observer, Unusable};
use crate::options::Scope;

/// An API server that does not answer is asked so often ...
const TRIES: u32 = 5;
/// ... with this pause.
const PAUSE: Duration = Duration::from_secs(3);

/// Why it may not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// There is a cluster.
    #[error(
        "ChatroomCluster {namespace}/{name} exists, and without the operator nobody would empty and end its Pods. Delete it first, and wait until it is gone: kubectl delete chatroomcluster --namespace {namespace} {name}"
    )]
    Cluster {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Nobody can tell.
    #[error("nobody can tell whether there are ChatroomClusters: {0}")]
    Unknown(String),
    /// No way to the API server.
    #[error(transparent)]
    Kube(#[from] Unusable),
}

/// Succeeds if there is no cluster in these namespaces.
///
/// # Errors
/// The first that there is, or why nobody can tell.
pub async fn check(scope: &Scope) -> Result<(), Refused> {
    check_with(&Clients::connect(&Observer::default()).await?.usual, scope).await
}

async fn check_with(client: &Client, scope: &Scope) -> Result<(), Refused> {
    let apis: Vec<Api<ChatroomCluster>> = match scope {
        Scope::All => vec![Api::all(client.clone())],
        Scope::Namespaces(names) => names.iter().map(|name| Api::namespaced(client.clone(), name)).collect(),
    };
    for api in apis {
        if let Some((namespace, name)) = first(&api).await? {
            return Err(Refused::Cluster { namespace, name });
        }
    }
    Ok(())
}

/// Namespace and name of a cluster.
async fn first(api: &Api<ChatroomCluster>) -> Result<Option<(String, String)>, Refused> {
    let mut why = String::new();
    for again in 0..TRIES {
        if again > 0 {
            sleep(PAUSE).await;
        }
        // Its metadata can always be read.
        match timeout(CALL, api.list_metadata(&ListParams::default().limit(1))).await {
            Ok(Ok(found)) => {
                let found = found.items.into_iter().next();
                return Ok(found.map(|found| (found.namespace().unwrap_or_default(), found.name_any())));
            }
            // Without the kinds there are no clusters.
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => return Ok(None),
            Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => {
                return Err(Refused::Unknown(status.message.clone()));
            }
            Ok(Err(error)) => why = error.to_string(),
            Err(late) => why = format!("the API server does not answer: {late}"),
        }
    }
    Err(Refused::Unknown(why))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// What is said when the API server answers this.
    async fn said(scope: &Scope, code: u16, answer: Value) -> Result<(), String> {
        let service = tower::service_fn(move |_: Request<Body>| {
            let body = Body::from(serde_json::to_vec(&answer).unwrap());
            async move { Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap()) }
        });
        check_with(&Client::new(service, "ops"), scope).await.map_err(|refused| refused.to_string())
    }

    fn list(items: &Value) -> Value {
        json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items})
    }

    #[tokio::test]
    async fn a_cluster_wherever_it_is_holds_it_back() {
        let there = list(&json!([{"metadata": {"namespace": "show", "name": "live"}}]));
        for scope in [Scope::All, Scope::Namespaces(vec!["show".into()])] {
            let refused = said(&scope, 200, there.clone()).await.unwrap_err();
            assert!(refused.starts_with("ChatroomCluster show/live exists, and without the operator"), "{refused}");
            assert_eq!(said(&scope, 200, list(&json!([]))).await, Ok(()));
        }
    }

    #[tokio::test]
    async fn without_the_kinds_there_is_none_and_without_the_right_nobody_can_tell() {
        let status = |reason: &str, code| json!({"kind": "Status", "status": "Failure", "message": reason, "reason": reason, "code": code});
        assert_eq!(said(&Scope::All, 404, status("NotFound", 404)).await, Ok(()));
        let refused = said(&Scope::All, 403, status("Forbidden", 403)).await.unwrap_err();
        assert_eq!(refused, "nobody can tell whether there are ChatroomClusters: Forbidden");
    }
}
