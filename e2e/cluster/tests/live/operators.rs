//! The operator itself goes: another takes over, and while there is none, chat goes on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::json;
use throng_cluster::api::repository;

use crate::Said;
use crate::people::{Wish, words};
use crate::world::{
    EVERYBODY, NAMESPACE, NEXT, POOLS, World, call, get, install_of, kill, kubectl, metric, names_and_uids, pods, rest,
    set_pools, until,
};

const LEASE: &str = "lease/throng-operator";
/// A successor acts by then after a crash ...
const AFTER_CRASH: Duration = Duration::from_secs(20);
/// ... and after an end in peace.
const AFTER_END: Duration = Duration::from_secs(3);
/// No operator for so long.
const NOBODY: (Duration, Duration) = (Duration::from_mins(10), Duration::from_secs(30));
/// What holds the slots of a lost Pod is there by then.
const TAKEN_OVER: Duration = Duration::from_secs(10);

/// The leader is killed, then told to end; each time its successor does what is wanted next. At last the operator becomes another
/// release, and no Pod of the cluster changes.
pub(crate) fn successors(world: &World) -> Result<Said> {
    set_pools([2, 2, 2])?;
    let people = world.people(Wish { cluster: "live", count: EVERYBODY, name: "leader", may_cut: false })?;
    let mut said = Vec::new();
    if world.own().is_some() {
        let acted = succeed([2, 3, 2], |leader| kill(leader, Signal::KILL).map(drop))?;
        ensure!(acted <= world.within(AFTER_CRASH), "after SIGKILL the successor acted after {acted:?}");
        said.push(format!("after SIGKILL {:.1} s", acted.as_secs_f64()));
    }
    let end = |leader: &str| {
        let answer = call("DELETE", &format!("/api/v1/namespaces/{NAMESPACE}/pods/{leader}"), None)?;
        ensure!(answer.status < 300, "{}", answer.body);
        Ok(())
    };
    let acted = succeed([2, 3, 3], end)?;
    ensure!(acted <= world.within(AFTER_END), "after SIGTERM the successor acted after {acted:?}");
    said.push(format!("after SIGTERM {:.1} s", acted.as_secs_f64()));
    said.push(upgrade()?);
    let report = people.leave()?;
    Ok(Said::Well(format!("{}; {}", said.join(", "), words(&report))))
}

/// The operator becomes that of the commit before, then this one again; where that one is not known, the same under another name.
fn upgrade() -> Result<String> {
    let before = names_and_uids("live")?;
    let previous = World::previous();
    let steps = if let Some(sources) = &previous {
        vec![(sources.clone(), "previous"), (repository(), "")]
    } else {
        // Whatever runs now, the other name: an earlier run may have ended on this one.
        let image = get("deployment/throng")?["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        vec![(repository(), if image == NEXT { "" } else { "next" })]
    };
    for (sources, tag) in steps {
        let leader = holder()?;
        install_of(&sources, &format!("--set image.tag={tag} --wait --timeout 3m"))?;
        until("one of the other release leads", Duration::from_mins(1), || {
            let now = holder()?;
            ensure!(!now.is_empty() && now != leader, "{now} leads");
            Ok(())
        })?;
        rest("live")?;
        let after = names_and_uids("live")?;
        ensure!(before == after, "an operator of release {tag:?} changed Pods: {before:?}, now {after:?}");
    }
    Ok(match previous {
        Some(_) => "to the commit before and back no Pod changes".to_owned(),
        None => "an upgrade changes no Pod; the commit before is not known here".to_owned(),
    })
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
    let (away, before, leader) = (Instant::now(), names_and_uids("live")?, holder()?);
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
    ensure!(
        before == names_and_uids("live")?,
        "operators that came back changed Pods: {before:?}, now {:?}",
        names_and_uids("live")?
    );
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

/// Asks for other pools and ends the leader in the same moment: how long from its end until a successor has begun.
fn succeed(pools: [u32; 3], end: impl FnOnce(&str) -> Result<()>) -> Result<Duration> {
    let leader = holder()?;
    let count = || Ok::<_, anyhow::Error>(pods("throng.dev/cluster=live")?.len());
    let before = count()?;
    let ended = Instant::now();
    end(pod_of(&leader))?;
    until("the pools are asked for", AFTER_END, || ask_for(pools))?;
    let soon = Instant::now() + Duration::from_mins(2);
    while holder()? == leader || holder()?.is_empty() || count()? <= before {
        ensure!(Instant::now() < soon, "{} leads, {} Pods, {before} were there", holder()?, count()?);
        std::thread::sleep(Duration::from_millis(20));
    }
    let acted = ended.elapsed();
    rest("live")?;
    // Both must be there before the next one goes.
    kubectl("rollout status deployment throng --timeout=60s")?;
    Ok(acted)
}

/// Asks for pools: at once, unless the operator writes in the same moment.
fn ask_for(pools: [u32; 3]) -> Result<()> {
    let path = format!("/apis/throng.dev/v1alpha1/namespaces/{NAMESPACE}/chatroomclusters/live");
    let mut wanted = call("GET", &path, None)?.body;
    for (pool, pods) in POOLS.into_iter().zip(pools) {
        wanted["spec"][pool]["replicas"] = json!({"min": pods, "max": pods});
    }
    let answer = call("PUT", &path, Some(&wanted))?;
    ensure!(answer.status == 200, "{}", answer.body);
    Ok(())
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
