//! Running commands and counting what passed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

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

/// What cargo says of a workspace: its crates and their targets.
pub(crate) fn metadata(root: &Path, manifest: &Path) -> Result<serde_json::Value> {
    let mut command = cargo(root, &["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]);
    let output = command.arg(manifest).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What ran so far.
#[derive(Default)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    rows: Vec<(String, bool, f64)>,
    not_run: Vec<String>,
    beside: Vec<Beside>,
}

/// A command that runs while others wait.
struct Beside {
    name: String,
    began: Instant,
    child: Child,
    output: tempfile::NamedTempFile,
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

    /// Starts a command that gets what the others leave of the processors; `gather` judges it. Two cores wait for half of the
    /// tests from outside, and what is long and hurries nobody is done by then.
    pub(crate) fn beside(&mut self, name: &str, command: &Command) -> Result<()> {
        let output = tempfile::NamedTempFile::new()?;
        let mut idle = Command::new("chrt");
        idle.args(["--idle", "0"]).arg(command.get_program()).args(command.get_args());
        idle.stdin(Stdio::null()).stdout(output.reopen()?).stderr(output.reopen()?);
        if let Some(folder) = command.get_current_dir() {
            idle.current_dir(folder);
        }
        eprintln!("\n=== {name}: begins, and runs beside what follows");
        let child = idle.spawn().with_context(|| format!("cannot start {idle:?}"))?;
        self.beside.push(Beside { name: name.to_owned(), began: Instant::now(), child, output });
        Ok(())
    }

    /// Waits for all that was started beside, and notes how it went. What measures comes after it.
    pub(crate) fn gather(&mut self) -> Result<bool> {
        let mut all = true;
        for mut job in std::mem::take(&mut self.beside) {
            eprintln!("\n=== {}", job.name);
            let success = job.child.wait()?.success();
            print!("{}", std::fs::read_to_string(job.output.path())?);
            self.note(&job.name, success, job.began.elapsed());
            all &= success;
        }
        Ok(all)
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
    fn what_ran_beside_is_judged_when_it_is_gathered() {
        let mut tally = Tally::default();
        tally.beside("well", &Command::new("true")).unwrap();
        assert!(tally.gather().unwrap());
        tally.beside("well", &Command::new("true")).unwrap();
        tally.beside("badly", &Command::new("false")).unwrap();
        assert!(!tally.gather().unwrap());
        assert!(tally.gather().unwrap(), "each is judged once");
        assert_eq!((tally.passed, tally.failed), (2, 1));
        assert!(!tally.close());
    }

    #[test]
    fn the_summary_of_cargos_runner_reads() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(summary(line), Some((12, 3)));
        assert_eq!(summary("running 5 tests"), None);
    }
}
