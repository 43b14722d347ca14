//! How long a look takes: three pools of 1,000 Pods, all 8,192 slots owned.
//!
//! `cargo bench -p throng-plan` prints the 99th percentile of a world at rest, of one whose pools just lost a Pod each and of one
//! whose pools just got one each, and fails where one is longer than promised; `-- --slack 3` allows three times as long, for a machine that is shared or slower.
//! The test command runs it as compiled for tests, with checks that a release leaves out.

#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

#[path = "../tests/planner/model.rs"]
#[expect(
    dead_code,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "it is a part of the tests; only what brings a cluster to rest is needed"
)]
mod model;

use std::process::ExitCode;
use std::time::Instant;

use model::Model;
use throng_plan::World;

/// Longest p99 of a look when nothing joined or left, microseconds.
const UNCHANGED_US: u128 = 10_000;
/// The same after a Pod of each pool was lost, or came.
const CHANGED_US: u128 = 150_000;

fn main() -> ExitCode {
    let slack = std::env::args().skip_while(|word| word != "--slack").nth(1);
    let slack = slack.and_then(|times| times.parse().ok()).unwrap_or(1.0);
    let rest = Model::at_rest([1000; 3], 10).world;
    let mut changed = rest.clone();
    for pool in ["chatroom", "message", "gateway"] {
        if let Some(pod) = changed.pods.remove(&format!("live-{pool}-1-7"))
            && let Some(registry) = &mut changed.registry
        {
            registry.members.remove(&pod.uid);
        }
    }
    let unchanged = report("unchanged", &rest, 300, UNCHANGED_US, slack);
    let changed = report("changed", &changed, 60, CHANGED_US, slack);
    let grown = report("grown", &grown(&rest), 60, CHANGED_US, slack);
    if unchanged && changed && grown { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A Pod more in each pool, that serves and owns nothing yet.
fn grown(rest: &World) -> World {
    let mut world = rest.clone();
    world.spec = Model::new([1001; 3]).world.spec;
    for pool in ["chatroom", "message", "gateway"] {
        let (old, new) = (format!("live-{pool}-1-7"), format!("live-{pool}-1-5000"));
        let Some(mut pod) = rest.pods.get(&old).cloned() else { continue };
        let uid = format!("new-{}", pod.uid);
        if let Some(registry) = &mut world.registry
            && let Some(mut member) = registry.members.get(&pod.uid).cloned()
        {
            member.pod.clone_from(&new);
            registry.members.insert(uid.clone(), member);
        }
        if let Some(sample) = rest.samples.get(&pod.uid).cloned() {
            world.samples.insert(uid.clone(), sample);
        }
        (pod.uid, pod.index) = (uid, 5000);
        world.pods.insert(new, pod);
    }
    world
}

/// Prints the 99th percentile of so many looks, and whether it is short enough.
fn report(what: &str, world: &World, looks: usize, bound_us: u128, slack: f64) -> bool {
    let mut micros: Vec<u128> = (0..looks)
        .map(|_| {
            let start = Instant::now();
            let plan = std::hint::black_box(throng_plan::plan(std::hint::black_box(world)));
            let micros = start.elapsed().as_micros();
            drop(plan);
            micros
        })
        .collect();
    micros.sort_unstable();
    let at = |percent: usize| micros.get((micros.len() * percent / 100).min(micros.len() - 1)).copied().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "microseconds of one look")]
    let met = at(99) as f64 <= bound_us as f64 * slack;
    let verdict = if met { "met" } else { "missed" };
    let (pods, actions) = (world.pods.len(), throng_plan::plan(world).actions.len());
    println!(
        "{what}: {pods} Pods, {actions} actions, {looks} looks, p50 {} us, p99 {} us; {bound_us} us at slack {slack}: {verdict}",
        at(50),
        at(99)
    );
    met
}
