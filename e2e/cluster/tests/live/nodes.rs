//! Nodes go: as people ask for it, and without a word.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use throng_cluster::api::kubectl;

use crate::Said;
use crate::kills;
use crate::people::{Wish, words};
use crate::world::{EVERYBODY, World, pods, rest, set_pools, until};

/// Redis and etcd of a trial have no disk: they stay where they are.
const ALL_BUT_STORES: &str = "app.kubernetes.io/name!=redis,app.kubernetes.io/name!=etcd";
/// Users of a lost node are back by then, and nobody heard nothing for longer.
const BACK: Duration = Duration::from_mins(1);
/// Of a hundred pauses between two messages of the lively room, over all people and the whole time, one may be as long.
const P99: Duration = Duration::from_secs(2);

/// `kubectl drain` of each node, one after the other, while an operator dies: it ends, and nobody is cut off.
pub(crate) fn drain_each(world: &World) -> Result<Said> {
    set_pools([3, 3, 3])?;
    let people = world.people(Wish { cluster: "live", count: EVERYBODY, name: "drain", may_cut: false })?;
    let mut times = Vec::new();
    for node in nodes()? {
        let began = Instant::now();
        let line = format!(
            "drain {node} --ignore-daemonsets --delete-emptydir-data --force --timeout=240s --pod-selector={ALL_BUT_STORES}"
        );
        let (drained, killed) = std::thread::scope(|scope| {
            let draining = scope.spawn(|| kubectl(&line));
            let killed = kills::one(world, "drain of nodes");
            (draining.join(), killed)
        });
        let drained = drained.ok().context("a thread has panicked")?;
        times.push(format!("{node} {:.0} s", began.elapsed().as_secs_f64()));
        let left = drained.and(killed).and_then(|()| rest("live"));
        kubectl(&format!("uncordon {node}"))?;
        left?;
    }
    let report = people.leave()?;
    Ok(Said::Well(format!("{}; {}", times.join(", "), words(&report))))
}

/// A node without a store loses its network and gets it back: everybody is back in time, and nothing comes twice.
pub(crate) fn cut_off(world: &World) -> Result<Said> {
    let Some(cluster) = world.own() else {
        return Ok(Said::NotRun("nodes of a cluster that is not ours are not cut off"));
    };
    set_pools([3, 3, 3])?;
    let mut stores = pods("app.kubernetes.io/name=redis")?;
    stores.extend(pods("app.kubernetes.io/name=etcd")?);
    let has_store = |node: &String| stores.iter().any(|pod| pod["spec"]["nodeName"] == node.as_str());
    let victim = nodes()?.into_iter().rev().find(|node| !has_store(node)).context("every node has a store")?;
    let people = world.people(Wish { cluster: "live", count: EVERYBODY, name: "cut", may_cut: true })?;
    let began = Instant::now();
    cluster.set_plugged(&victim, false)?;
    let looked = (|| {
        until("people notice", BACK, || {
            ensure!(people.count("ready") < u64::from(EVERYBODY), "nobody noticed: {}", people.now());
            Ok(())
        })?;
        until("everybody is back", world.within(BACK), || people.all_there(EVERYBODY))?;
        let back = began.elapsed();
        // Kubernetes notices, and others take the place of the Pods that were on it.
        until("the Pods of the node are replaced", Duration::from_mins(3), || replaced(&victim))?;
        Ok::<_, anyhow::Error>(back)
    })();
    cluster.set_plugged(&victim, true)?;
    let back = looked?;
    let replaced = began.elapsed();
    kubectl(&format!("wait --for=condition=Ready node/{victim} --timeout=120s"))?;
    rest("live")?;
    std::thread::sleep(Duration::from_secs(3));
    let report = people.leave()?;
    ensure!(back <= world.within(BACK), "people were back after {back:?}");
    let gap = |which: &str| report["gap_ms"][which].as_f64().context("nobody heard anything");
    let (p99, longest) = (gap("p99")?, gap("max")?);
    for (gap, bound) in [(p99, P99), (longest, BACK)] {
        ensure!(gap <= world.within(bound).as_secs_f64() * 1e3, "somebody heard nothing for {gap} ms: {report}");
    }
    Ok(Said::Well(format!(
        "{victim}: everybody back after {:.1} s, silence p99 {p99} ms, longest {longest} ms, Pods replaced after {:.1} s; {}",
        back.as_secs_f64(),
        replaced.as_secs_f64(),
        words(&report)
    )))
}

/// Every pool has three serving Pods elsewhere.
fn replaced(node: &str) -> Result<()> {
    for role in ["gateway", "chatroom", "message"] {
        let serving = pods(&format!("throng.dev/cluster=live,throng.dev/role={role},throng.dev/serving=true"))?;
        let elsewhere = serving.iter().filter(|pod| pod["spec"]["nodeName"] != node).count();
        ensure!(elsewhere >= 3, "{elsewhere} {role} Pods serve elsewhere");
    }
    Ok(())
}

fn nodes() -> Result<Vec<String>> {
    Ok(kubectl("get nodes -o name")?.lines().map(|line| line.trim_start_matches("node/").to_owned()).collect())
}
