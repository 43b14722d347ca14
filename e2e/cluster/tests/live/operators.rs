//! The operator itself goes: another takes over, and while there is none, chat goes on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::json;
use throng_cluster::api::repository;

use crate::Said;
use crate::people::{Wish, words};
use crate::world::{
    EVERYBODY, NAMESPACE, NEXT, POOLS, World, call, get, install_of, kill, kill_uid, kubectl, metric, names_and_uids,
    pods, rest, set_pools, uid, until,
};

const LEASE: &str = "lease/throng-operator";
/// A successor acts by then after a crash ...
const AFTER_CRASH: Duration = Duration::from_secs(20);
/// ... and after an end in peace.
const AFTER_END: Duration = Duration::from_secs(3);
/// No operator for so long.
const NOBODY: (Duration, Duration) = (Duration::from_mins(10), Duration::from_mins(1));
/// The slots of a lost Pod have another owner by then, and no room was silent for longer.
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

/// Both operators are away and a chatroom and a message Pod are lost: their rooms and users go on elsewhere, and nobody replaces
/// them. When the operators are back, they do, and touch no other Pod.
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
    let looked = (|| {
        let lost = if world.own().is_some() {
            vec![lose(world, "chatroom", "throng_chatroom_members")?, lose(world, "message", "throng_message_users")?]
        } else {
            Vec::new()
        };
        let lasts = world.lasts(NOBODY.0, NOBODY.1);
        std::thread::sleep(lasts.saturating_sub(away.elapsed()));
        let mut left = before.clone();
        left.retain(|(name, _)| lost.iter().all(|lost| lost.name != *name));
        let meanwhile = names_and_uids("live")?;
        ensure!(meanwhile == left, "Pods have changed while there was no operator: {left:?}, now {meanwhile:?}");
        let ended = people.count("disconnects");
        ensure!(ended == 0, "{ended} connections ended while there was no operator");
        Ok::<_, anyhow::Error>((lost, left))
    })();
    kubectl("scale deployment throng --replicas=2")?;
    let (lost, left) = looked?;
    until("somebody leads again", Duration::from_mins(2), || {
        let now = holder()?;
        ensure!(!now.is_empty() && now != leader, "{now} leads");
        Ok(())
    })?;
    until("every pool has its Pods", Duration::from_mins(2), || {
        let now = names_and_uids("live")?;
        ensure!(now.len() == before.len(), "{now:?}");
        Ok(())
    })?;
    // Whoever begins with an empty memory must have seen everything before it acts.
    std::thread::sleep(Duration::from_secs(3));
    rest("live")?;
    let after = names_and_uids("live")?;
    let stayed = left.iter().all(|pod| after.contains(pod));
    ensure!(stayed && after.len() == before.len(), "operators that came back changed Pods: {left:?}, now {after:?}");
    let report = people.leave()?;
    let silence = report["gap_ms"]["max"].as_f64().context("nobody heard anything")?;
    let bound = world.within(TAKEN_OVER);
    ensure!(silence <= bound.as_secs_f64() * 1e3, "somebody heard nothing for {silence} ms, {bound:?} are promised");
    let told = |lost: &Lost| {
        format!("{} was lost, others had its slots after {:.1} s", lost.name, lost.taken_over.as_secs_f64())
    };
    let lost = match &lost[..] {
        [] => "no Pod was lost: the cluster is not ours".to_owned(),
        lost => lost.iter().map(told).collect::<Vec<_>>().join("; "),
    };
    Ok(Said::Well(format!("{:.0} s without one; {lost}; {}", away.elapsed().as_secs_f64(), words(&report))))
}

/// A Pod that is no more.
struct Lost {
    name: String,
    taken_over: Duration,
}

/// The Pod of a role with most people is gone without a word, and so is its object, or the kubelet would start it again: the
/// others have all slots.
fn lose(world: &World, role: &str, people: &str) -> Result<Lost> {
    let most = metric("live", role, people)?.into_iter().max_by(|(_, one), (_, other)| one.total_cmp(other));
    let (name, _) = most.with_context(|| format!("there is no {role} Pod"))?;
    let uid = uid(&name)?;
    let began = Instant::now();
    // It stands still while its object goes: it cannot hand anything over.
    kill_uid(&uid, Signal::STOP)?;
    kubectl(&format!("delete pod {name} --force --grace-period=0 --wait=false"))?;
    // Unless the kubelet has done that already.
    let _ = kill_uid(&uid, Signal::KILL);
    until("every slot has an owner", world.within(TAKEN_OVER), || {
        let found = metric("live", role, r#"throng_ownership_slots{state="open""#)?;
        ensure!(!found.iter().any(|(pod, _)| *pod == name), "{name} is still there");
        let slots: f64 = found.iter().map(|(_, slots)| *slots).sum();
        ensure!(slots >= 4096.0, "{slots} of 4096 slots");
        Ok(())
    })?;
    Ok(Lost { name, taken_over: began.elapsed() })
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

/// The name of the Pod that leads.
pub(crate) fn leader() -> Result<String> {
    Ok(pod_of(&holder()?).to_owned())
}

/// The Pod of a leader: its name begins with that.
fn pod_of(leader: &str) -> &str {
    leader.split('_').next().unwrap_or(leader)
}
