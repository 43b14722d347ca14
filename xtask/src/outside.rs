//! Tests that start what was built, and so run by name: those that a manifest marks with `test = false`.
//!
//! They are compiled with the whole workspace selected, as all others are: for one crate alone cargo chooses other features, and
//! would compile half of the dependencies again.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::lint;
use crate::run::{cargo, metadata};

/// The crate whose tests run processes.
pub(crate) const PROCESSES: &str = "throng-e2e";
/// The crate whose tests need a cluster.
pub(crate) const CLUSTER: &str = "throng-cluster";

/// Names of the tests of a crate that run by name.
pub(crate) fn names(root: &Path, package: &str) -> Result<Vec<String>> {
    let found = marked(&metadata(root, &root.join("Cargo.toml"))?, package);
    ensure!(!found.is_empty(), "{package} has no tests with `test = false`");
    Ok(found)
}

/// Names of all of them.
pub(crate) fn all(root: &Path) -> Result<Vec<String>> {
    Ok([names(root, PROCESSES)?, names(root, CLUSTER)?].concat())
}

/// A run of some of them.
pub(crate) fn run(root: &Path, names: &[impl AsRef<str>]) -> Result<Command> {
    let mut command = by_name(cargo(root, &["test", "--workspace", "--no-fail-fast"]), names);
    lint::as_compiler(&mut command)?;
    Ok(command)
}

/// Clippy for all of them: `--all-targets` leaves them out.
pub(crate) fn clippy(root: &Path) -> Result<Command> {
    let mut command = by_name(cargo(root, &["clippy", "--workspace", "--quiet"]), &all(root)?);
    command.args(["--", "-D", "warnings"]);
    Ok(command)
}

fn by_name(mut command: Command, names: &[impl AsRef<str>]) -> Command {
    for name in names {
        command.args(["--test", name.as_ref()]);
    }
    command
}

fn marked(metadata: &Value, package: &str) -> Vec<String> {
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let is = |value: &Value, key: &str, wanted: &str| value.get(key).and_then(Value::as_str) == Some(wanted);
    let targets = list(metadata, "packages").into_iter().filter(|found| is(found, "name", package));
    let targets = targets.flat_map(|found| list(&found, "targets"));
    let by_name = |target: &Value| {
        let kinds = list(target, "kind");
        kinds.iter().any(|kind| kind.as_str() == Some("test")) && target.get("test") == Some(&Value::Bool(false))
    };
    let names = targets.filter(by_name).filter_map(|target| Some(target.get("name")?.as_str()?.to_owned()));
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tests_of_the_crate_that_are_marked_run_by_name() {
        let metadata = serde_json::json!({"packages": [
            {"name": "a", "targets": [
                {"name": "a", "kind": ["lib"], "test": true},
                {"name": "quick", "kind": ["test"], "test": true},
                {"name": "outside", "kind": ["test"], "test": false},
                {"name": "bench", "kind": ["bench"], "test": false}]},
            {"name": "b", "targets": [{"name": "other", "kind": ["test"], "test": false}]}]});
        assert_eq!(marked(&metadata, "a"), ["outside"]);
        assert_eq!(marked(&metadata, "c"), Vec::<String>::new());
    }

    #[test]
    fn each_name_means_one_test_of_the_workspace() {
        let root = crate::run::root();
        let metadata = metadata(&root, &root.join("Cargo.toml")).unwrap();
        let of = |package: &Value| {
            let targets = package["targets"].as_array().unwrap().clone().into_iter();
            targets
                .filter(|target| target["kind"][0] == "test")
                .map(|target| target["name"].as_str().unwrap().to_owned())
        };
        let all: Vec<String> = metadata["packages"].as_array().unwrap().iter().flat_map(of).collect();
        for package in [PROCESSES, CLUSTER] {
            for name in names(&root, package).unwrap() {
                assert_eq!(all.iter().filter(|other| **other == name).count(), 1, "two tests are called {name}");
            }
        }
    }
}
