//! An etcd and the roles as processes, as Kubernetes runs them: `throng gateway`, `chatroom`, `message`.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::dev::binary;
use crate::{http, tokens};

/// The key that Pods of a test share.
pub const POD_KEY: &str = "a key of the tests";
/// The server API's.
pub const API_KEY: &str = "a key of the server of the tests";
/// Signs tokens of a test.
pub const SECRET: &str = "a secret of the tests, of 32 bytes or more";

/// A folder, an address for etcd, and a configuration that all roles share. Nothing runs before it is started.
pub struct Cluster {
    folder: TempDir,
    etcd: SocketAddr,
    logged: Option<String>,
}

/// A process; dropping it kills it.
pub struct Process(Child);

/// A running role.
pub struct Pod {
    process: Process,
    /// gRPC of the role and of `Node`.
    pub grpc: SocketAddr,
    /// Health and metrics.
    pub http: SocketAddr,
    /// Where a gateway takes clients.
    pub public: SocketAddr,
}

impl Cluster {
    /// Its drains end after `drain_ms`.
    pub fn new(drain_ms: u64) -> Result<Self> {
        let (folder, etcd) = (folder()?, free_address()?);
        let config = json!({
            "node": {
                "namespace": "e2e", "cluster": "roles", "etcd": [format!("http://{etcd}")],
                "pod_key": POD_KEY, "drain_ms": drain_ms, "advertise": "127.0.0.1",
            },
            "gateway": {"reactors": 1, "auth": {
                "api_keys": [API_KEY],
                "jwt": [{"algorithm": "HS256", "key": SECRET}],
                "resume": [{"id": "e2e", "secret": SECRET}],
            }},
        });
        std::fs::write(folder.path().join("throng.yaml"), config.to_string())?;
        Ok(Self { folder, etcd, logged: None })
    }

    /// Roles that are started from now on read the key that Pods share from a file, which may change.
    pub fn read_pod_key(&self, file: &Path) -> Result<()> {
        let path = self.folder.path().join("throng.yaml");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let node = config["node"].as_object_mut().context("the configuration has a section of the node")?;
        node.remove("pod_key");
        node.insert("pod_key_file".to_owned(), json!(file));
        Ok(std::fs::write(path, config.to_string())?)
    }

    /// What roles log, as `THRONG_LOG` says it.
    #[must_use]
    pub fn logging(mut self, what: &str) -> Self {
        self.logged = Some(what.to_owned());
        self
    }

    /// Where etcd answers, once it is started.
    #[must_use]
    pub fn etcd_url(&self) -> String {
        format!("http://{}", self.etcd)
    }

    /// Starts etcd. It may take a second to answer.
    pub fn start_etcd(&self) -> Result<Process> {
        let (client, peer) = (format!("http://{}", self.etcd), format!("http://{}", free_address()?));
        let data = self.folder.path().join("etcd");
        let line = format!(
            "--name one --log-level error --listen-client-urls {client} --advertise-client-urls {client} \
             --listen-peer-urls {peer} --initial-advertise-peer-urls {peer} --initial-cluster one={peer}"
        );
        let mut command = Command::new("etcd");
        command.args(line.split_ascii_whitespace()).arg("--data-dir").arg(data);
        Process::start(command, Path::new("/dev/null")).context("etcd is needed: apt-get install etcd-server")
    }

    /// Starts a role; [`Pod::wait_ready`] says when it serves.
    pub fn start(&self, role: &str, name: &str) -> Result<Pod> {
        self.start_with(role, name, &[])
    }

    /// Starts a role with settings of its own, as in `node.redis_mode=cluster`.
    pub fn start_with(&self, role: &str, name: &str, sets: &[String]) -> Result<Pod> {
        let (grpc, http, public) = (free_address()?, free_address()?, free_address()?);
        let mut command = Command::new(binary()?);
        command.arg(role).arg("--config").arg(self.folder.path().join("throng.yaml"));
        for set in [
            format!("node.pod={name}"),
            format!("node.grpc={grpc}"),
            format!("node.http={http}"),
            format!("node.public={public}"),
        ] {
            command.args(["--set", &set]);
        }
        for set in sets {
            command.args(["--set", set]);
        }
        if let Some(what) = &self.logged {
            command.env("THRONG_LOG", what);
        }
        let process = Process::start(command, &self.folder.path().join(format!("{name}.log")))?;
        Ok(Pod { process, grpc, http, public })
    }

    /// Starts a Redis that asks for a password, and where it answers.
    pub fn start_redis(&self, password: &str) -> Result<(Process, String)> {
        let address = free_address()?;
        Ok((self.start_redis_at(address, password)?, format!("redis://{address}")))
    }

    /// Starts one at this address.
    pub fn start_redis_at(&self, address: SocketAddr, password: &str) -> Result<Process> {
        let mut command = Command::new("redis-server");
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--requirepass", password]).arg("--dir").arg(self.folder.path());
        Process::start(command, Path::new("/dev/null")).context("Redis is needed: apt-get install redis-server")
    }

    /// A folder of the cluster, made when it is first asked for.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Starts a role and waits until it is ready.
    pub fn start_ready(&self, role: &str, name: &str) -> Result<Pod> {
        let pod = self.start(role, name)?;
        pod.wait_ready(Duration::from_secs(20)).with_context(|| self.log(name))?;
        Ok(pod)
    }

    /// What a role has said so far.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// A token of a user.
    pub fn token(&self, user: &str) -> Result<String> {
        tokens::hs256(SECRET, &tokens::claims(user))
    }
}

impl Process {
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Pod {
    /// SIGTERM, as Kubernetes sends it.
    pub fn terminate(&self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.process.0.id())?).context("a process has a number")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.process.0.try_wait()?)
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/connect", self.public)
    }

    /// Status and body of a path of its health port.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut socket = TcpStream::connect(self.http)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http)?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        Ok((status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()))
    }

    /// A call of a gateway's server API, by its status and JSON body.
    pub fn api(&self, method: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
        self.api_with(API_KEY, method, path, body)
    }

    /// The same with a key of one's own.
    pub fn api_with(&self, key: &str, method: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
        http::read(&http::request(&self.public.to_string(), key, method, path, &http::body(body))?)
    }

    /// Waits until `/readyz` answers 200.
    pub fn wait_ready(&self, within: Duration) -> Result<()> {
        let until = Instant::now() + within;
        loop {
            match self.get("/readyz") {
                Ok((200, _)) => return Ok(()),
                answer if Instant::now() > until => bail!("not ready after {within:?}: {answer:?}"),
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// In memory where that can be: etcd waits for the disk with every write, and other tests may keep it busy.
pub(crate) fn folder() -> Result<TempDir> {
    Ok(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?)
}

/// An address of the loopback that nobody listens at.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
