//! Who may do what: the live-ops role, asked of the API server as `kubectl auth can-i` asks.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use throng_cluster::api;

use crate::Said;
use crate::world::{NAMESPACE, World, call, install, kubectl};

/// Whoever is bound to the role.
const DESK: &str = "live-desk";
const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
/// Group and resource, with the verbs that are allowed; all others of [`VERBS`] are not.
const MATRIX: &[(&str, &str, &[&str])] = &[
    ("throng.dev", "chatroomoperations", &["get", "list", "watch", "create"]),
    ("throng.dev", "chatroomclusters", &["get", "list", "watch"]),
    ("throng.dev", "chatroomoperations/status", &[]),
    ("throng.dev", "chatroomclusters/status", &[]),
    ("throng.dev", "chatroomclusters/finalizers", &[]),
    ("", "pods", &[]),
    ("", "pods/exec", &[]),
    ("", "pods/eviction", &[]),
    ("", "secrets", &[]),
    ("", "services", &[]),
    ("", "configmaps", &[]),
    ("", "nodes", &[]),
    ("apps", "deployments", &[]),
    ("apps", "controllerrevisions", &[]),
    ("policy", "poddisruptionbudgets", &[]),
    ("coordination.k8s.io", "leases", &[]),
    ("rbac.authorization.k8s.io", "rolebindings", &[]),
];

/// Every verb on every resource that matters, in the namespace and in another; then the real thing.
pub(crate) fn live_ops(_: &World) -> Result<Said> {
    if kubectl("get deployment throng").is_err() {
        install("--wait --timeout 3m")?;
    }
    let binding = format!("create rolebinding {DESK} --clusterrole=throng-live-ops --group={DESK}");
    kubectl(&format!("delete rolebinding {DESK} --ignore-not-found"))?;
    kubectl(&binding)?;
    let mut asked = 0;
    let mut wrong = Vec::new();
    for namespace in [NAMESPACE, "default"] {
        for (group, resource, allowed) in MATRIX {
            for verb in VERBS {
                let wanted = namespace == NAMESPACE && allowed.contains(&verb);
                asked += 1;
                if may(namespace, group, resource, verb)? != wanted {
                    let word = if wanted { "may not" } else { "may" };
                    wrong.push(format!("{word} {verb} {resource} in {namespace}"));
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "the live desk:\n  {}", wrong.join("\n  "));
    let as_desk = format!("--as=ana --as-group={DESK} --namespace {NAMESPACE}");
    let operation = format!(
        "apiVersion: throng.dev/v1alpha1\nkind: ChatroomOperation\nmetadata: {{name: of-the-desk-{}}}\nspec: {{cluster: nobody, rebalance: {{}}, ttl: 0s}}\n",
        std::process::id()
    );
    api::apply(&format!("{as_desk} create"), &operation).context("the live desk creates an operation")?;
    let refused = api::kubectl(&format!("{as_desk} delete crc live")).err().map(|error| format!("{error:#}"));
    let refused = refused.context("the live desk deleted a cluster")?;
    ensure!(refused.contains("orbidden"), "{refused}");
    kubectl(&format!("delete rolebinding {DESK}"))?;
    Ok(Said::Well(format!("{asked} questions answered as the table says")))
}

fn may(namespace: &str, group: &str, resource: &str, verb: &str) -> Result<bool> {
    let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": "ana", "groups": [DESK, "system:authenticated"], "resourceAttributes": {
            "namespace": namespace, "group": group, "resource": resource, "subresource": part, "verb": verb,
        }},
    });
    let answer = call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", Some(&review))?;
    answer.body["status"]["allowed"].as_bool().with_context(|| answer.body.to_string())
}
