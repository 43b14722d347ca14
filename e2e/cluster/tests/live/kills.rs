//! Operators die in the middle of what other scenarios look at, where nothing of it is timed by them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::Said;
use crate::operators::leader;
use crate::world::{World, kill, kubectl, pods, until};

/// So many in all scenarios together.
const WANTED: usize = 20;
/// In so many scenarios.
const SCENARIOS: usize = 5;

/// Who died, in the order of their deaths: in which scenario, and whether they led.
static DEAD: Mutex<Vec<(&'static str, bool)>> = Mutex::new(Vec::new());

/// Kills an operator as soon as two run: the one that leads, or the other. Does nothing to a cluster that is not ours.
pub(crate) fn one(world: &World, scenario: &'static str) -> Result<()> {
    if world.own().is_some() { now(scenario) } else { Ok(()) }
}

/// The same of a cluster that is ours.
pub(crate) fn now(scenario: &'static str) -> Result<()> {
    // Scenarios that go on beside each other take turns: the next waits until two run again.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let number = DEAD.lock().unwrap_or_else(PoisonError::into_inner).len();
    // Steps of the golden ratio: they look random, and are the same in every run.
    let leads = number * 6180 % 10_000 > 5_000;
    let mut victim = String::new();
    until("two operators run", Duration::from_mins(2), || {
        let operators = pods("app.kubernetes.io/name=throng-operator")?;
        let runs = |pod: &&serde_json::Value| {
            pod["metadata"]["deletionTimestamp"].is_null()
                && pod["status"]["containerStatuses"][0]["state"]["running"].is_object()
        };
        let names: Vec<_> = operators.iter().filter(runs).filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
        ensure!(names.len() >= 2, "these run: {names:?}");
        let leader = leader()?;
        let chosen = names.into_iter().find(|name| (*name == leader) == leads).context("nobody leads yet")?;
        kill(chosen, Signal::KILL)?;
        chosen.clone_into(&mut victim);
        Ok(())
    })?;
    DEAD.lock().unwrap_or_else(PoisonError::into_inner).push((scenario, leads));
    // Another Pod, or Kubernetes would wait longer after each.
    kubectl(&format!("delete pod {victim} --force --grace-period=0 --wait=false --ignore-not-found")).map(drop)
}

/// How many died, and where.
pub(crate) fn told(world: &World) -> Result<Said> {
    if world.own().is_none() {
        return Ok(Said::NotRun("processes of a cluster that is not ours are not killed"));
    }
    let dead = DEAD.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let each = dead.iter().fold(BTreeMap::<&str, u32>::new(), |mut each, (scenario, _)| {
        *each.entry(scenario).or_default() += 1;
        each
    });
    let enough = dead.len() >= WANTED && each.len() >= SCENARIOS;
    ensure!(
        enough || !world.whole,
        "{} operators were killed, {WANTED} in {SCENARIOS} scenarios are wanted: {each:?}",
        dead.len()
    );
    let leaders = dead.iter().filter(|(_, leads)| *leads).count();
    let words: Vec<_> = each.iter().map(|(scenario, count)| format!("{scenario} {count}")).collect();
    Ok(Said::Well(format!("{} with SIGKILL, {leaders} of them led: {}", dead.len(), words.join(", "))))
}
