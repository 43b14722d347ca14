//! Runs: a random one from a seed, and the end of each, when all must be well.

use super::ground::spec::SHAPE;
use super::invariants::{Broken, Moment};
use super::outcome::Outcome;
use super::planner::Planner;
use super::sim::Sim;
use super::tally::{Fault, Tally};
use super::weather::Weather;

/// Seconds within which everything must be well after the last fault: a rollout in steps, two drains, a cluster's farewell
/// and a grace.
const SETTLE_S: u32 = 700;
/// A person looks at a rollout that does not go on so often, in seconds.
const HELP_S: u32 = 20;
/// Seconds without an action after which it is at rest.
const QUIET_S: u32 = 12;
/// Seconds that it is watched at rest, which is longer than anything waits.
const STAY_S: u32 = 70;
/// Some runs end with the deletion of the cluster.
const DELETED_PERMILLE: u64 = 120;
/// Some runs are about releases.
const RELEASES_PERMILLE: u64 = 400;
/// Some runs end with a release that was never seen before.
const LAST_PERMILLE: u64 = 250;

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Promises that were broken.
    pub broken: Vec<Broken>,
    /// What happened, and how often.
    pub tally: Tally,
    /// A number for everything that the operator asked for, and when: the same on every machine.
    pub digest: u64,
    /// What happened, line by line, if it was asked for.
    pub trace: Vec<String>,
}

/// Runs the random world of a seed.
#[must_use]
pub fn run_seed(seed: u64, planner: Planner, traced: bool) -> Report {
    let mut sim = Sim::new(seed, [3, 2, 2], planner);
    sim.trace = traced.then(Vec::new);
    sim.weather = Weather::of(&mut sim.ground);
    sim.releases = sim.ground.dice.permille(RELEASES_PERMILLE);
    sim.draw_spec();
    sim.draw_rollout();
    let dice = &mut sim.ground.dice;
    let (calm, storm, often) = if sim.releases {
        (12 + dice.below(12), 50 + dice.below(70), 60 + dice.below(140))
    } else {
        (dice.below(25), 30 + dice.below(50), 60 + dice.below(200))
    };
    for _ in 0..calm {
        sim.step();
    }
    for _ in 0..storm {
        sim.think_better();
        if sim.ground.dice.permille(often) {
            sim.happen();
        }
        sim.step();
    }
    if sim.ground.dice.permille(DELETED_PERMILLE) {
        sim.strike(Fault::ClusterDeleted);
        for _ in 0..10 {
            sim.step();
        }
    }
    sim.heal();
    if sim.ground.dice.permille(LAST_PERMILLE) {
        let _ = sim.edit_cluster(|cluster| cluster.set_field(SHAPE, "shape-9"));
    }
    sim.rest();
    let (digest, trace) = (sim.digest.value(), sim.trace.unwrap_or_default());
    Report { seed, broken: sim.broken, tally: sim.ground.tally, digest, trace }
}

impl Sim {
    /// Lets time pass until all is well, and then some more. Nothing may be left to do, and all must be as the spec says.
    pub(crate) fn rest(&mut self) {
        let mut quiet = 0;
        for second in 0..SETTLE_S {
            if second % HELP_S == HELP_S - 1 {
                self.help();
            }
            self.step();
            quiet = if self.acts() { 0 } else { quiet + 1 };
            if quiet >= QUIET_S && Outcome::of(&self.ground) == self.expected() {
                return self.stay();
            }
        }
        let (found, expected) = (Outcome::of(&self.ground), self.expected());
        let last = format!("{:?}", self.last.as_ref().map(|plan| (&plan.why, &plan.actions)));
        let last: String = last.chars().take(600).collect();
        self.judge_moment(&Moment::Rested { quiet: quiet >= QUIET_S, found: &found, expected: &expected, last: &last });
    }

    fn acts(&self) -> bool {
        // What a watch has missed may still show.
        let whole = self.lease.holder().and_then(|who| self.replicas.get(who)).is_some_and(|it| it.informer.is_whole());
        !self.lease.is_led(self.ground.now)
            || !whole
            || !self.done
            || self.last.as_ref().is_some_and(|plan| !plan.actions.is_empty())
    }

    fn expected(&self) -> Outcome {
        Outcome::expected(&self.ground)
    }

    fn stay(&mut self) {
        (self.crash_at, self.weather) = (None, Weather::default());
        self.rested = (self.requests, self.ground.api.revision());
        for _ in 0..STAY_S {
            self.step();
            if let Some(plan) = self.last.clone().filter(|plan| !plan.actions.is_empty()) {
                return self.judge_moment(&Moment::ActedAgain { plan: &plan });
            }
        }
        let (found, expected) = (Outcome::of(&self.ground), self.expected());
        self.judge_moment(&Moment::Rested { quiet: true, found: &found, expected: &expected, last: "" });
    }
}
