//! The server under test: a child process of this same binary, unless a URL is given.
//!
//! `throng dev --isolate-gateways` runs chatroom and message Pods in one process and each gateway in a process of its own,
//! so that CPU and memory of a gateway are its own. The child ends when its stdin closes, so it does not outlive the bench.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::args::ServerArgs;
use super::fleet::{Endpoint, Fleet};
use super::metrics;
use super::process::{self, Cores};
use super::token::Signer;

/// The server must say that it is ready by then.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// A server that was told to end is killed after so long.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Configuration that a scenario asks of its own server. The names are those of `throng dev --set`, and only here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Setting {
    /// Largest `max_rate` that a client may ask for; 0: any, and none at all.
    MaxRateCap(u32),
    /// Messages a second that a room takes.
    RoomRate(u32),
    /// Connections from one address; 0: any number.
    PerAddress(u32),
    /// Commands a second on one connection.
    FramesPerS(u32),
}

impl Setting {
    fn text(self) -> String {
        match self {
            Self::MaxRateCap(0) => "gateway.downstream.allow_unlimited=true".to_owned(),
            Self::MaxRateCap(rate) => format!("gateway.downstream.max_messages_per_second={rate}"),
            Self::RoomRate(rate) => format!("chatroom.rooms.messages_per_second={rate}"),
            Self::PerAddress(connections) => format!("gateway.limits.connections_per_address={connections}"),
            Self::FramesPerS(frames) => format!("gateway.limits.frames_per_s={frames}"),
        }
    }
}

/// What the server says of itself, in one line of JSON.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Ready {
    /// Any gateway.
    pub(super) url: String,
    /// Each gateway.
    #[serde(default)]
    pub(super) urls: Vec<String>,
    /// Secret of HS256 tokens.
    #[serde(default)]
    pub(super) token_secret: String,
    /// Its Pods.
    #[serde(default)]
    pub(super) pods: Vec<Pod>,
}

/// One Pod of the server under test.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Pod {
    pub(super) name: String,
    /// gateway, chatroom or message.
    pub(super) role: String,
    pub(super) pid: u32,
    /// Where `/metrics` is.
    #[serde(default)]
    pub(super) http: String,
}

/// A running server. Dropping it ends it.
pub(super) struct Server {
    pub(super) ready: Ready,
    child: Option<Child>,
    stdin: Option<ChildStdin>,
}

