//! Redis and etcd die and start again on what they had.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::Said;
use crate::kills;
use crate::people::{Wish, words};
use crate::world::{EVERYBODY, World, kill, pods, rest, set_pools, until};

/// Each is killed in turn, and an operator with it: nobody is disconnected, nothing is lost.
pub(crate) fn restarts(world: &World) -> Result<Said> {
    if world.own().is_none() {
        return Ok(Said::NotRun("processes of a cluster that is not ours are not killed"));
    }
    set_pools([2, 2, 2])?;
    // Who hears nothing for two seconds counts as cut off; that may be so here, but nobody may lose the connection.
    let people = world.people(Wish { cluster: "live", count: EVERYBODY, name: "stores", may_cut: true })?;
    let mut times = Vec::new();
    for store in ["redis", "etcd"] {
        let began = Instant::now();
        let restarts = |store: &str| -> Result<u64> {
            let found = pods(&format!("app.kubernetes.io/name={store}"))?;
            let status = &found.first().context("the store has no Pod")?["status"]["containerStatuses"][0];
            ensure!(status["ready"] == true, "not ready: {status}");
            status["restartCount"].as_u64().context("no count of restarts")
        };
        let before = restarts(store)?;
        let found = pods(&format!("app.kubernetes.io/name={store}"))?;
        let name = found.first().and_then(|pod| pod["metadata"]["name"].as_str()).context("no name")?.to_owned();
        kill(&name, Signal::KILL)?;
        kills::one(world, "stores")?;
        until("the store is back", Duration::from_mins(2), || {
            let now = restarts(store)?;
            ensure!(now > before, "{store} was not restarted yet");
            Ok(())
        })?;
        rest("live")?;
        times.push(format!("{store} {:.1} s", began.elapsed().as_secs_f64()));
        std::thread::sleep(Duration::from_secs(3));
    }
    let report = people.leave()?;
    ensure!(report["disconnects"] == 0, "people were disconnected: {report}");
    Ok(Said::Well(format!("{}; {}", times.join(", "), words(&report))))
}
