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
    rows: Vec<Row>,
    not_run: Vec<String>,
    beside: Vec<Beside>,
}

/// A step and how it went.
struct Row {
    name: String,
    success: bool,
    seconds: f64,
    /// What is wrong, line by line: whoever sees only the end of the output must know what failed.
    wrong: Vec<String>,
}

/// What a command gets of the processors while others run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    /// What the others leave.
    Idle,
    /// As much as they.
    Equal,
}

/// What was heard of a command.
#[derive(Default)]
struct Said {
    passed: u64,
    failed: u64,
    /// Names of tests that failed.
    wrong: Vec<String>,
    last: String,
}

impl Said {
    fn hear(&mut self, line: &str) {
        if let Some((passed, failed)) = summary(line) {
            self.passed += passed;
            self.failed += failed;
        }
        self.wrong.extend(failed_test(line));
        if !line.trim().is_empty() {
            line.clone_into(&mut self.last);
        }
    }
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
        let mut said = Said::default();
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                let line = line?;
                println!("{line}");
                said.hear(&line);
            }
        }
        let success = child.wait()?.success();
        self.count(name, success, began.elapsed(), said);
        Ok(success)
    }

    /// Starts a command that runs while others wait; `gather` judges it. Two cores wait for half of the tests from outside, and
    /// what is long is done by then.
    pub(crate) fn beside(&mut self, name: &str, rank: Rank, command: &Command) -> Result<()> {
        let output = tempfile::NamedTempFile::new()?;
        let mut own = match rank {
            Rank::Equal => Command::new(command.get_program()),
            Rank::Idle => {
                let mut idle = Command::new("chrt");
                idle.args(["--idle", "0"]).arg(command.get_program());
                idle
            }
        };
        own.args(command.get_args()).stdin(Stdio::null()).stdout(output.reopen()?).stderr(output.reopen()?);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => own.env(name, value),
                None => own.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            own.current_dir(folder);
        }
        eprintln!("\n=== {name}: begins, and runs beside what follows");
        let child = own.spawn().with_context(|| format!("cannot start {own:?}"))?;
        self.beside.push(Beside { name: name.to_owned(), began: Instant::now(), child, output });
        Ok(())
    }

    /// Waits for all that was started beside, and notes how it went. What measures comes after it.
    pub(crate) fn gather(&mut self) -> Result<bool> {
        self.gather_some(|_| true)
    }

    /// The same for what has this name; true if nothing of that name was started.
    pub(crate) fn wait_for(&mut self, name: &str) -> Result<bool> {
        self.gather_some(|job| job.name == name)
    }

    fn gather_some(&mut self, which: impl FnMut(&mut Beside) -> bool) -> Result<bool> {
        let mut all = true;
        for mut job in self.beside.extract_if(.., which).collect::<Vec<_>>() {
            eprintln!("\n=== {}", job.name);
            let success = job.child.wait()?.success();
            let took = job.began.elapsed();
            let mut said = Said::default();
            for line in std::fs::read_to_string(job.output.path())?.lines() {
                println!("{line}");
                said.hear(line);
            }
            self.count(&job.name, success, took, said);
            all &= success;
        }
        Ok(all)
    }

    fn count(&mut self, name: &str, success: bool, took: Duration, said: Said) {
        let nothing = said.passed + said.failed == 0;
        self.passed += if nothing { u64::from(success) } else { said.passed };
        self.failed += if success { said.failed } else { said.failed.max(1) };
        let wrong = if said.wrong.is_empty() { vec![said.last] } else { said.wrong };
        self.rows.push(Row { name: name.to_owned(), success, seconds: took.as_secs_f64(), wrong });
    }

    /// Notes a check that the caller ran and judged, with what is wrong.
    pub(crate) fn note(&mut self, name: &str, success: bool, took: Duration, wrong: Vec<String>) {
        self.passed += u64::from(success);
        self.failed += u64::from(!success);
        self.rows.push(Row { name: name.to_owned(), success, seconds: took.as_secs_f64(), wrong });
    }

    /// Does one step that is no command; its result if it went well.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        eprintln!("\n=== {name}");
        let began = Instant::now();
        let done = work();
        let wrong = done.as_ref().err().map(|error| format!("{error:#}"));
        if let Some(wrong) = &wrong {
            println!("{wrong}");
        }
        self.note(name, done.is_ok(), began.elapsed(), Vec::from_iter(wrong));
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
        for Row { name, success, seconds, wrong } in &self.rows {
            println!("{} {seconds:7.1} s  {name}", if *success { "ok    " } else { "FAILED" });
            for line in wrong.iter().filter(|_| !success) {
                println!("                   {line}");
            }
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

/// Reads `test some::name ... FAILED`, and a line of the scenarios that begins so.
fn failed_test(line: &str) -> Option<String> {
    let line = line.trim();
    let name = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED"));
    name.or_else(|| line.strip_prefix("FAILED ")).map(|name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_named_again_at_the_end() {
        let mut tally = Tally::default();
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'test a::b ... ok'; echo 'test a::c ... FAILED'; exit 1"]);
        assert!(!tally.run("tests", &mut command).unwrap());
        assert!(tally.step("build", || -> Result<()> { anyhow::bail!("no compiler") }).is_none());
        let wrong: Vec<_> = tally.rows.iter().map(|row| row.wrong.clone()).collect();
        assert_eq!(wrong, [vec!["a::c".to_owned()], vec!["no compiler".to_owned()]]);
    }

    #[test]
    fn what_ran_beside_is_judged_when_it_is_gathered() {
        let mut tally = Tally::default();
        tally.beside("well", Rank::Idle, &Command::new("true")).unwrap();
        assert!(tally.gather().unwrap());
        tally.beside("well", Rank::Idle, &Command::new("true")).unwrap();
        tally.beside("badly", Rank::Equal, &Command::new("false")).unwrap();
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