impl Server {
    /// Starts one with `settings`, or takes the one at `--url`, whose configuration is its own.
    pub(super) fn start(args: &ServerArgs, gateways: u32, settings: &[Setting]) -> anyhow::Result<Self> {
        if !args.url.is_empty() {
            let secret = args.token_secret.clone().context("with --url give --token-secret (HS256) too")?;
            let url = args.url.first().cloned().unwrap_or_default();
            let ready = Ready { url, urls: args.url.clone(), token_secret: secret, pods: Vec::new() };
            return Ok(Self { ready, child: None, stdin: None });
        }
        let mut command = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
        command.args(["dev", "--isolate-gateways", "--json", "--listen", "127.0.0.1:0"]);
        command.args(["--gateways", &gateways.to_string()]);
        let mut given = vec![Setting::PerAddress(0)];
        given.extend_from_slice(settings);
        for setting in given {
            command.args(["--set", &setting.text()]);
        }
        for extra in &args.set {
            command.args(["--set", extra]);
        }
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the server under test")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let mut server = Self { ready: Ready::default(), child: Some(child), stdin };
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.map(BufReader::new).into_iter().flat_map(BufReader::lines).map_while(Result::ok) {
                if send.send(line).is_err() {
                    // Nobody listens any more; read on, so that the server never blocks on its stdout.
                }
            }
        });
        let line = lines.recv_timeout(READY_WITHIN);
        let line = line.ok().with_context(|| {
            format!(
                "the server under test did not say that it is ready within {READY_WITHIN:?}; see its messages above"
            )
        })?;
        server.ready = serde_json::from_str(&line).with_context(|| format!("the server said no JSON: {line}"))?;
        if server.ready.urls.is_empty() {
            server.ready.urls.push(server.ready.url.clone());
        }
        Ok(server)
    }

    /// Clients for it, none yet, and the signer of their tokens.
    pub(super) fn fleet(&self) -> anyhow::Result<(Fleet, Signer)> {
        let endpoints = self.ready.urls.iter().map(|url| Endpoint::parse(url)).collect::<Result<Vec<_>, _>>()?;
        Ok((Fleet::new(endpoints)?, Signer::new(&self.ready.token_secret)))
    }

    /// Pods of a role.
    pub(super) fn pods(&self, role: &str) -> impl Iterator<Item = &Pod> {
        let role = role.to_owned();
        self.ready.pods.iter().filter(move |pod| pod.role == role)
    }

    /// Keeps the gateways on the server's core.
    pub(super) fn pin_gateways(&self, cores: Cores) {
        for pod in self.pods("gateway") {
            cores.pin_server(pod.pid);
        }
    }

    /// CPU time of all gateways, in microseconds; none if they are not on this machine.
    pub(super) fn gateway_cpu_us(&self) -> anyhow::Result<Option<u64>> {
        self.sum_gateways(process::cpu_us)
    }

    /// Resident memory of all gateways, in bytes; none if they are not on this machine.
    pub(super) fn gateway_rss_bytes(&self) -> anyhow::Result<Option<u64>> {
        self.sum_gateways(process::rss_bytes)
    }

    /// Resident memory of the gateways that live, in bytes, cheap enough to be asked often; zero if none is on this machine.
    pub(super) fn gateway_rss_now(&self) -> u64 {
        self.pods("gateway").filter_map(|pod| process::rss_bytes_now(pod.pid)).sum()
    }

    fn sum_gateways(&self, of: impl Fn(u32) -> anyhow::Result<u64>) -> anyhow::Result<Option<u64>> {
        let mut sum = None;
        for pod in self.pods("gateway") {
            sum = Some(sum.unwrap_or(0) + of(pod.pid)?);
        }
        Ok(sum)
    }

    /// Sum of a metric over the Pods of a role; none if there are none whose metrics can be asked for. A Pod that does not
    /// have it is an error.
    pub(super) fn metric(&self, role: &str, name: &str) -> anyhow::Result<Option<f64>> {
        // Pods that share a process may share their metrics: each address counts once.
        let mut asked: Vec<&str> = Vec::new();
        let mut sum = None;
        for pod in self.pods(role).filter(|pod| !pod.http.is_empty()) {
            if asked.contains(&pod.http.as_str()) {
                continue;
            }
            asked.push(&pod.http);
            let text = metrics::fetch(&pod.http).with_context(|| format!("no metrics of {}", pod.name))?;
            let value = metrics::sum(&text, name);
            let value = value.with_context(|| format!("{} has no metric {name}: is it called otherwise?", pod.name))?;
            sum = Some(sum.unwrap_or(0.0) + value);
        }
        Ok(sum)
    }

    /// Fails if the server ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait().context("cannot ask for the state of the server under test")?
        {
            bail!("the server under test ended by itself ({status}); see its messages above");
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its stdin closes: it ends, and so do its gateways.
        drop(self.stdin.take());
        let Some(mut child) = self.child.take() else { return };
        let deadline = Instant::now() + END_WITHIN;
        while Instant::now() < deadline {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("bench: the server under test did not end by itself and is killed");
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> anyhow::Result<Server> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Server::spawn(command)
    }

    #[test]
    fn the_ready_line_is_read_and_the_server_ends_with_its_stdin() {
        let line = r#"{"url":"ws://127.0.0.1:1/connect","token_secret":"s","pods":[{"name":"g","role":"gateway","pid":1,"http":"http://127.0.0.1:2"}]}"#;
        let mut server = shell(&format!("echo '{line}'; cat")).unwrap();
        assert_eq!(server.ready.urls, ["ws://127.0.0.1:1/connect"]);
        assert_eq!(server.pods("gateway").count(), 1);
        server.check().unwrap();
        let begun = Instant::now();
        drop(server);
        assert!(begun.elapsed() < END_WITHIN);
    }

    #[test]
    fn a_metric_that_no_pod_has_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let line = format!(
            r#"{{"url":"ws://127.0.0.1:1/connect","token_secret":"s","pods":[{{"name":"c","role":"chatroom","pid":1,"http":"http://{}"}}]}}"#,
            listener.local_addr().unwrap()
        );
        let answers = std::thread::spawn(move || {
            for _ in 0..2 {
                let mut socket = listener.accept().unwrap().0;
                let mut asked = [0; 1024];
                let _ = std::io::Read::read(&mut socket, &mut asked).unwrap();
                std::io::Write::write_all(&mut socket, b"HTTP/1.0 200 OK\r\n\r\nreads_total 3\n").unwrap();
            }
        });
        let server = shell(&format!("echo '{line}'; cat")).unwrap();
        assert_eq!(server.metric("chatroom", "reads_total").unwrap(), Some(3.0));
        let error = server.metric("chatroom", "reads").unwrap_err().to_string();
        assert_eq!(error, "c has no metric reads: is it called otherwise?");
        assert_eq!(server.metric("gateway", "reads").unwrap(), None);
        answers.join().unwrap();
    }

    #[test]
    fn a_server_that_ends_early_or_talks_nonsense_is_an_error() {
        assert!(shell("true").is_err());
        assert!(shell("echo nonsense; cat").is_err());
    }
}
