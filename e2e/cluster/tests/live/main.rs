//! The operator on a real cluster, with people in its rooms: scenarios on one installation.
//!
//! `cargo xtask test --only cluster` starts a cluster and runs this; any other cluster will do too, by `KUBECONFIG`, if it
//! has the images and its nodes can be reached from here. A scenario that takes nodes, processes or the API server away runs
//! on our own cluster only, and says so elsewhere. Words on the command line choose scenarios by name.

#![expect(clippy::indexing_slicing, reason = "a JSON value answers null where nothing is")]

mod budget;
mod commands;
mod conditions;
mod examples;
mod first;
mod kills;
mod losses;
mod nodes;
mod objects;
mod operators;
mod people;
mod plans;
mod pools;
mod repeat;
mod rights;
mod rollout;
mod scope;
mod stores;
mod upgrade;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::world::World;

/// What a scenario said when all was as promised.
pub(crate) enum Said {
    /// Its figures, in words.
    Well(String),
    /// It needs what this cluster does not allow.
    NotRun(&'static str),
}

type Scenario = (&'static str, fn(&World) -> Result<Said>);

/// Those that go on one after the other.
type Lane = &'static [Scenario];

/// One round after the other. The lanes of a round go on beside each other: their scenarios wait most of the time, use clusters of
/// their own, and look at nothing that others may change.
const ROUNDS: &[&[Lane]] = &[
    &[&[
        ("from helm install to the first message", first::first_message),
        ("at rest the operator asks for little", budget::little_at_rest),
        ("scale-out of each pool while people come", pools::scale_out),
        ("scale-in of each pool, then half of all pools at once", pools::scale_in),
        ("every node is drained in turn", nodes::drain_each),
        ("a node is cut off from the network and comes back", nodes::cut_off),
        ("the leader is killed, is told to end, is upgraded", operators::successors),
        ("an installation of the commit before is upgraded", upgrade::from_before),
        ("an event, a rate and a taint", plans::carried_out),
    ]],
    &[
        &[
            ("a bad image halts; the next release is a canary, held and promoted", rollout::canary),
            ("a canary that is slow halts", rollout::slow),
            ("a release is taken back while its manifest is applied again", rollout::rollbacks),
        ],
        &[
            ("the examples are applied and do what they say, while operators are killed at random", examples::applied),
            ("what no schema can know shows as a condition", conditions::shown),
        ],
    ],
    &[&[
        ("no operator for a while, and two Pods are lost meanwhile", operators::nobody),
        ("no API server for a while", losses::no_api_server),
        ("Redis and etcd are killed and start again", stores::restarts),
        ("people edit and delete what the operator owns", objects::edits),
        ("two clusters in a namespace, and one is deleted", objects::two_clusters),
        ("the whole cluster is watched, then several namespaces, then one again", scope::scopes),
        ("commands: what is shown is there, what is planned is not done", commands::shown),
        ("rights: what the live desk may do", rights::live_ops),
        ("operators were killed in the middle of all this", kills::told),
        ("rights: what was used is what the chart grants", budget::rights),
    ]],
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let world = match World::connect(words.is_empty()) {
        Ok(world) => world,
        Err(error) => {
            println!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let mut tally = Tally::default();
    for round in ROUNDS {
        let lanes = round.iter().map(|lane| lane.iter().filter(|(name, _)| chosen(name)).collect::<Vec<_>>());
        let lanes: Vec<_> = lanes.filter(|lane| !lane.is_empty()).collect();
        std::thread::scope(|scope| {
            let lanes: Vec<_> = lanes.iter().map(|lane| scope.spawn(|| go(lane, &world))).collect();
            for lane in lanes {
                tally += lane.join().unwrap_or(Tally { failed: 1, ..Tally::default() });
            }
        });
    }
    let Tally { passed, failed, left_out } = tally;
    world::hang_up();
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {verdict}. {passed} passed; {failed} failed; {left_out} ignored; 0 measured; 0 filtered out"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many scenarios ended how.
#[derive(Clone, Copy, Default)]
struct Tally {
    passed: u32,
    failed: u32,
    left_out: u32,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.left_out += other.left_out;
    }
}

/// The scenarios of a lane.
fn go(lane: &[&Scenario], world: &World) -> Tally {
    let mut tally = Tally::default();
    for (name, scenario) in lane {
        eprintln!("--- {name}");
        let began = Instant::now();
        let result = scenario(world);
        let seconds = began.elapsed().as_secs_f64();
        match result {
            Ok(Said::Well(said)) => {
                tally.passed += 1;
                println!("ok      {seconds:6.1} s  {name}: {said}");
            }
            Ok(Said::NotRun(why)) => {
                tally.left_out += 1;
                println!("not run           {name}: {why}");
            }
            Err(error) => {
                tally.failed += 1;
                println!("FAILED  {seconds:6.1} s  {name}: {error:#}");
                world::tell();
            }
        }
    }
    tally
}
