//! One operator for all namespaces, for several, for one.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use throng_cluster::api::Namespace;

use crate::Said;
use crate::world::{NAMESPACE, World, install, is, names_and_uids, rest, set_pools, spec, until};

/// A namespace that nobody names ...
const EVERYWHERE: &str = "throng-elsewhere";
/// ... and one that the operator is told of.
const SEVERAL: &str = "throng-several";
/// Its cluster starts, and goes, within this time.
const SOON: Duration = Duration::from_mins(3);

/// The operator is upgraded to watch all namespaces, then its own and another: each time a cluster of another one runs, and goes.
/// Then it watches its own again. The Pods beside it are the same all the time.
pub(crate) fn scopes(_: &World) -> Result<Said> {
    set_pools([2, 2, 2])?;
    let before = names_and_uids("live")?;
    let began = Instant::now();
    let looked =
        install("--set watch.scope=Cluster --wait --timeout 3m").and_then(|()| elsewhere(EVERYWHERE)).and_then(|all| {
            // It must be there when the operator begins: its rights are bound in it.
            let namespace = Namespace::make(SEVERAL, "restricted")?;
            let names = format!("watch.namespaces={{{NAMESPACE},{SEVERAL}}}");
            install(&format!("--set watch.scope=Namespaces --set {names} --wait --timeout 3m"))?;
            Ok((all, in_namespace(&namespace)?))
        });
    install("--wait --timeout 3m")?;
    let (all, several) = looked?;
    rest("live")?;
    let after = names_and_uids("live")?;
    ensure!(before == after, "another scope of the operator changed Pods: {before:?}, now {after:?}");
    Ok(Said::Well(format!(
        "a cluster of another namespace was ready after {:.1} s, with several namespaces after {:.1} s; back after {:.0} s, and no Pod has changed",
        all.as_secs_f64(),
        several.as_secs_f64(),
        began.elapsed().as_secs_f64()
    )))
}

/// The smallest cluster in a namespace of its own, with the stores of the trial: how long until it was ready.
fn elsewhere(name: &str) -> Result<Duration> {
    in_namespace(&Namespace::make(name, "restricted")?)
}

fn in_namespace(namespace: &Namespace) -> Result<Duration> {
    let mut small = spec("small", [1, 1, 1], 30082, "");
    for (store, port) in [("redis", 6379), ("etcd", 2379)] {
        small = small.replace(&format!("//{store}:{port}"), &format!("//{store}.{NAMESPACE}.svc.cluster.local:{port}"));
    }
    let began = Instant::now();
    namespace.apply(&small)?;
    until("the cluster of the other namespace is ready", SOON, || {
        let cluster: Value = serde_json::from_str(&namespace.kubectl("get crc small -o json")?)?;
        let status = &cluster["status"];
        ensure!(is(status, "Ready", "True") && status["ready"] == "3/3", "{status}");
        Ok(())
    })?;
    let ready = began.elapsed();
    // While the operator looks here: nobody else would empty it and let it go.
    namespace.kubectl("delete crc small --timeout=180s")?;
    until("its Pods are gone", Duration::from_secs(20), || {
        let left = namespace.kubectl("get pods -l throng.dev/cluster=small -o name")?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    })?;
    Ok(ready)
}
