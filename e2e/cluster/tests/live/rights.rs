//! What the live-ops role is for, done. Every right that it has and has not is asked for in the test of the charts.

use anyhow::{Context as _, Result, ensure};
use throng_cluster::api;

use crate::Said;
use crate::world::{NAMESPACE, World, install, kubectl};

/// Whoever is bound to the role.
const DESK: &str = "live-desk";

/// It creates an operation, and may not delete a cluster.
pub(crate) fn live_ops(_: &World) -> Result<Said> {
    if kubectl("get deployment throng").is_err() {
        install("--wait --timeout 3m")?;
    }
    let binding = format!("create rolebinding {DESK} --clusterrole=throng-live-ops --group={DESK}");
    kubectl(&format!("delete rolebinding {DESK} --ignore-not-found"))?;
    kubectl(&binding)?;
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
    Ok(Said::Well("an operation was created, the deletion of a cluster refused".to_owned()))
}
