//! `throng status`, `check`, `plan` and `drain` of a cluster with an operator, and with people in its rooms. `rollback`, `pause`,
//! `resume` and `promote` are used where releases come and go.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::Said;
use crate::people::{Wish, binary, words};
use crate::world::{NAMESPACE, POOLS, World, apply, get, kubectl, metric, pods, rest, set_pools, spec, until, zone_of};

/// Rooms and users are placed as if for the first time.
const ANEW: &str = "
apiVersion: throng.dev/v1alpha1
kind: ChatroomOperation
metadata: {name: anew}
spec: {cluster: live, rebalance: {}}
";

/// What is shown is what is there; what is planned is not done; what is drained and placed anew moves, and cuts nobody off.
pub(crate) fn shown(world: &World) -> Result<Said> {
    set_pools([2, 2, 2])?;
    let people = world.people(Wish { cluster: "live", count: 100, name: "shown", may_cut: false })?;
    let tree = throng("status live")?;
    ensure!(tree.starts_with(&format!("live  in {NAMESPACE}  at rest\n")), "{tree}");
    for pod in pods("throng.dev/cluster=live")? {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let node = &pod["spec"]["nodeName"];
        // Of its node: the one that it was made for may have had no room.
        let zone = zone_of(node.as_str().unwrap_or_default())?;
        let line = tree.lines().find(|line| line.contains(&format!("{name} "))).unwrap_or_default();
        let told = [Some("serves"), node.as_str(), Some(&zone)].into_iter().flatten().all(|part| line.contains(part));
        ensure!(told, "{name} on {node} in {zone}: {tree}");
    }
    until("everybody is counted", Duration::from_secs(30), || {
        let overview: Value = serde_json::from_str(&throng("status live -o json")?)?;
        ensure!(overview["users"] == 100 && overview["ready"] == "6/6", "{overview}");
        Ok(())
    })?;
    let check = throng("check live")?;
    ensure!(check.contains(&format!("leads, in namespace {NAMESPACE}")), "{check}");
    ensure!(check.ends_with("0 problems, 0 warnings, 0 that cannot be known from here\n"), "{check}");
    let file = std::env::temp_dir().join(format!("throng-plan-{}.yaml", std::process::id()));
    std::fs::write(&file, spec("live", [3, 2, 2], 30080, ""))?;
    let planned = throng(&format!("plan -f {} -o json", file.display()));
    std::fs::remove_file(&file)?;
    let plan: Value = serde_json::from_str(&planned?)?;
    ensure!(plan["pools"]["gateway"]["wanted"] == 2 && plan["pools"]["gateway"]["then"] == 3, "{plan}");
    ensure!(plan["revision"] == plan["nextRevision"], "a larger pool is no new revision: {plan}");
    let steps = plan["steps"].as_array().map_or(&[][..], Vec::as_slice);
    let makes = |step: &Value| step["what"].as_str().is_some_and(|what| what.starts_with("make gateway Pods"));
    ensure!(steps.iter().any(makes), "{plan}");
    rest("live")?;
    ensure!(pods("throng.dev/cluster=live")?.len() == 6, "a plan made a Pod");
    // What was planned is what the operator then does.
    set_pools([3, 2, 2])?;
    let status = get("crc/live")?["status"].clone();
    for pool in POOLS {
        let (then, now) = (&plan["pools"][pool]["then"], &status["pools"][pool]["wanted"]);
        ensure!(then == now, "{pool}: {then} were planned, the operator wants {now}");
    }
    ensure!(status["revision"] == plan["nextRevision"], "revision {} was planned: {status}", plan["nextRevision"]);
    set_pools([2, 2, 2])?;
    let drained = drain()?;
    kubectl("delete cro anew --ignore-not-found")?;
    apply(ANEW)?;
    until("all is placed anew", Duration::from_mins(2), || {
        let status = get("cro/anew")?["status"].clone();
        ensure!(status["phase"] == "Succeeded", "{status}");
        Ok(())
    })?;
    rest("live")?;
    until("everybody is there", Duration::from_secs(10), || people.all_there(100))?;
    Ok(Said::Well(format!("{drained} was drained; {}", words(&people.leave()?))))
}

/// Empties the gateway with most people, and waits as the command does; another serves in its place. Its name.
fn drain() -> Result<String> {
    let gateways = metric("live", "gateway", "throng_gateway_connections")?;
    let most = gateways.into_iter().max_by(|(_, one), (_, other)| one.total_cmp(other));
    let (victim, people) = most.context("there is no gateway")?;
    ensure!(people >= 10.0, "{victim} has {people} people, too few to tell anything");
    throng(&format!("drain {victim} --yes --wait --timeout 3m"))?;
    let left = kubectl(&format!("get pod {victim} --ignore-not-found -o name"))?;
    ensure!(left.is_empty(), "{victim} is still there");
    rest("live")?;
    Ok(victim)
}

/// Runs the program in the namespace, without a terminal; what it printed.
pub(crate) fn throng(line: &str) -> Result<String> {
    let mut command = Command::new(binary()?);
    let command = command.args(line.split_ascii_whitespace()).args(["--namespace", NAMESPACE]).stdin(Stdio::null());
    let output = command.output()?;
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "throng {line}: {}: {out}{errors}", output.status);
    Ok(out.into_owned())
}
