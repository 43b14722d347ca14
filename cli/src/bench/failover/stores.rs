//! The real Redis and etcd of a bench, and what is done to them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::child::{Child, Place};
use super::faults::Harm;
use super::net::Net;

/// A store answers by then.
const WITHIN: Duration = Duration::from_secs(20);
/// Below what Redis has with any data: it is full.
const FULL_BYTES: u32 = 1_000_000;

/// Which server, and how it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Redis,
    Etcd,
}

/// One server of the bench's own.
#[derive(Debug)]
pub(super) struct Store {
    kind: Kind,
    // Before its place, so that it ends first.
    child: Option<Child>,
    pub(super) place: Place,
    address: SocketAddr,
    peer: SocketAddr,
    folder: PathBuf,
    log: PathBuf,
}

impl Store {
    /// Starts one with its data below `folder`, and waits until it answers.
    pub(super) fn start(kind: Kind, net: Option<&mut Net>, folder: &Path, logs: &Path) -> anyhow::Result<Self> {
        let (name, port) = match kind {
            Kind::Redis => ("redis", 6379),
            Kind::Etcd => ("etcd", 2379),
        };
        let place = Place::new(net)?;
        let (address, peer) = (place.listen(port)?, place.listen(port + 1)?);
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        let log = logs.join(format!("{name}.log"));
        let mut store = Self { kind, place, address, peer, folder, log, child: None };
        store.run()?;
        let until = Instant::now() + WITHIN;
        while !store.answers() {
            store.check()?;
            if Instant::now() > until {
                bail!("{name} does not answer at {address}; its log is {}", store.log.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(store)
    }

    /// Where it is reached.
    pub(super) fn url(&self) -> String {
        match self.kind {
            Kind::Redis => format!("redis://{}", self.address),
            Kind::Etcd => format!("http://{}", self.address),
        }
    }

    /// Does it harm.
    pub(super) fn strike(&mut self, harm: Harm) -> anyhow::Result<()> {
        match (harm, &self.child) {
            (Harm::Full, _) => self.redis(&format!("CONFIG SET maxmemory {FULL_BYTES}")),
            (Harm::Stall, Some(child)) => child.stop(),
            _ => {
                self.child = None;
                Ok(())
            }
        }
    }

    /// Undoes the harm.
    pub(super) fn heal(&mut self, harm: Harm) -> anyhow::Result<()> {
        match (harm, &self.child) {
            (Harm::Full, _) => self.redis("CONFIG SET maxmemory 0"),
            (Harm::Stall, Some(child)) => child.go_on(),
            (Harm::Empty, _) => {
                fs::remove_dir_all(&self.folder)?;
                fs::create_dir_all(&self.folder)?;
                self.run()
            }
            _ => self.run(),
        }
    }

    /// Fails if it ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        self.child.as_mut().map_or(Ok(()), |child| child.check(&self.log))
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let folder = self.folder.display();
        let (program, arguments) = match self.kind {
            Kind::Redis => {
                let (host, port) = (self.address.ip(), self.address.port());
                let line = format!("--port {port} --bind {host} --dir {folder} --protected-mode no --appendonly yes");
                ("redis-server", line)
            }
            Kind::Etcd => {
                let (client, peer) = (self.url(), format!("http://{}", self.peer));
                let line = format!(
                    "--name one --data-dir {folder}/data --log-level error --heartbeat-interval 50 --election-timeout 500 \
                     --listen-client-urls {client} --advertise-client-urls {client} --listen-peer-urls {peer} \
                     --initial-advertise-peer-urls {peer} --initial-cluster one={peer}"
                );
                ("etcd", line)
            }
        };
        let arguments: Vec<String> = arguments.split_ascii_whitespace().map(ToOwned::to_owned).collect();
        self.child = Some(self.place.run(Path::new(program), &arguments, &self.log)?);
        Ok(())
    }

    fn answers(&self) -> bool {
        match self.kind {
            Kind::Redis => self.redis("PING").is_ok(),
            Kind::Etcd => TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).is_ok(),
        }
    }

    /// Sends one command that answers with a simple text.
    fn redis(&self, command: &str) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answer = [0; 256];
        let read = stream.read(&mut answer)?;
        let answer = answer.get(..read).unwrap_or_default();
        if !answer.starts_with(b"+") {
            bail!("Redis answered {command} with {}", String::from_utf8_lossy(answer).trim());
        }
        Ok(())
    }
}

/// The program of a server is there, or what to install.
pub(super) fn installed(program: &str, package: &str) -> anyhow::Result<()> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join(program).is_file());
    found.then_some(()).with_context(|| format!("{program} is needed: apt-get install {package}"))
}
