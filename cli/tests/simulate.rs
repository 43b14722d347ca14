//! `throng simulate` from outside: what it prints, and how it ends.

use std::process::{Command, Output};

use serde_json::Value;

#[cfg(test)]
fn simulate(args: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_throng")).arg("simulate").args(args.split(' ')).output().unwrap()
}

#[cfg(test)]
fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[cfg(test)]
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn it_prints_one_report_with_every_count_and_the_same_one_each_time() {
    let output = simulate("--seeds 12 --first 3");
    assert!(output.status.success(), "{}", said(&output));
    let found = report(&output);
    assert_eq!((&found["first"], &found["seeds"]), (&Value::from(3), &Value::from(12)));
    assert_eq!(
        (&found["failed"], &found["too_rare"]),
        (&Value::from(Vec::<Value>::new()), &Value::from(Vec::<Value>::new()))
    );
    for (list, words) in [
        ("faults", ["OldView", "AskedRollbackFast", "ShapeSlow", "OperatorCrash"]),
        ("transitions", ["PodCreated", "CanaryBegun", "RollbackDone", "HaltedSlow"]),
    ] {
        for word in words {
            assert!(found[list][word].is_u64(), "{list} has {word}");
            assert!(said(&output).contains(word), "people read {word} too");
        }
    }
    assert!(found["plans"].as_u64().unwrap() > 100 && found["requests"].as_u64().unwrap() > 100);
    assert_eq!(report(&simulate("--seeds 12 --first 3 --threads 1")), found, "threads do not count");
}

#[test]
fn one_seed_is_told_line_by_line_and_is_the_same_run_each_time() {
    let (told, plain) = (simulate("--seed 7 --trace"), simulate("--seed 7"));
    assert!(told.status.success() && plain.status.success());
    assert_eq!(report(&told), report(&plain));
    assert_eq!((&report(&told)["first"], &report(&told)["seeds"]), (&Value::from(7), &Value::from(1)));
    assert!(said(&told).contains("  create live-gateway-1-0"), "{}", said(&told));
    assert!(!said(&plain).contains("  create live-gateway-1-0"));
}

#[test]
fn a_broken_promise_is_exit_code_1_with_its_name_and_the_command_that_replays_it() {
    let output = simulate("--seeds 60 --planner ignores-deadlines");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let found = report(&output);
    let first = &found["failed"][0];
    assert_eq!(first["broken"][0]["invariant"], "users-until-deadline", "{first}");
    assert_eq!(first["broken"][0]["promise"], "no Pod with users is deleted before the deadline of its drain");
    let replay = format!("throng simulate --seed {} --trace --planner ignores-deadlines", first["seed"]);
    assert_eq!(first["replay"], replay);
    assert!(said(&output).contains(&replay) && said(&output).contains("users-until-deadline"), "{}", said(&output));
    let again = simulate(replay.strip_prefix("throng simulate ").unwrap());
    assert_eq!((again.status.code(), &report(&again)["failed"][0]), (Some(1), first));
    assert!(said(&again).contains("BROKEN users-until-deadline"));
}

#[test]
fn what_occurs_too_seldom_is_named_and_is_a_failure() {
    let output = simulate("--seeds 2 --at-least 1000");
    assert_eq!(output.status.code(), Some(1));
    let rare = report(&output)["too_rare"].as_array().unwrap().len();
    assert!(rare > 50, "{rare}");
    assert!(
        said(&output).contains("these occurred too seldom to prove anything: ")
            && said(&output).contains("RollbackDone")
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    for args in ["--seed 1 --seeds 2", "--trace", "--seeds 0", "--planner nobody", "--seed 1 --at-least 3"] {
        let output = simulate(args);
        assert_eq!(output.status.code(), Some(2), "{args}: {}", said(&output));
    }
}
