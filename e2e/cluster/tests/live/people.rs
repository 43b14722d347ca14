//! People in the rooms: `throng bench attend` as a child process, which checks every message that each of them gets.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::world::{SECRET, World, until, urls};

/// Who is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The cluster that they go to.
    pub(crate) cluster: &'a str,
    /// How many.
    pub(crate) count: u32,
    /// What names of users and rooms begin with.
    pub(crate) name: &'a str,
    /// Something will fail: they may be cut off, if they come back and lose nothing.
    pub(crate) may_cut: bool,
}

/// People who talk. Dropping them ends them.
pub(crate) struct People {
    child: Child,
    stdin: Option<ChildStdin>,
    latest: Arc<Mutex<Value>>,
    reader: Option<JoinHandle<()>>,
}

impl People {
    /// They come, and are all in their rooms when this returns.
    pub(crate) fn come(world: &World, wish: Wish<'_>) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.args(["bench", "attend", "--watch", "--json", "--connect-rate", "250", "--token-secret", SECRET]);
        for url in urls(wish.cluster)? {
            command.args(["--url", &url]);
        }
        command.args(["--subscribers", &wish.count.to_string(), "--name", wish.name]);
        command.args(["--slack", &world.slack.to_string()]);
        if wish.may_cut {
            command.arg("--may-cut");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start throng")?;
        let latest = Arc::new(Mutex::new(Value::Null));
        let (theirs, stdout) = (Arc::clone(&latest), child.stdout.take());
        let reader = std::thread::spawn(move || {
            let lines = stdout.map(BufReader::new).into_iter().flat_map(BufReader::lines).map_while(Result::ok);
            for line in lines {
                let said = serde_json::from_str(&line).unwrap_or_default();
                *theirs.lock().unwrap_or_else(PoisonError::into_inner) = said;
            }
        });
        let stdin = child.stdin.take();
        let mut people = Self { child, stdin, latest, reader: Some(reader) };
        until("people are in their rooms", Duration::from_mins(2), || {
            if let Some(status) = people.child.try_wait()? {
                bail!("they left at once ({status}); see above");
            }
            people.all_there(wish.count)
        })?;
        Ok(people)
    }

    /// What they noticed so far: at most a second old.
    pub(crate) fn now(&self) -> Value {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One figure of it.
    pub(crate) fn count(&self, what: &str) -> u64 {
        self.now()[what].as_u64().unwrap_or(0)
    }

    /// Whether so many are in their rooms.
    pub(crate) fn all_there(&self, count: u32) -> Result<()> {
        let now = self.now();
        ensure!(now["ready"].as_u64() == Some(u64::from(count)), "{now}");
        Ok(())
    }

    /// They go; what they noticed, if no promise was broken.
    pub(crate) fn leave(mut self) -> Result<Value> {
        drop(self.stdin.take());
        if let Some(reader) = self.reader.take() {
            reader.join().ok().context("the reader has panicked")?;
        }
        self.child.wait()?;
        let report = self.now();
        let broken = report["broken"].as_array().with_context(|| format!("they left without a word: {report}"))?;
        ensure!(broken.is_empty(), "people noticed it: {report:#}");
        Ok(report)
    }
}

impl Drop for People {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The figures of a report that every scenario tells.
pub(crate) fn words(report: &Value) -> String {
    format!(
        "{} people, {} said, {} heard, lost {}, declared missing {}, doubled {}, cut off {}, asked to move {}, longest silence {} ms",
        report["subscribers"],
        report["published"],
        report["delivered"],
        report["lost"],
        report["declared_gaps"],
        report["duplicated"],
        report["cut_off"],
        report["goaways"],
        report["gap_ms"]["max"]
    )
}

/// The program: what `THRONG_BIN` names.
pub(crate) fn binary() -> Result<std::path::PathBuf> {
    let path =
        std::env::var_os("THRONG_BIN").context("THRONG_BIN names the throng program; cargo xtask test sets it")?;
    Ok(path.into())
}
