//! `throng dev` as a child process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;

use crate::http;

/// A running cluster. Dropping it closes its standard input, which ends it; if that fails it is killed.
#[derive(Debug)]
pub struct Dev {
    child: Child,
    /// What it printed when it was ready.
    pub ready: Ready,
    /// Time from start to that line.
    pub took: Duration,
}

/// The line that `throng dev --json` prints.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    /// Where clients connect.
    pub url: String,
    /// The page and the server API.
    pub http: String,
    /// Key of the server API.
    pub api_key: String,
    /// What it signs and checks tokens with.
    pub token_secret: String,
    /// The Pods.
    pub pods: Vec<ReadyPod>,
}

/// One Pod of that line.
#[derive(Clone, Debug, Deserialize)]
pub struct ReadyPod {
    /// Its name.
    pub name: String,
    /// `gateway`, `chatroom` or `message`.
    pub role: String,
    /// Its process.
    pub pid: u32,
    /// Health and metrics.
    pub http: String,
}

/// The binary under test.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("THRONG_BIN") {
        return Ok(path.into());
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let path = target.join("release/throng");
    if path.is_file() {
        Ok(path)
    } else {
        bail!("build it first: cargo build --release ({} is missing)", path.display())
    }
}

/// Folder of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Memory that a process holds now, in bytes.
pub fn rss_bytes(pid: u32) -> Result<u64> {
    memory_bytes(pid, "VmRSS:")
}

/// Memory of a process by what Linux calls it in `/proc/<pid>/status`, such as `VmHWM:`, in bytes.
pub fn memory_bytes(pid: u32, what: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).with_context(|| what.to_owned())?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

impl Dev {
    /// Starts a cluster on a free port, and waits until it is ready.
    pub fn start(args: &[&str]) -> Result<Self> {
        let began = Instant::now();
        let mut child = Command::new(binary()?)
            .args(["dev", "--json", "--listen", "127.0.0.1:0"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start throng dev")?;
        let stdout = child.stdout.take().context("standard output is a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready = serde_json::from_str(&line).with_context(|| format!("throng dev printed {line:?}"))?;
        Ok(Self { child, ready, took: began.elapsed() })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ctrl-C.
    pub fn interrupt(&self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid())?).context("a process has a number")?;
        Ok(kill_process(pid, Signal::INT)?)
    }

    /// Asks it to end and waits; whether it ended by itself with success.
    pub fn end(&mut self, within: Duration) -> Result<bool> {
        drop(self.child.stdin.take());
        self.wait(within)
    }

    /// Waits for its end; whether it came by itself, with success.
    pub fn wait(&mut self, within: Duration) -> Result<bool> {
        let until = Instant::now() + within;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(false)
    }

    /// What the buttons of the page do: `add`, `drain`, `undrain`, `kill`.
    pub fn act(&self, verb: &str, name: &str) -> Result<()> {
        let answer = self.http("POST", &format!("/dev/pods/{verb}"), &format!("{{\"name\":\"{name}\"}}"))?;
        if answer.starts_with("HTTP/1.1 204") { Ok(()) } else { bail!("{verb} {name}: {answer}") }
    }

    /// One request to the public port; the whole answer as text.
    pub fn http(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let address = self.ready.http.strip_prefix("http://").context("http")?;
        http::request(address, &self.ready.api_key, method, path, body)
    }

    /// One request to the server API, by its status and JSON body.
    pub fn api(&self, method: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
        http::read(&self.http(method, path, &http::body(body))?)
    }

    /// What the page is fed with. A gateway that ends may take an answer with it.
    #[must_use]
    pub fn state(&self) -> Option<Value> {
        let answer = self.http("GET", "/dev/state", "").ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body.get(body.find('{')?..=body.rfind('}')?)?).ok()
    }

    /// Waits until that is as it should be.
    pub fn until(&self, what: &str, within: Duration, is: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + within;
        let mut last = None;
        while Instant::now() < end {
            match self.state() {
                Some(state) if is(&state) => return Ok(state),
                state => last = state.or(last),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        bail!("not within {within:?}: {what}; last {last:#?}")
    }

    /// Memory that the cluster's process holds now, in bytes.
    pub fn rss_bytes(&self) -> Result<u64> {
        rss_bytes(self.pid())
    }

    /// The text of `/metrics` of a Pod.
    pub fn metrics(&self, pod: &ReadyPod) -> Result<String> {
        let address = pod.http.strip_prefix("http://").context("http")?;
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(socket, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// A token for a user.
    pub fn token(&self, user: &str) -> Result<String> {
        let output = Command::new(binary()?).args(["token", "--lane", "1", "--user", user]).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if !self.end(Duration::from_secs(5)).unwrap_or(false) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
