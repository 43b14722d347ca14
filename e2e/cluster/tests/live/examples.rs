//! The examples are applied as people would, and do what their comments say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use throng_cluster::api::{self, repository};

use crate::Said;
use crate::kills;
use crate::people::{Wish, words};
use crate::repeat::Repeat;
use crate::rollout::{is_done, phase_is, reached, serves_alone, succeeds};
use crate::world::{
    IMAGE, LIVE, NAMESPACE, NEXT, World, apply, get, is, kubectl, pods, set_pools, spec, until, zone_of,
};

/// How many people watch.
const PEOPLE: u32 = 250;
/// The whole of a careful release: three shares, each with its Pods, its users and its hold.
const RELEASE: Duration = Duration::from_mins(6);
/// A step of it.
const STEP: Duration = Duration::from_mins(3);
/// So many operators die meanwhile.
const KILLED: usize = 8;

/// `canary.yaml` goes through its shares to its end and is taken back by `rollback.yaml`; of `operations.yaml` each is carried out.
/// Operators die at random meanwhile.
pub(crate) fn applied(world: &World) -> Result<Said> {
    set_pools([2, 2, 2])?;
    let people = world.people(Wish { cluster: "live", count: PEOPLE, name: "examples", may_cut: false })?;
    let killed = Arc::new(AtomicUsize::new(0));
    let chaos = world.own().map(|_| kill_at_random(Arc::clone(&killed)));
    let carried_out = carried_out(world);
    if let Some(chaos) = chaos {
        until("all operators that should die are dead", STEP, || {
            let dead = killed.load(Ordering::Relaxed);
            ensure!(carried_out.is_err() || !chaos.goes_on() || dead == KILLED, "{dead} are dead");
            Ok(())
        })?;
        chaos.stop()?;
    }
    let said = carried_out?;
    apply(&spec("live", [2, 2, 2], 30080, ""))?;
    serves_alone(LIVE, IMAGE)?;
    until("everybody is there", Duration::from_secs(10), || people.all_there(PEOPLE))?;
    let report = people.leave()?;
    Ok(Said::Well(format!("{said}; {} operators killed; {}", killed.load(Ordering::Relaxed), words(&report))))
}

/// Kills operators until enough are dead.
fn kill_at_random(killed: Arc<AtomicUsize>) -> Repeat {
    Repeat::start(Duration::from_secs(4), move || {
        let number = killed.load(Ordering::Relaxed);
        if number < KILLED {
            // Steps of the golden ratio: they look random, and are the same in every run.
            std::thread::sleep(Duration::from_millis((number * 6180 % 10_000) as u64));
            kills::now("releases")?;
            killed.store(number + 1, Ordering::Relaxed);
        }
        Ok(())
    })
}

/// What was done.
fn carried_out(world: &World) -> Result<String> {
    apply(&canary(world, "2s")?)?;
    let mut shares = BTreeSet::new();
    until("the careful release is done", world.within(RELEASE), || {
        let status = get("crc/live")?["status"].clone();
        shares.extend(status["rollout"]["targetPercent"].as_u64());
        is_done(LIVE, NEXT)
    })?;
    ensure!([2, 10, 50].iter().all(|share| shares.contains(share)), "users moved in these shares: {shares:?}");
    let status = get("crc/live")?["status"].clone();
    let warm = revision(&status, "Warm")?;
    ensure!(warm["image"] == IMAGE && !warm["warmUntil"].is_null(), "the revision before is not warm: {warm}");

    create(&read("rollback.yaml")?)?;
    succeeds("rollback-0.2.0")?;
    let status = get("crc/live")?["status"].clone();
    ensure!(revision(&status, "Serving")?["image"] == IMAGE, "everybody is back: {}", status["revisions"]);
    apply(&canary(world, "2s")?)?;
    ensure!(is(&get("crc/live")?["status"], "RolledBack", "True"), "the bad spec changes nothing");
    apply(&spec("live", [2, 2, 2], 30080, ""))?;
    serves_alone(LIVE, IMAGE)?;
    let carried_out = operations(world)?;
    for example in ["rollback.yaml", "operations.yaml"] {
        api::apply(&format!("--namespace {NAMESPACE} delete --ignore-not-found"), &read(example)?)?;
    }
    Ok(format!("shares of {shares:?} %; carried out: {}", carried_out.join(", ")))
}

