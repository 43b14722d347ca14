//! What a spec says of times, rates and nodes, while people are in the rooms.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::Said;
use crate::examples::nobody_on;
use crate::people::{Wish, words};
use crate::world::{World, apply, get, kubectl, names_and_uids, pods, rest, set_pools, spec, until};

/// How many people there are.
const PEOPLE: u32 = 100;
/// An event begins so soon, and its floor a little earlier.
const BEGINS_S: u64 = 20;
/// What the spec asks for is there by then.
const SOON: Duration = Duration::from_mins(2);

/// The floor of an event raises the pools before people come, a new rate holds in the rooms at once, Pods leave a node that is
/// marked to go: nobody is cut off by any of it.
pub(crate) fn carried_out(world: &World) -> Result<Said> {
    set_pools([2, 2, 2])?;
    let people = world.people(Wish { cluster: "live", count: PEOPLE, name: "plans", may_cut: false })?;
    let before = names_and_uids("live")?;
    let start = clock(BEGINS_S)?;
    let event = format!(
        "  events: [{{name: final, start: \"{start}\", timeZone: Europe/Berlin, ramp: 10s, hold: 20s, floor: {{gateway: 3, message: 3}}}}]"
    );
    let roomy = spec("live", [2, 2, 2], 30080, &event).replace("{min: 2, max: 2}", "{min: 2, max: 3}");
    apply(&roomy)?;
    phase("Upcoming")?;
    phase("Ramping")?;
    until("the floor is there", SOON, || {
        let pools = get("crc/live")?["status"]["pools"].clone();
        let ready = ["gateway", "chatroom", "message"].map(|pool| pools[pool]["ready"].as_u64());
        ensure!(ready == [Some(3), Some(2), Some(3)], "{pools}");
        Ok(())
    })?;
    phase("Over")?;
    let kept = names_and_uids("live")?;
    ensure!(before.iter().all(|pod| kept.contains(pod)), "Pods are others: {before:?}, now {kept:?}");
    set_pools([2, 2, 2])?;

    let before = names_and_uids("live")?;
    let slow = "  rooms: {upstream: {userMessagesPerSecond: 1}}";
    apply(&spec("live", [2, 2, 2], 30080, slow))?;
    std::thread::sleep(Duration::from_secs(5));
    apply(&spec("live", [2, 2, 2], 30080, ""))?;
    rest("live")?;
    let after = names_and_uids("live")?;
    ensure!(before == after, "a rate has changed Pods: {before:?}, now {after:?}");

    let gateways = pods("throng.dev/cluster=live,throng.dev/role=gateway")?;
    let node = gateways.first().and_then(|pod| pod["spec"]["nodeName"].as_str()).context("it runs on a node")?;
    kubectl(&format!("taint node {node} karpenter.sh/disrupted=:NoSchedule"))?;
    let left = nobody_on(node);
    kubectl(&format!("taint node {node} karpenter.sh/disrupted-"))?;
    left?;
    rest("live")?;
    until("everybody is there", Duration::from_secs(10), || people.all_there(PEOPLE))?;
    let report = people.leave()?;
    let limited = report["publish_limited"].as_u64().unwrap_or(0);
    ensure!(limited > 0, "one message a second was allowed, and nobody was told that he says too much: {report:#}");
    Ok(Said::Well(format!(
        "an event came and went; {limited} messages were too many for the rate; {node} was left; {}",
        words(&report)
    )))
}

/// Waits until the event is so far.
fn phase(wanted: &str) -> Result<()> {
    until(&format!("the event is {wanted}"), SOON, || {
        let events = get("crc/live")?["status"]["events"].clone();
        ensure!(events[0]["phase"] == wanted, "{events}");
        Ok(())
    })
}

/// What a clock in Berlin shows in so many seconds, as a spec says it.
fn clock(seconds: u64) -> Result<String> {
    let mut date = Command::new("date");
    let output =
        date.env("TZ", "Europe/Berlin").args(["-d", &format!("{seconds} seconds"), "+%Y-%m-%dT%H:%M:%S"]).output()?;
    ensure!(output.status.success(), "date: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
