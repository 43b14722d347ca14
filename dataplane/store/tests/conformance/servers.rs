//! Real Redis processes on free ports of the loopback, gone when dropped.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running `redis-server`.
pub(crate) struct RedisServer {
    child: Option<Child>,
    args: Vec<String>,
    dir: PathBuf,
    pub(crate) port: u16,
}

impl RedisServer {
    /// Starts one with these extra arguments; without files unless they ask for some.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut last = String::new();
        for _ in 0..5 {
            let port = free_port();
            let dir = std::env::temp_dir().join(format!("throng-store-{}-{port}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            let mut all: Vec<String> = ["--save", "", "--appendonly", "no", "--enable-debug-command", "yes"]
                .iter()
                .chain(args)
                .map(ToString::to_string)
                .collect();
            all.extend(["--port".into(), port.to_string(), "--bind".into(), "127.0.0.1".into()]);
            all.extend(["--dir".into(), dir.display().to_string()]);
            let mut server = Self { child: None, args: all, dir, port };
            match server.run() {
                Ok(()) => return server,
                Err(error) => last = error,
            }
        }
        panic!("redis-server does not start: {last}");
    }

    /// Starts a Sentinel of one voice that watches a primary.
    pub(crate) fn sentinel(name: &str, primary: &Self) -> Self {
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("throng-store-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {name} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 3000\n",
            primary.port
        );
        std::fs::write(&file, text).unwrap();
        let args = vec![file.display().to_string(), "--sentinel".to_owned()];
        let mut server = Self { child: None, args, dir, port };
        server.run().unwrap();
        server
    }

    /// Starts the process, again after a kill, and waits until it answers.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let child =
            Command::new("redis-server").args(&self.args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(
                |error| format!("redis-server is needed for these tests (apt-get install redis-server): {error}"),
            )?;
        self.child = Some(child);
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            let child = self.child.as_mut().unwrap();
            if let Some(status) = child.try_wait().unwrap() {
                return Err(format!("it ended with {status}"));
            }
            if self.try_command(&["PING"]).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("it does not answer".into())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends a command down a connection of its own.
    pub(crate) fn try_command(&self, args: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(1))?;
        let mut command = redis::cmd(args[0]);
        for arg in &args[1..] {
            command.arg(*arg);
        }
        command.query(&mut connection)
    }

    pub(crate) fn command(&self, args: &[&str]) -> redis::Value {
        self.try_command(args).unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Three primaries without replicas, all slots covered.
pub(crate) struct RedisCluster {
    pub(crate) nodes: Vec<RedisServer>,
}

impl RedisCluster {
    pub(crate) fn start() -> Self {
        let nodes: Vec<RedisServer> = (0..3)
            .map(|_| {
                let bus = free_port().to_string();
                let args = [
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    &bus,
                    "--cluster-node-timeout",
                    "1000",
                    "--cluster-require-full-coverage",
                    "no",
                ];
                RedisServer::start(&args)
            })
            .collect();
        for (node, (from, to)) in nodes.iter().zip([(0, 5460), (5461, 10922), (10923, 16383)]) {
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]);
        }
        for (at, node) in nodes.iter().enumerate() {
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
        }
        for node in &nodes[1..] {
            let bus = node.args.iter().skip_while(|arg| *arg != "--cluster-port").nth(1).unwrap();
            nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string(), bus]);
        }
        let cluster = Self { nodes };
        cluster.wait_until_complete();
        cluster
    }

    /// Moves a hash slot with its keys, as resharding does.
    pub(crate) fn move_slot(&self, slot: u16, from: usize, to: usize) {
        let id =
            |at: usize| -> String { redis::from_redis_value(self.nodes[at].command(&["CLUSTER", "MYID"])).unwrap() };
        let (from_id, to_id, slot) = (id(from), id(to), slot.to_string());
        self.nodes[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        self.nodes[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        let keys = self.nodes[from].command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
        let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
        let port = self.nodes[to].port.to_string();
        let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        migrate.extend(keys.iter().map(String::as_str));
        self.nodes[from].command(&migrate);
        for at in [to, from, 3 - from - to] {
            self.nodes[at].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        }
    }

    pub(crate) fn wait_until_complete(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        let complete = |node: &RedisServer| {
            let info: String = redis::from_redis_value(node.command(&["CLUSTER", "INFO"])).unwrap();
            info.contains("cluster_state:ok")
                && info.contains("cluster_known_nodes:3")
                && info.contains("cluster_slots_ok:16384")
        };
        while !self.nodes.iter().all(complete) {
            assert!(Instant::now() < until, "the cluster does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
