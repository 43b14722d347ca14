//! A real etcd as a child process, on free ports, in a directory of its own.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

static STARTED: AtomicU32 = AtomicU32::new(0);

/// One etcd. Killed, and its data removed, when dropped.
pub struct EtcdServer {
    dir: PathBuf,
    port: u16,
    peer_port: u16,
    extra: Vec<String>,
    child: Option<Child>,
}

impl EtcdServer {
    pub fn start() -> Self {
        let mut server = Self::not_yet();
        server.run();
        server
    }

    /// Gives it more arguments, for its next start.
    pub fn give(&mut self, extra: &[String]) {
        self.extra.extend_from_slice(extra);
    }

    /// One that does not run yet, though its address is known.
    pub fn not_yet() -> Self {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("throng-etcd-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (port, peer_port) = (free_port(), free_port());
        Self { dir, port, peer_port, extra: Vec::new(), child: None }
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme(), self.port)
    }

    fn scheme(&self) -> &'static str {
        if self.extra.iter().any(|arg| arg.starts_with("--cert-file")) { "https" } else { "http" }
    }

    /// A directory that goes with the server.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Ends it at once, as a power cut.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on what it had.
    pub fn run(&mut self) {
        assert!(self.child.is_none());
        let (client, peer) = (self.url(), format!("http://127.0.0.1:{}", self.peer_port));
        let child = Command::new("etcd")
            .args(["--name", "one", "--log-level", "error", "--heartbeat-interval", "50", "--election-timeout", "500"])
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            .args(&self.extra)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd did not start; install it: apt-get install etcd-server");
        self.child = Some(child);
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "etcd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts it again on nothing.
    pub fn run_empty(&mut self) {
        remove(&self.data_dir());
        self.run();
    }

    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().and_then(|child| Pid::from_raw(i32::try_from(child.id()).ok()?));
        kill_process(pid.expect("etcd runs"), signal).unwrap();
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.kill();
        remove(&self.dir);
    }
}

fn remove(dir: &Path) {
    let _ = std::fs::remove_dir_all(dir);
}

/// A port that nobody takes while a killed server waits for its return: below those that the kernel hands out by itself,
/// never twice in one process, and begun at another place in each.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let offset = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = 20_000 + u16::try_from(offset).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
