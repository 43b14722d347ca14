//! Releases come, halt, are taken back, and come again, while people are in the rooms.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use throng_cluster::api::PATIENCE;

use crate::Said;
use crate::kills;
use crate::people::{People, Wish, binary, words};
use crate::repeat::Repeat;
use crate::world::{
    EVERYBODY, IMAGE, NAMESPACE, NEXT, RELEASED, Shared, World, apply, get, is, kill, kubectl, metric_of,
    names_and_uids, pods, rest, until,
};

/// An image that no registry has.
const MISSING: &str = "throng.invalid/throng:missing";
/// Share of users that a canary has here, and how far it may be from that.
const SHARE: (u64, u64) = (10, 2);
/// From the command to the last user back on the revision before.
const BACK: Duration = Duration::from_secs(30);
/// A manifest is applied again so often.
const AGAIN: Duration = Duration::from_secs(3);
/// How long a step of a release may take here: Pods start, users move.
const STEP: Duration = Duration::from_mins(3);
/// A Pod that is told to end, and says nothing for so long, has ended.
const ENDED: Duration = Duration::from_secs(2);
/// Messages of a canary that take longer are too slow.
const SLOW_MS: u32 = 500;

/// A bad image is halted before anybody notices; the next spec takes its place, is a canary, is held, and is promoted.
pub(crate) fn canary(world: &World) -> Result<Said> {
    RELEASED.set_pools([2, 2, 2])?;
    let people = world.people(Wish { cluster: RELEASED.name, count: EVERYBODY, name: "canary", may_cut: false })?;
    let before = names_and_uids(RELEASED.name)?;
    let began = Instant::now();
    apply(&release(MISSING, &steps(world, "1h")))?;
    until("the bad image halts the rollout", world.within(STEP), || phase_is(RELEASED, "Halted"))?;
    let halted = began.elapsed();
    let status = RELEASED.read()?["status"].clone();
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    let told = conditions.any(|one| {
        let names_it = one["message"].as_str().is_some_and(|message| message.contains(MISSING));
        one["type"] == "Degraded" && one["status"] == "True" && one["reason"] == "RolloutHalted" && names_it
    });
    ensure!(told, "a halt is not told: {}", status["conditions"]);
    let now = names_and_uids(RELEASED.name)?;
    ensure!(before.iter().all(|pod| now.contains(pod)), "Pods with users have changed: {before:?}, now {now:?}");
    ensure!(people.count("goaways") == 0 && status["rollout"]["usersPercent"] == 0, "users moved: {}", people.now());

    apply(&release(NEXT, &steps(world, "1h")))?;
    until("the next spec takes its place and has its share", world.within(STEP), || reached(RELEASED, NEXT))?;
    let share = share()?;
    ensure!(share.abs_diff(SHARE.0) <= SHARE.1, "the canary has {share} % of the users, {} were asked for", SHARE.0);
    succeeds(&operate("pause")?)?;
    phase_is(RELEASED, "Paused")?;
    std::thread::sleep(world.lasts(Duration::from_mins(1), Duration::from_secs(5)));
    phase_is(RELEASED, "Paused")?;
    let held = self::share()?;
    ensure!(held.abs_diff(SHARE.0) <= SHARE.1, "it is held at {held} % of the users, {} were asked for", SHARE.0);
    succeeds(&operate("resume")?)?;
    until("the canary goes on with its share", STEP, || reached(RELEASED, NEXT))?;
    let resumed = self::share()?;
    ensure!(resumed.abs_diff(SHARE.0) <= SHARE.1, "it went on with {resumed} %, {} were asked for", SHARE.0);
    succeeds(&operate("promote")?)?;
    until("everybody moves", STEP, || phase_is(RELEASED, "Promoting").or_else(|_| is_done(RELEASED, NEXT)))?;
    serves_alone(RELEASED, NEXT)?;
    until("everybody is there", Duration::from_secs(10), || people.all_there(EVERYBODY))?;
    let report = people.leave()?;
    Ok(Said::Well(format!(
        "a bad image halts after {:.0} s; the canary had {share} %, held {held} %, resumed {resumed} %; {}",
        halted.as_secs_f64(),
        words(&report)
    )))
}

