//! What the operator asks of the API server, from the log that the server keeps: how much at rest, and with which rights.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use throng_cluster::api::kubectl;

use crate::Said;
use crate::world::{NAMESPACE, World, get, pods, set_pools};

/// Calls a second of each operator at rest, beside those of its Lease.
const AT_REST_PER_S: f64 = 1.0;
/// Group, resource with its part, verb.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Right<'a>(&'a str, &'a str, &'a str);

impl std::fmt::Display for Right<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(group, resource, verb) = self;
        let group = if group.is_empty() { "core" } else { group };
        write!(f, "{verb} {resource} ({group})")
    }
}

/// A call as the API server noted it.
struct Call {
    /// The Pod that its token belongs to.
    pod: String,
    group: String,
    resource: String,
    verb: String,
    code: u64,
}

/// At rest: calls a second of each operator by itself, for the one that leads does more than the other.
pub(crate) fn little_at_rest(world: &World) -> Result<Said> {
    let Some(_) = world.own() else { return Ok(Said::NotRun("the log of an API server that is not ours is not read")) };
    set_pools([2, 2, 2])?;
    std::thread::sleep(Duration::from_secs(5));
    let window = world.lasts(Duration::from_mins(1), Duration::from_secs(20));
    let before = calls(world)?.len();
    std::thread::sleep(window);
    let calls = calls(world)?;
    let all = calls.iter().skip(before);
    // Both renew or look at the Lease, so both are in the log, however quiet they are.
    let mut each: BTreeMap<&str, BTreeMap<String, u32>> = BTreeMap::new();
    for call in all {
        let used = each.entry(&call.pod).or_default();
        if call.resource != "leases" {
            *used.entry(format!("{} {}", call.verb, call.resource)).or_default() += 1;
        }
    }
    let operators = pods("app.kubernetes.io/name=throng-operator")?;
    let mut said = Vec::new();
    for operator in &operators {
        let name = operator["metadata"]["name"].as_str().context("a Pod has a name")?;
        let used = each.get(name).with_context(|| format!("{name} is not in the log; these are: {:?}", each.keys()))?;
        let per_s = f64::from(used.values().sum::<u32>()) / window.as_secs_f64();
        ensure!(per_s <= AT_REST_PER_S, "{name}: {per_s:.2} calls a second, {AT_REST_PER_S} are promised: {used:?}");
        let most = used.iter().max_by_key(|(_, count)| **count).map(|(what, count)| format!(", most {count} x {what}"));
        said.push(format!("{name} {per_s:.2}{}", most.unwrap_or_default()));
    }
    ensure!(!said.is_empty(), "there is no operator");
    Ok(Said::Well(format!("calls a second beside the Lease: {}", said.join("; "))))
}

/// Every right that was used is granted, and every right that is granted was used.
pub(crate) fn rights(world: &World) -> Result<Said> {
    let Some(_) = world.own() else { return Ok(Said::NotRun("the log of an API server that is not ours is not read")) };
    let calls = calls(world)?;
    let granted = granted()?;
    let granted: BTreeSet<Right<'_>> = granted.iter().map(|(a, b, c)| Right(a, b, c)).collect();
    let mut used = BTreeSet::new();
    let mut differences = Vec::new();
    for call in &calls {
        let right = Right(&call.group, &call.resource, &call.verb);
        used.insert(right);
        if call.verb == "patch" && call.code == 201 {
            // An apply of what is not there makes it, and asks for that right too.
            used.insert(Right(&call.group, &call.resource, "create"));
        }
        if call.code == 403 && !granted.contains(&right) {
            differences.push(format!("missing: the operator was refused {right}"));
        }
    }
    if world.whole {
        let unused = granted.difference(&used);
        differences.extend(unused.map(|right| format!("unused: nothing in all scenarios needed {right}")));
    }
    differences.sort();
    differences.dedup();
    ensure!(differences.is_empty(), "rights and their use differ:\n  {}", differences.join("\n  "));
    let compared =
        if world.whole { "all of them used" } else { "none missing; which are unused is seen when all scenarios run" };
    Ok(Said::Well(format!("{} rights, {compared}; {} calls", granted.len(), calls.len())))
}

/// What the operator asked for since the cluster began.
fn calls(world: &World) -> Result<Vec<Call>> {
    let log = world.own().context("the cluster is not ours")?.folder().join("logs/audit.jsonl");
    let text = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    let operator = format!("system:serviceaccount:{NAMESPACE}:throng");
    // The last line may be half written.
    let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own = entries.filter(|entry| entry["user"]["username"] == operator.as_str());
    Ok(own.filter_map(|entry| call(&entry)).collect())
}

fn call(entry: &Value) -> Option<Call> {
    let object = &entry["objectRef"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (resource, part) = (object["resource"].as_str()?, object["subresource"].as_str());
    Some(Call {
        pod: text(&entry["user"]["extra"]["authentication.kubernetes.io/pod-name"][0]),
        group: text(&object["apiGroup"]),
        resource: part.map_or_else(|| resource.to_owned(), |part| format!("{resource}/{part}")),
        verb: text(&entry["verb"]),
        code: entry["responseStatus"]["code"].as_u64()?,
    })
}

/// All rights of the operator's account: those in its namespace and those of the whole cluster.
fn granted() -> Result<BTreeSet<(String, String, String)>> {
    let mut rights = BTreeSet::new();
    let nodes: Value = serde_json::from_str(&kubectl(&format!("get clusterrole {NAMESPACE}-throng-nodes -o json"))?)?;
    for role in [get("role/throng")?, get("role/throng-leader")?, nodes] {
        for rule in role["rules"].as_array().into_iter().flatten() {
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    let each = texts(&rule["verbs"]);
                    rights.extend(each.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())));
                }
            }
        }
    }
    ensure!(!rights.is_empty(), "the operator has no rights");
    Ok(rights)
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}
