//! What the operator stands on is away.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use throng_cluster::api::kubectl;

use crate::Said;
use crate::people::{Wish, words};
use crate::world::{EVERYBODY, World, apply, names_and_uids, rest, set_pools, spec, until};

/// Away for so long: stated, and shortened.
const AWAY: (Duration, Duration) = (Duration::from_mins(2), Duration::from_secs(30));

/// The API server is away: chat goes on, nobody is cut off, no Pod changes, and what was asked for last is done afterwards.
pub(crate) fn no_api_server(world: &World) -> Result<Said> {
    let Some(cluster) = world.own() else {
        return Ok(Said::NotRun("the API server of a cluster that is not ours stays"));
    };
    set_pools([2, 2, 2])?;
    let people = world.people(Wish { cluster: "live", count: EVERYBODY, name: "api", may_cut: false })?;
    let lasts = world.lasts(AWAY.0, AWAY.1);
    let before = names_and_uids("live")?;
    cluster.stop_program("apiserver")?;
    let began = Instant::now();
    std::thread::sleep(lasts);
    let (there, ended) = (people.all_there(EVERYBODY), people.count("disconnects"));
    cluster.start_program("apiserver")?;
    let away = began.elapsed();
    there?;
    ensure!(ended == 0, "{ended} connections ended");
    until("the API server is back", Duration::from_mins(2), || kubectl("get --raw /readyz").map(drop))?;
    let began = Instant::now();
    apply(&spec("live", [2, 2, 3], 30080, ""))?;
    rest("live")?;
    let after = names_and_uids("live")?;
    ensure!(before.iter().all(|pod| after.contains(pod)), "Pods are others: {before:?}, now {after:?}");
    let report = people.leave()?;
    Ok(Said::Well(format!(
        "{:.0} s without it; {:.1} s after its return what was asked for was done; {}",
        away.as_secs_f64(),
        began.elapsed().as_secs_f64(),
        words(&report)
    )))
}
