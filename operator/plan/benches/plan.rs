//! How long a look takes: three pools of 1,000 Pods, all 8,192 slots owned.
//!
//! `cargo bench -p throng-plan` prints the 99th percentile of a world at rest and of one whose pools just lost a Pod.

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

use std::time::Instant;

use model::Model;
use throng_plan::World;

fn main() {
    let pods = if cfg!(debug_assertions) { 30 } else { 1000 };
    let rest = Model::at_rest([pods; 3], 10).world;
    let mut changed = rest.clone();
    for pool in ["chatroom", "message", "gateway"] {
        if let Some(pod) = changed.pods.remove(&format!("live-{pool}-1-7"))
            && let Some(registry) = &mut changed.registry
        {
            registry.members.remove(&pod.uid);
        }
    }
    report("unchanged", &rest, 300);
    report("changed", &changed, 60);
}

/// Prints the 99th percentile of so many looks.
fn report(what: &str, world: &World, looks: usize) {
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
    println!("{what}: {} Pods, {looks} looks, p50 {} us, p99 {} us", world.pods.len(), at(50), at(99));
}