/// Gateways of a canary that deliver too late hold it, and it gets no further users; a rollback takes them home.
pub(crate) fn slow(world: &World) -> Result<Said> {
    if world.own().is_none() {
        return Ok(Said::NotRun("processes of a cluster that is not ours are not held up"));
    }
    RELEASED.set_pools([2, 2, 2])?;
    let people = world.people(Wish { cluster: RELEASED.name, count: EVERYBODY, name: "slow", may_cut: true })?;
    apply(&release(NEXT, &steps(world, "1h")))?;
    until("the canary has its share", world.within(STEP), || reached(RELEASED, NEXT))?;
    let gateways = gateways_of(NEXT)?;
    let began = Instant::now();
    let slow = Repeat::start(Duration::from_millis(200), move || {
        for name in &gateways {
            kill(name, Signal::STOP)?;
        }
        std::thread::sleep(Duration::from_millis(800));
        for name in &gateways {
            kill(name, Signal::CONT)?;
        }
        Ok(())
    });
    let halted = until("the slow canary halts", world.within(Duration::from_mins(1)), || phase_is(RELEASED, "Halted"));
    slow.stop()?;
    halted?;
    let halted = began.elapsed();
    let cause = RELEASED.read()?["status"]["rollout"]["haltedFor"].clone();
    ensure!(cause == "Slow", "it halted for another reason: {cause}");
    let at_halt = share()?;
    std::thread::sleep(Duration::from_secs(5));
    let later = share()?;
    ensure!(later <= at_halt.max(SHARE.0) + SHARE.1, "it halted with {at_halt} % of the users, and has {later} % now");
    roll_back("fast")?;
    until("everybody is back", world.within(BACK), || nobody_on(NEXT, &people))?;
    apply(&RELEASED.spec([2, 2, 2], ""))?;
    serves_alone(RELEASED, IMAGE)?;
    let report = people.leave()?;
    Ok(Said::Well(format!("halted after {:.0} s; {}", halted.as_secs_f64(), words(&report))))
}

/// Where a release is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Its Pods start: some never will.
    Starting,
    /// It has a share of the users.
    Canary,
    /// Somebody holds it there.
    Held,
    /// Everybody moves to it.
    Promoting,
    /// It had everybody for a while.
    Done,
}

/// A release is taken back at each step, fast and gently, while its manifest is applied again and again.
pub(crate) fn rollbacks(world: &World) -> Result<Said> {
    use Step::{Canary, Done, Held, Promoting, Starting};
    let all = [Starting, Canary, Held, Promoting, Done].into_iter().flat_map(|step| [(step, "fast"), (step, "gentle")]);
    RELEASED.set_pools([2, 2, 2])?;
    let people = world.people(Wish { cluster: RELEASED.name, count: EVERYBODY, name: "back", may_cut: false })?;
    let mut said = Vec::new();
    for (step, pace) in all {
        let began = Instant::now();
        let took = taken_back(world, &people, step, pace).with_context(|| format!("{step:?}, {pace}"))?;
        said.push(format!(
            "{step:?} {pace} {:.1} s ({:.0} s in all)",
            took.as_secs_f64(),
            began.elapsed().as_secs_f64()
        ));
    }
    let report = people.leave()?;
    // No scenario after this one has use for it.
    kubectl(&format!("delete chatroomcluster {} --timeout=180s", RELEASED.name))?;
    Ok(Said::Well(format!("from the command to the last user back: {}; {}", said.join(", "), words(&report))))
}

