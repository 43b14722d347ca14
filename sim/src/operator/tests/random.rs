//! Random worlds.

use std::collections::BTreeMap;

use super::*;

fn figure(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// `THRONG_SEEDS` says how many, `THRONG_SEED` which is the first.
#[test]
fn every_random_world_keeps_every_promise() {
    let (first, seeds) = (figure("THRONG_SEED", 0), figure("THRONG_SEEDS", 450));
    let (mut tally, mut failed) = (Tally::default(), BTreeMap::<&str, Vec<(u64, String)>>::new());
    for seed in first..first + seeds {
        let report = run_seed(seed, Planner::Real, std::env::var_os("THRONG_TRACE").is_some());
        report.trace.iter().for_each(|line| eprintln!("{line}"));
        tally.add(&report.tally);
        if let Some(broken) = report.broken.first() {
            failed.entry(broken.name).or_default().push((seed, broken.what.clone()));
        }
    }
    eprintln!("{tally}");
    for (name, seeds) in &failed {
        eprintln!("{name}: {} seeds; throng simulate --seed {}: {}", seeds.len(), seeds[0].0, seeds[0].1);
    }
    assert!(failed.is_empty());
    let rare = tally.rarer_than(u64::from(seeds >= 450));
    assert!(rare.is_empty(), "these prove nothing, they hardly ever occur: {rare:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [1, 2] {
        let (a, b) = (run_seed(seed, Planner::Real, true), run_seed(seed, Planner::Real, true));
        assert_eq!((a.digest, a.tally, a.trace), (b.digest, b.tally, b.trace));
    }
}