/// Every operation of `operations.yaml`, each where it has something to do.
fn operations(world: &World) -> Result<Vec<String>> {
    let home = revision(&get("crc/live")?["status"], "Serving")?["number"].as_u64().context("nothing serves")?;
    let text = read("operations.yaml")?.replace("to: 7", &format!("to: {home}"));
    let mut left: Vec<&str> = text.split("\n---\n").collect();
    let mut done = Vec::new();
    let mut carry_out = |name: &str, change: &dyn Fn(&str) -> String| -> Result<()> {
        let at =
            left.iter().position(|one| one.contains(&format!("name: {name}\n"))).context("it is in the example")?;
        create(&change(left.remove(at)))?;
        succeeds(name).with_context(|| name.to_owned())?;
        done.push(name.to_owned());
        Ok(())
    };
    let as_it_is = |text: &str| text.to_owned();
    apply(&canary(world, "1h")?)?;
    until("the canary has its share", world.within(STEP), || reached(LIVE, NEXT))?;
    carry_out("hold-until-the-break", &as_it_is)?;
    phase_is(LIVE, "Paused")?;
    carry_out("go-on", &as_it_is)?;
    until("the canary goes on", STEP, || reached(LIVE, NEXT))?;
    carry_out("promote", &as_it_is)?;
    until("everybody is on the release", world.within(STEP), || is_done(LIVE, NEXT))?;
    carry_out("back-to-7", &as_it_is)?;
    apply(&spec("live", [2, 2, 2], 30080, ""))?;
    serves_alone(LIVE, IMAGE)?;
    let gateways = pods("throng.dev/cluster=live,throng.dev/role=gateway")?;
    let names: Vec<&str> = gateways.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
    carry_out("replace-two", &|text| text.replace("live-gateway-7-2, live-gateway-7-5", &names.join(", ")))?;
    let now = pods("throng.dev/cluster=live,throng.dev/role=gateway")?;
    let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
    let same = |pod: &Value| gateways.iter().any(|old| old["metadata"]["uid"] == pod["metadata"]["uid"]);
    ensure!(!now.iter().filter(stays).any(same), "the Pods were not replaced");
    carry_out("rebalance", &as_it_is)?;
    // Labels and zones of nodes are not ours to choose elsewhere.
    if world.own().is_some() {
        let node = now.first().and_then(|pod| pod["spec"]["nodeName"].as_str()).context("it runs on a node")?;
        kubectl(&format!("label node {node} pool=old --overwrite"))?;
        let went = carry_out("leave-old-nodes", &as_it_is).and_then(|()| nobody_on(node));
        kubectl("delete chatroomoperation leave-old-nodes --ignore-not-found")?;
        kubectl(&format!("label node {node} pool-"))?;
        went?;
        let zone = zone_of(node)?;
        carry_out("leave-zone-a", &|text| text.replace("eu-west-1a", &zone))?;
        nobody_on(node)?;
        ensure!(left.is_empty(), "these were not carried out: {left:?}");
    }
    Ok(done)
}

/// No Pod of the cluster stays on a node.
pub(crate) fn nobody_on(node: &str) -> Result<()> {
    until(&format!("{node} is left"), STEP, || {
        let all = pods("throng.dev/cluster=live")?;
        let on: Vec<_> = all.iter().filter(|pod| pod["spec"]["nodeName"] == node).collect();
        ensure!(on.is_empty(), "{} Pods are on {node}", on.len());
        Ok(())
    })
}

fn read(example: &str) -> Result<String> {
    Ok(std::fs::read_to_string(repository().join("examples").join(example))?)
}

fn create(yaml: &str) -> Result<()> {
    api::apply(&format!("--namespace {NAMESPACE} create"), yaml).map(drop)
}

/// The careful release with what this place has: its image, its key, a port for its people, shorter holds, a slower machine.
fn canary(world: &World, hold: &str) -> Result<String> {
    let slow = format!("p99Ms: {:.0}", 400.0 * world.slack);
    let door = "  gateway:\n    service: {type: NodePort, nodePort: 30080, externalTrafficPolicy: Cluster}\n";
    let mut text = read("canary.yaml")?;
    for (there, here) in [
        ("throng:0.2.0", NEXT),
        ("secretRef: {name: live-auth}", "secretRef: {name: live-auth}\n      algorithms: [HS256]"),
        ("  gateway:\n", door),
        ("hold: 10m", &format!("hold: {hold}")),
        ("p99Ms: 400", &slow),
    ] {
        ensure!(text.contains(there), "the example has no {there}");
        text = text.replace(there, here);
    }
    Ok(text)
}

/// The revision of a state.
fn revision(status: &Value, state: &str) -> Result<Value> {
    let mut all = status["revisions"].as_array().into_iter().flatten();
    let found = all.find(|revision| revision["state"] == state);
    found.cloned().with_context(|| format!("no revision is {state}: {}", status["revisions"]))
}