/// One of them: how long from the command to the last user back.
fn taken_back(world: &World, people: &People, step: Step, pace: &str) -> Result<Duration> {
    let hold = if matches!(step, Step::Canary | Step::Held | Step::Starting) { "1h" } else { "1s" };
    let mut manifest = release(NEXT, &steps(world, hold).replace("warmRollback: 0s", "warmRollback: 10m"));
    if step == Step::Starting {
        // No node takes its chatroom Pods, so that nothing of it may be used, and it starts until somebody ends it.
        let (head, tail) = manifest.split_once("  chatroom: {").context("it has no chatroom Pods")?;
        let nowhere = tail.replacen("template: {", "template: {nodeSelector: {throng.test/node: none}, ", 1);
        manifest = format!("{head}  chatroom: {{{nowhere}");
    }
    let asked_to_move = people.count("goaways");
    apply(&manifest)?;
    until("the release is where it is taken back", world.within(STEP), || match step {
        Step::Starting => starting(),
        Step::Canary | Step::Held => reached(RELEASED, NEXT),
        // Somebody has moved, not only the word.
        Step::Promoting => phase_is(RELEASED, "Promoting").and_then(|()| {
            let share = share()?;
            ensure!(share > SHARE.0 + 10, "{share} % have moved");
            Ok(())
        }),
        Step::Done => is_done(RELEASED, NEXT),
    })?;
    if step == Step::Held {
        succeeds(&operate("pause")?)?;
        phase_is(RELEASED, "Paused")?;
    }
    let again = Repeat::start(AGAIN, move || apply(&manifest));
    let began = Instant::now();
    let operation = roll_back(pace)?;
    let back = until("everybody is back", world.within(BACK), || nobody_on(NEXT, people)).map(|()| began.elapsed());
    let looked = back.and_then(|back| {
        if matches!(step, Step::Starting | Step::Done) {
            // Who takes over knows of the rollback from the status alone.
            kills::one(world, "rollbacks")?;
        }
        succeeds(&operation)?;
        // It is applied once more at least.
        std::thread::sleep(AGAIN + Duration::from_secs(1));
        let status = RELEASED.read()?["status"].clone();
        ensure!(is(&status, "RolledBack", "True"), "the block did not last: {}", status["conditions"]);
        nobody_on(NEXT, people)?;
        let moved = people.count("goaways") - asked_to_move;
        ensure!(step != Step::Starting || moved == 0, "{moved} people were asked to move for what had not started");
        Ok(back)
    });
    again.stop()?;
    let back = looked?;
    apply(&RELEASED.spec([2, 2, 2], ""))?;
    serves_alone(RELEASED, IMAGE)?;
    ensure!(back <= world.within(BACK), "the last user was back after {back:?}");
    Ok(back)
}

/// The spec of a release.
fn release(image: &str, rollout: &str) -> String {
    RELEASED.spec([2, 2, 2], &format!("  rollout: {rollout}")).replace(IMAGE, image)
}

/// One canary, held for so long; what is too slow has the slack of the machine.
fn steps(world: &World, hold: &str) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small product")]
    let p99_ms = (f64::from(SLOW_MS) * world.slack.min(1.4)) as u32;
    format!(
        "{{canaryPercent: [{}], hold: {hold}, warmRollback: 0s, progressDeadline: 90s, haltWhen: {{errorPercent: 1, p99Ms: {p99_ms}, restarts: 1}}}}",
        SHARE.0
    )
}

/// Whether the rollout does this now.
pub(crate) fn phase_is(cluster: Shared, phase: &str) -> Result<()> {
    let status = cluster.read()?["status"].clone();
    ensure!(status["rollout"]["phase"] == phase, "{} {}", status["rollout"], status["why"]);
    Ok(())
}

/// Whether the Pods of a release start: its gateways are there, of its chatroom Pods one, which does not run.
fn starting() -> Result<()> {
    phase_is(RELEASED, "Starting")?;
    let chatrooms = pods(&RELEASED.role("chatroom"))?;
    let waits = chatrooms
        .iter()
        .any(|pod| pod["spec"]["containers"][0]["image"] == NEXT && pod["status"]["phase"] == "Pending");
    ensure!(waits && !gateways_of(NEXT)?.is_empty(), "its Pods are not there yet");
    Ok(())
}

