//! The operator itself goes: another takes over, and while there is none, chat goes on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::Said;
use crate::people::{Wish, words};
use crate::world::{EVERYBODY, World, apply, get, install, kill, kubectl, metric, pods, rest, set_pools, spec, until};

const LEASE: &str = "lease/throng-operator";
/// A successor acts by then after a crash ...
const AFTER_CRASH: Duration = Duration::from_secs(20);
/// ... and after an end in peace.
const AFTER_END: Duration = Duration::from_secs(3);
/// No operator for so long.
const NOBODY: (Duration, Duration) = (Duration::from_mins(10), Duration::from_secs(30));
/// What holds the slots of a lost Pod is there by then.
const TAKEN_OVER: Duration = Duration::from_secs(10);

/// The leader is killed, then told to end; each time its successor does what is wanted next. At last the Deployment is rolled, and
/// no Pod of the cluster changes.
pub(crate) fn successors(world: &World) -> Result<Said> {
    set_pools([2, 2, 2])?;
    let people = world.people(Wish { cluster: "live", count: EVERYBODY, name: "leader", may_cut: false })?;
    let mut said = Vec::new();
    if world.own().is_some() {
        let acted = succeed([2, 3, 2], |leader| kill(leader, Signal::KILL).map(drop))?;
        ensure!(acted <= world.within(AFTER_CRASH), "after SIGKILL the successor acted after {acted:?}");
        said.push(format!("after SIGKILL {:.1} s", acted.as_secs_f64()));
    }
    let end = |leader: &str| kubectl(&format!("delete pod {leader} --wait=false")).map(drop);
    let acted = succeed([2, 3, 3], end)?;
    ensure!(acted <= world.within(AFTER_END), "after SIGTERM the successor acted after {acted:?}");
    said.push(format!("after SIGTERM {:.1} s", acted.as_secs_f64()));
    let before = uids()?;
    install(&format!("--set podAnnotations.round=r{} --wait --timeout 3m", std::process::id()))?;
    rest("live")?;
    ensure!(before == uids()?, "an upgrade of the operator changed Pods: {before:?}, now {:?}", uids()?);
    let report = people.leave()?;
    Ok(Said::Well(format!("{}; an upgrade changes no Pod; {}", said.join(", "), words(&report))))
}

/// Both operators are away and a chatroom Pod dies: its rooms go on elsewhere. When the operators are back, all is as it was.
pub(crate) fn nobody(world: &World) -> Result<Said> {
    set_pools([2, 2, 2])?;
    let people = world.people(Wish { cluster: "live", count: EVERYBODY, name: "nobody", may_cut: true })?;
    kubectl("scale deployment throng --replicas=0")?;
    until("no operator is there", Duration::from_mins(1), || {
        let left = pods("app.kubernetes.io/name=throng-operator")?.len();
        ensure!(left == 0, "{left} operators");
        Ok(())
    })?;
    let (away, before, leader) = (Instant::now(), uids()?, holder()?);
    let lost = world.own().map(|_| lose_chatroom(world)).transpose();
    let lasts = world.lasts(NOBODY.0, NOBODY.1);
    std::thread::sleep(lasts.saturating_sub(away.elapsed()));
    let ended = people.count("disconnects");
    kubectl("scale deployment throng --replicas=2")?;
    let lost = lost?.unwrap_or_else(|| "no Pod was killed: the cluster is not ours".to_owned());
    until("somebody leads again", Duration::from_mins(2), || {
        let now = holder()?;
        ensure!(!now.is_empty() && now != leader, "{now} leads");
        Ok(())
    })?;
    // Whoever begins with an empty memory must have seen everything before it acts.
    std::thread::sleep(Duration::from_secs(3));
    rest("live")?;
    ensure!(before == uids()?, "operators that came back changed Pods: {before:?}, now {:?}", uids()?);
    ensure!(ended == 0, "{ended} connections ended while there was no operator");
    let report = people.leave()?;
    Ok(Said::Well(format!("{:.0} s without one; {lost}; {}", away.elapsed().as_secs_f64(), words(&report))))
}

/// A chatroom Pod dies, and messages flow again.
fn lose_chatroom(world: &World) -> Result<String> {
    let victims = pods("throng.dev/cluster=live,throng.dev/role=chatroom")?;
    let victim =
        victims.first().and_then(|pod| pod["metadata"]["name"].as_str()).context("no chatroom Pod")?.to_owned();
    kill(&victim, Signal::KILL)?;
    let killed = Instant::now();
    let owned = || -> Result<f64> {
        let found = metric("live", "chatroom", "throng_chatroom_slots")?;
        Ok(found.iter().map(|(_, slots)| *slots).sum())
    };
    until("every slot has an owner", world.within(TAKEN_OVER), || {
        let slots = owned()?;
        ensure!(slots >= 4096.0, "{slots} of 4096 slots");
        Ok(())
    })?;
    Ok(format!("{victim} was killed, its slots were owned again after {:.1} s", killed.elapsed().as_secs_f64()))
}

/// Ends the leader and asks for other pools at the same time: how long until that is begun.
fn succeed(pools: [u32; 3], end: impl FnOnce(&str) -> Result<()>) -> Result<Duration> {
    let leader = holder()?;
    let count = || Ok::<_, anyhow::Error>(pods("throng.dev/cluster=live")?.len());
    let before = count()?;
    end(pod_of(&leader))?;
    let ended = Instant::now();
    apply(&spec("live", pools, 30080, ""))?;
    until("somebody else leads", Duration::from_mins(2), || {
        let now = holder()?;
        ensure!(now != leader && !now.is_empty(), "{now} leads");
        Ok(())
    })?;
    until("the successor makes a Pod", Duration::from_mins(2), || {
        ensure!(count()? > before, "{before} Pods as before");
        Ok(())
    })?;
    let acted = ended.elapsed();
    rest("live")?;
    // Both must be there before the next one goes.
    kubectl("rollout status deployment throng --timeout=60s")?;
    Ok(acted)
}

/// Who leads.
fn holder() -> Result<String> {
    let lease = get(LEASE)?;
    Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
}

/// The Pod of a leader: its name begins with that.
fn pod_of(leader: &str) -> &str {
    leader.split('_').next().unwrap_or(leader)
}

/// Names and uids of all Pods of the cluster.
fn uids() -> Result<Vec<(String, String)>> {
    let text = |pod: &serde_json::Value, field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> =
        pods("throng.dev/cluster=live")?.iter().map(|pod| (text(pod, "name"), text(pod, "uid"))).collect();
    all.sort();
    Ok(all)
}
