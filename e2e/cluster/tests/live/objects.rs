//! Objects that the operator owns: people touch them, two clusters have theirs beside each other, and nothing stays.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::Said;
use crate::people::{Wish, words};
use crate::world::{EVERYBODY, World, apply, get, items, kubectl, metric, rest, set_pools, spec, until};

/// What the operator makes for a cluster.
const KINDS: [&str; 6] =
    ["pods", "services", "poddisruptionbudgets", "networkpolicies", "controllerrevisions", "secrets"];
/// An edit is undone and a deletion made good by then.
const SOON: Duration = Duration::from_secs(20);

/// Edits are undone, what is deleted comes back, a deleted Pod is replaced; people notice nothing of it.
pub(crate) fn edits(world: &World) -> Result<Said> {
    set_pools([2, 2, 2])?;
    let people = world.people(Wish { cluster: "live", count: EVERYBODY, name: "edits", may_cut: false })?;
    let began = Instant::now();
    edit("service/live-gateway", r#"{"spec":{"selector":{"throng.dev/role":"nobody"}}}"#, "/spec/selector")?;
    edit("poddisruptionbudget/live-chatroom", r#"{"spec":{"minAvailable":9}}"#, "/spec/minAvailable")?;
    edit("networkpolicy/live-message", r#"{"spec":{"ingress":[]}}"#, "/spec/ingress")?;
    for object in ["service/live-gateway", "poddisruptionbudget/live-gateway", "networkpolicy/live-chatroom"] {
        comes_back(object)?;
    }
    for role in ["message", "chatroom", "gateway"] {
        let pod = get(&format!("pods -l throng.dev/cluster=live,throng.dev/role={role}"))?;
        let name = items(&pod).first().and_then(|pod| pod["metadata"]["name"].as_str()).context("no Pod")?.to_owned();
        kubectl(&format!("delete pod {name} --wait=false"))?;
        until("the deleted Pod is noticed", SOON, || {
            let pods = get("pods -l throng.dev/cluster=live")?;
            let others = items(&pods).iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).count();
            ensure!(others >= 6, "{others} Pods stay");
            Ok(())
        })?;
        rest("live")?;
    }
    let took = began.elapsed();
    let report = people.leave()?;
    Ok(Said::Well(format!("all as it was after {:.0} s; {}", took.as_secs_f64(), words(&report))))
}

/// Two clusters share a namespace, Redis and etcd. One is deleted while people are on it: they are asked to go, all of it goes, and
/// the other is as before.
pub(crate) fn two_clusters(world: &World) -> Result<Said> {
    set_pools([2, 2, 2])?;
    apply(&spec("other", [2, 1, 1], 30081, "").replace("deadline: 60s", "deadline: 20s"))?;
    rest("other")?;
    let here = world.people(Wish { cluster: "live", count: 250, name: "same", may_cut: false })?;
    let there = world.people(Wish { cluster: "other", count: 250, name: "same", may_cut: true })?;
    let connections = |cluster: &str| -> Result<f64> {
        Ok(metric(cluster, "gateway", "throng_gateway_connections")?.iter().map(|(_, count)| *count).sum())
    };
    until("each has its own people", Duration::from_secs(20), || {
        let (live, other) = (connections("live")?, connections("other")?);
        ensure!((live - 250.0).abs() < 0.5 && (other - 250.0).abs() < 0.5, "{live} and {other} people");
        Ok(())
    })?;
    let before = names("live")?;
    let began = Instant::now();
    kubectl("delete chatroomcluster other --wait=false")?;
    until("people are asked to go", SOON, || {
        ensure!(there.count("goaways") > 0, "{}", there.now());
        Ok(())
    })?;
    until("nothing is left of it", Duration::from_mins(2), || {
        let left = names("other")?;
        ensure!(left.is_empty() && get("crc/other").is_err(), "{left:?}");
        Ok(())
    })?;
    let took = began.elapsed();
    drop(there);
    ensure!(before == names("live")?, "the other cluster has changed: {before:?}, now {:?}", names("live")?);
    let report = here.leave()?;
    Ok(Said::Well(format!("deleted with 250 people on it after {:.1} s; {}", took.as_secs_f64(), words(&report))))
}

/// Changes a field of an object, and waits until it is what it was.
fn edit(object: &str, patch: &str, field: &str) -> Result<()> {
    let read = || -> Result<Value> { Ok(get(object)?.pointer(field).cloned().unwrap_or_default()) };
    let before = read()?;
    kubectl(&format!("patch {object} --type merge -p {patch}"))?;
    until(&format!("the edit of {object} is undone"), SOON, || {
        let now = read()?;
        ensure!(now == before, "{field} is {now}, was {before}");
        Ok(())
    })
}

/// Deletes an object, and waits for another of its name.
fn comes_back(object: &str) -> Result<()> {
    let before = get(object)?["metadata"]["uid"].clone();
    kubectl(&format!("delete {object}"))?;
    until(&format!("{object} is back"), SOON, || {
        ensure!(get(object)?["metadata"]["uid"] != before, "it is the old one");
        Ok(())
    })
}

/// Names of all that belongs to a cluster, with uids.
fn names(cluster: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for kind in KINDS {
        let list = get(&format!("{kind} -l throng.dev/cluster={cluster}"))?;
        let name = |object: &Value| format!("{kind} {} {}", object["metadata"]["name"], object["metadata"]["uid"]);
        names.extend(items(&list).iter().map(name));
    }
    names.sort();
    Ok(names)
}