/// Waits until an operation has done what it was asked for.
pub(crate) fn succeeds(operation: &str) -> Result<()> {
    until(&format!("the operation {operation} is done"), STEP, || {
        let status = get(&format!("cro/{operation}"))?["status"].clone();
        ensure!(status["phase"] == "Succeeded", "{status}");
        Ok(())
    })
}

/// Whether the canary has its share, and it is that of this image.
pub(crate) fn reached(cluster: Shared, image: &str) -> Result<()> {
    let status = cluster.read()?["status"].clone();
    let (rollout, to) = (&status["rollout"], &status["rollout"]["to"]);
    let is_it = revisions(&status).any(|revision| revision["number"] == *to && revision["image"] == image);
    ensure!(is_it && rollout["phase"] == "Canary" && !rollout["reachedAt"].is_null(), "{rollout} {}", status["why"]);
    Ok(())
}

/// Whether a revision of this image has everybody, and nothing else is on its way.
pub(crate) fn is_done(cluster: Shared, image: &str) -> Result<()> {
    let object = cluster.read()?;
    let status = &object["status"];
    ensure!(status["observedGeneration"] == object["metadata"]["generation"], "the spec was not read yet");
    let serving = revisions(status).find(|revision| revision["state"] == "Serving").context("nothing serves")?;
    ensure!(serving["image"] == image && status["rollout"].is_null(), "{} {}", status["rollout"], status["why"]);
    Ok(())
}

/// Waits until a revision of this image is all there is.
pub(crate) fn serves_alone(cluster: Shared, image: &str) -> Result<()> {
    until("the release is done", STEP, || is_done(cluster, image))?;
    rest(cluster.name)
}

fn revisions(status: &Value) -> impl Iterator<Item = &Value> {
    status["revisions"].as_array().into_iter().flatten()
}

/// Share of the users that are on the new revision, in percent.
fn share() -> Result<u64> {
    RELEASED.read()?["status"]["rollout"]["usersPercent"].as_u64().context("there is no rollout")
}

/// Names of the gateways with an image.
fn gateways_of(image: &str) -> Result<Vec<String>> {
    let all = pods(&RELEASED.role("gateway"))?;
    let own = all.iter().filter(|pod| pod["spec"]["containers"][0]["image"] == image);
    Ok(own.filter_map(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned())).collect())
}

/// Nobody is connected to gateways of this image, and everybody is somewhere.
fn nobody_on(image: &str, people: &People) -> Result<()> {
    let all = pods(&RELEASED.role("gateway"))?;
    for pod in all.iter().filter(|pod| pod["spec"]["containers"][0]["image"] == image) {
        let name = pod["metadata"]["name"].as_str().context("a Pod has a name")?;
        let goes = !pod["metadata"]["deletionTimestamp"].is_null();
        match metric_of(name, "throng_gateway_connections", if goes { ENDED } else { PATIENCE }) {
            Ok(still) => ensure!(still < 0.5, "{still} are still on {name}"),
            // Who is told to end and does not answer has ended.
            Err(_) if goes => {}
            Err(error) => return Err(error),
        }
    }
    people.all_there(EVERYBODY)
}

/// As live-event staff do it: `throng pause`, and so on; the name of the operation.
fn operate(command: &str) -> Result<String> {
    let mut line = Command::new(binary()?);
    let output = line.args(command.split(' ').take(1)).args([RELEASED.name, "--yes", "-n", NAMESPACE]);
    let output = output.args(command.split(' ').skip(1)).output()?;
    if !output.status.success() {
        bail!("throng {command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let name = said.split_whitespace().next().and_then(|name| name.split_once('/')).context("no name was told")?;
    Ok(name.1.to_owned())
}

fn roll_back(pace: &str) -> Result<String> {
    operate(&format!("rollback --pace {pace}"))
}
