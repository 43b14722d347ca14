//! Running commands and counting what passed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where builds and all else that can be made again lands.
pub(crate) fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// A cargo command in the workspace, of the toolchain that runs this.
pub(crate) fn cargo(root: &Path, args: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root);
    command
}

/// What ran so far.
#[derive(Default)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    rows: Vec<(String, bool, f64)>,
    not_run: Vec<String>,
}

impl Tally {
    /// Runs one command to its end; its output goes through. A command that prints a summary of cargo's test runner
    /// counts as so many tests, any other as one.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command) -> Result<bool> {
        eprintln!("\n=== {name}");
        let began = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {command:?}"))?;
        let (mut passed, mut failed) = (0, 0);
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                let line = line?;
                println!("{line}");
                if let Some((p, f)) = summary(&line) {
                    passed += p;
                    failed += f;
                }
            }
        }
        let success = child.wait()?.success();
        if passed + failed == 0 {
            passed = u64::from(success);
        }
        if !success && failed == 0 {
            failed = 1;
        }
        self.passed += passed;
        self.failed += failed;
        self.rows.push((name.to_owned(), success, began.elapsed().as_secs_f64()));
        Ok(success)
    }

    /// Notes a check that the caller ran and judged.
    pub(crate) fn note(&mut self, name: &str, success: bool, took: Duration) {
        self.passed += u64::from(success);
        self.failed += u64::from(!success);
        self.rows.push((name.to_owned(), success, took.as_secs_f64()));
    }

    /// Does one step that is no command; its result if it went well.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        eprintln!("\n=== {name}");
        let began = Instant::now();
        let done = work();
        if let Err(error) = &done {
            println!("{error:#}");
        }
        self.note(name, done.is_ok(), began.elapsed());
        done.ok()
    }

    /// Notes what this machine cannot run, and why.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        self.skipped += 1;
        self.not_run.push(format!("not run: {name}: {why}"));
    }

    /// Prints a row for each step and the closing line; true if all passed.
    pub(crate) fn close(&self) -> bool {
        println!();
        for (name, success, seconds) in &self.rows {
            println!("{} {seconds:7.1} s  {name}", if *success { "ok    " } else { "FAILED" });
        }
        for line in &self.not_run {
            println!("{line}");
        }
        let skipped = if self.skipped > 0 { format!(", {} skipped", self.skipped) } else { String::new() };
        println!("{} passed, {} failed{skipped}", self.passed, self.failed);
        self.failed == 0
    }
}

/// Reads "test result: ok. 12 passed; 0 failed; ...".
fn summary(line: &str) -> Option<(u64, u64)> {
    let rest = line.trim().strip_prefix("test result: ")?;
    let number_before = |word: &str| {
        let head = rest.get(..rest.find(word)?)?;
        head.trim_end().rsplit([' ', ';']).next()?.parse().ok()
    };
    Some((number_before(" passed")?, number_before(" failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_cargos_runner_reads() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(summary(line), Some((12, 3)));
        assert_eq!(summary("running 5 tests"), None);
    }
}
