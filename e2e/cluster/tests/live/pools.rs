//! Pools grow while people come, and shrink while people are on the Pods that go.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::Said;
use crate::kills;
use crate::people::{People, Wish, words};
use crate::world::{EVERYBODY, POOLS, World, apply, get, metric, set_pools, spec, until};

/// Figures that say how many people a Pod of each pool has.
const PEOPLE: [&str; 3] = ["throng_gateway_connections", "throng_chatroom_members", "throng_message_users"];
/// A Pod that goes should have so many.
const ENOUGH: f64 = 50.0;
/// Of a hundred people whose gateway goes, one may hear nothing for longer while they change to another.
const MOVED: Duration = Duration::from_millis(500);
/// Names of rooms are tried until every chatroom Pod owns one.
const TRIES: u32 = 6;

/// One Pod of each pool goes, then half of all pools at once, and operators die meanwhile; nobody may be cut off.
pub(crate) fn scale_in(world: &World) -> Result<Said> {
    let mut pools = [3, 3, 3];
    set_pools(pools)?;
    let people = everywhere(world)?;
    let mut fewest = Vec::new();
    for place in 0..POOLS.len() {
        fewest.push(fewest_people(place)?);
        pools[place] -= 1;
        apply(&spec("live", pools, 30080, ""))?;
        if place > 0 {
            kills::one(world, "scale-in")?;
        }
        set_pools(pools)?;
    }
    let first = people.leave()?;
    set_pools([4, 4, 4])?;
    let people = everywhere(world)?;
    apply(&spec("live", [2, 2, 2], 30080, ""))?;
    kills::one(world, "scale-in")?;
    set_pools([2, 2, 2])?;
    let second = people.leave()?;
    let mut gaps = Vec::new();
    for report in [&first, &second] {
        let gap = report["moved_gap_ms"]["p99"].as_f64().context("nobody has changed to another gateway")?;
        let bound = world.within(MOVED).as_secs_f64() * 1e3;
        ensure!(gap <= bound, "who changed to another gateway heard nothing for {gap} ms (p99): {report:#}");
        gaps.push(gap);
    }
    Ok(Said::Well(format!(
        "one Pod of each pool, with at least {fewest:?} people: {}; half of all: {}; silence of who changed gateways, p99: {gaps:?} ms",
        words(&first),
        words(&second)
    )))
}

/// People come in three waves, and the pools grow with them: nobody is cut off, and there are as many Pods as they need.
pub(crate) fn scale_out(world: &World) -> Result<Said> {
    set_pools([2, 2, 2])?;
    let targets = [("gateway", "connections: 150"), ("chatroom", "members: 300"), ("message", "users: 150")];
    let roomy = targets.into_iter().fold(spec("live", [2, 2, 2], 30080, ""), |spec, (pool, target)| {
        let fixed = format!("{pool}: {{replicas: {{min: 2, max: 2}}");
        spec.replace(&fixed, &format!("{pool}: {{replicas: {{min: 2, max: 4}}, pressure: {{{target}}}"))
    });
    apply(&roomy)?;
    let began = Instant::now();
    let mut waves = Vec::new();
    for (number, count) in [170, 170, 160].into_iter().enumerate() {
        let name = format!("wave{number}");
        waves.push(world.people(Wish { cluster: "live", count, name: &name, may_cut: false })?);
        std::thread::sleep(Duration::from_secs(3));
    }
    let came = began.elapsed();
    // 500 of 150 each, nine tenths full, are 3.7 Pods.
    until("every pool has four Pods that serve", world.within(Duration::from_mins(1)), || {
        let status = get("crc/live")?["status"].clone();
        let ready = |pool: &str| status["pools"][pool]["ready"] == 4;
        ensure!(POOLS.into_iter().all(ready), "{}", status["pools"]);
        Ok(())
    })?;
    let grown = began.elapsed();
    let mut said = Vec::new();
    for wave in waves {
        said.push(words(&wave.leave()?));
    }
    set_pools([2, 2, 2])?;
    Ok(Said::Well(format!(
        "500 people within {:.0} s, four Pods of each pool serve after {:.0} s; {}",
        came.as_secs_f64(),
        grown.as_secs_f64(),
        said.join("; ")
    )))
}

/// Lets everybody in, such that every Pod has enough of them.
fn everywhere(world: &World) -> Result<People> {
    let mut last = None;
    for number in 0..TRIES {
        let name = format!("crowd{number}");
        let wish = Wish { cluster: "live", count: EVERYBODY, name: &name, may_cut: false };
        let people = world.people(wish)?;
        // Figures of members are a second old at most.
        std::thread::sleep(Duration::from_secs(1));
        match (0..POOLS.len()).try_for_each(|place| fewest_people(place).map(drop)) {
            Ok(()) => return Ok(people),
            Err(error) => last = Some(error),
        }
        people.leave()?;
    }
    Err(last.context("tried at least once")?)
}

/// How many people the emptiest Pod of a pool has.
fn fewest_people(place: usize) -> Result<f64> {
    let found = metric("live", POOLS[place], PEOPLE[place])?;
    let fewest = found.iter().map(|(_, people)| *people).reduce(f64::min).context("the pool is empty")?;
    ensure!(fewest >= ENOUGH, "{}: a Pod has too few people to tell anything: {found:?}", POOLS[place]);
    Ok(fewest)
}
