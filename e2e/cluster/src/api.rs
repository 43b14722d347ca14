//! An API server asked plainly: JSON over HTTP through `kubectl proxy`, which brings address, authorities and token.
//!
//! For tests that want to see answers as they are, refusals with all their causes among them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::process::{run, search_path};

/// An API server that says nothing for so long will not answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where `KUBECONFIG` leads, with `kubectl` from the `PATH`. Dropping it ends the proxy.
#[derive(Debug)]
pub struct Api {
    proxy: Child,
    address: String,
}

/// What an API server said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The object, or why there is none.
    pub body: Value,
}

impl Api {
    /// The cluster of `KUBECONFIG`.
    pub fn connect() -> Result<Self> {
        ensure!(
            std::env::var_os("KUBECONFIG").is_some(),
            "set KUBECONFIG, or let `cargo xtask test --only cluster` start a cluster"
        );
        let mut command = Command::new("kubectl");
        let spawned = command.args(["proxy", "--port=0"]).env("PATH", search_path()).stdout(Stdio::piped()).spawn();
        let mut proxy = spawned.context("kubectl is needed")?;
        let mut line = String::new();
        if let Some(stdout) = proxy.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        ensure!(address.contains(':'), "kubectl proxy said {line:?}");
        Ok(Self { proxy, address })
    }

    /// One call; `path` begins with a slash.
    pub fn call(&self, method: &str, path: &str, object: Option<&Value>) -> Result<Answer> {
        self.call_within(method, path, object, PATIENCE)
    }

    fn call_within(&self, method: &str, path: &str, object: Option<&Value>, within: Duration) -> Result<Answer> {
        let body = object.map(Value::to_string).unwrap_or_default();
        let mut socket = TcpStream::connect(&self.address)?;
        socket.set_read_timeout(Some(within))?;
        // Version 1.0: the answer ends with the connection, whole and in one piece.
        write!(
            socket,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        Ok(Answer { status, body: serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())) })
    }
}

impl Api {
    /// Reads what lies at a path: an object, a list, or text.
    pub fn read(&self, path: &str) -> Result<Value> {
        self.read_within(path, PATIENCE)
    }

    /// The same; an error if nothing is heard for so long. A Pod that has ended may leave a question without an answer.
    pub fn read_within(&self, path: &str, within: Duration) -> Result<Value> {
        let answer = self.call_within("GET", path, None, within)?;
        ensure!(answer.status == 200, "{path}: {} {:?}", answer.status, answer.body.get("message"));
        Ok(answer.body)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

impl Answer {
    /// Why it was refused: place and message of each cause.
    #[must_use]
    pub fn causes(&self) -> Vec<(String, String)> {
        let causes = self.body.pointer("/details/causes").and_then(Value::as_array);
        let text = |cause: &Value, name: &str| cause.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        causes.into_iter().flatten().map(|cause| (text(cause, "field"), text(cause, "message"))).collect()
    }
}

/// Runs kubectl with words parted by spaces; what it printed.
pub fn kubectl(line: &str) -> Result<String> {
    run(Command::new("kubectl").args(line.split_ascii_whitespace())).with_context(|| format!("kubectl {line}"))
}

/// Applies YAML as it stands, or another verb such as `delete`.
pub fn apply(verb: &str, yaml: &str) -> Result<String> {
    let file = scratch(yaml)?;
    let applied = run(Command::new("kubectl").args(verb.split_ascii_whitespace()).arg("-f").arg(&file));
    let _ = std::fs::remove_file(&file);
    applied.with_context(|| yaml.to_owned())
}

/// Runs Helm with words parted by spaces; what it printed.
pub fn helm(line: &str) -> Result<String> {
    run(Command::new("helm").args(line.split_ascii_whitespace())).with_context(|| format!("helm {line}"))
}

/// Runs a line of a document as people would, in the repository; what it printed.
pub fn shell(line: &str) -> Result<String> {
    run(Command::new("sh").args(["-c", line]).current_dir(repository())).with_context(|| line.to_owned())
}

/// Asks until it is so. An error counts as not yet.
pub fn eventually(what: &str, within: Duration, mut ask: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + within;
    loop {
        let answer = ask();
        match answer {
            Ok(true) => return Ok(()),
            Err(error) if Instant::now() > end => return Err(error.context(format!("not within {within:?}: {what}"))),
            Ok(false) if Instant::now() > end => bail!("not within {within:?}: {what}"),
            _ => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// A namespace for one test; dropping it deletes it without waiting.
#[derive(Debug)]
pub struct Namespace(String);

impl Namespace {
    /// Makes it; `level` is the Pod Security Standard that it enforces.
    pub fn make(name: &str, level: &str) -> Result<Self> {
        kubectl(&format!("create namespace {name}"))?;
        kubectl(&format!("label namespace {name} pod-security.kubernetes.io/enforce={level}"))?;
        eventually("the namespace has its service account", Duration::from_mins(1), || {
            kubectl(&format!("get serviceaccount default --namespace {name}")).map(|_| true)
        })?;
        Ok(Self(name.to_owned()))
    }

    /// Runs kubectl in it.
    pub fn kubectl(&self, line: &str) -> Result<String> {
        kubectl(&format!("--namespace {} {line}", self.0))
    }

    /// Applies YAML in it.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        apply(&format!("--namespace {} apply", self.0), yaml)
    }

    /// Waits for a condition, such as `Ready` of `pod/a`.
    pub fn wait(&self, condition: &str, object: &str) -> Result<()> {
        let waited = self.kubectl(&format!("wait --for={condition} {object} --timeout=120s"));
        waited.map(drop).with_context(|| self.kubectl(&format!("describe {object}")).unwrap_or_default())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = kubectl(&format!("delete namespace {} --wait=false", self.0));
    }
}

fn scratch(text: &str) -> Result<PathBuf> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("throng-{}-{number}.yaml", std::process::id()));
    std::fs::write(&file, text)?;
    Ok(file)
}

/// The repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
