//! Redis: one server, or a primary with two replicas under three Sentinels.
//!
//! Two replicas, so that one is left to confirm what is stored after the other was promoted.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::Harm;
use super::server::Server;
use crate::bench::failover::child::Place;
use crate::bench::failover::net::Net;

/// Below what Redis has with any data: it is full.
const FULL_BYTES: u32 = 1_000_000;
/// The primary's name at the Sentinels.
pub(in crate::bench::failover) const PRIMARY: &str = "bench";
/// Replicas of a primary that is watched, and Sentinels that watch it.
const REPLICAS: usize = 2;
const SENTINELS: usize = 3;
/// A primary that is silent for so long is taken for dead.
const DOWN_AFTER: Duration = Duration::from_secs(1);
/// Sentinels that could not agree try again after twice as long.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// The Redis of a bench.
#[derive(Debug)]
pub(in crate::bench::failover) struct Redis {
    servers: Vec<Server>,
    sentinels: Vec<Server>,
}

impl Redis {
    /// Starts it and waits until it answers; `watched`: with replicas and Sentinels.
    pub(in crate::bench::failover) fn start(
        watched: bool,
        mut net: Option<&mut Net>,
        folder: &Path,
        logs: &Path,
    ) -> anyhow::Result<Self> {
        let mut this = Self { servers: Vec::new(), sentinels: Vec::new() };
        let (replicas, sentinels) = if watched { (REPLICAS, SENTINELS) } else { (0, 0) };
        for number in 0..=replicas {
            let name = format!("redis-{number}");
            let mut server = Server::new(&name, Place::new(net.as_deref_mut())?, 6379, logs)?;
            let folder = folder.join(name);
            fs::create_dir_all(&folder)?;
            let primary = this.servers.first().map(|primary| primary.address);
            let follow = primary.map(|primary| format!("--replicaof {} {}", primary.ip(), primary.port()));
            let (usual, follow) = (usual(server.address, &folder), follow.unwrap_or_default());
            let line = format!("{usual} --appendonly yes --repl-diskless-sync-delay 0 {follow}");
            server.start("redis-server", &line)?;
            server.wait(|server| server.redis("PING").is_ok())?;
            this.servers.push(server);
        }
        if let Some(primary) = this.servers.first_mut() {
            // Sentinels that find replicas at their first look need not look again for ten seconds.
            primary.wait(|primary| online(primary) == replicas)?;
        }
        for number in 1..=sentinels {
            let primary = this.servers.first().context("the primary was just started")?.address;
            let name = format!("sentinel-{number}");
            let mut sentinel = Server::new(&name, Place::new(net.as_deref_mut())?, 26379, logs)?;
            let folder = folder.join(name);
            fs::create_dir_all(&folder)?;
            let file = folder.join("sentinel.conf");
            fs::write(&file, watch(primary, sentinels / 2 + 1))?;
            sentinel.start(
                "redis-server",
                &format!("{} --sentinel {}", file.display(), usual(sentinel.address, &folder)),
            )?;
            this.sentinels.push(sentinel);
        }
        for sentinel in &mut this.sentinels {
            sentinel.wait(|sentinel| {
                named(sentinel).is_some_and(|seen| seen.replicas == REPLICAS && seen.sentinels == SENTINELS)
            })?;
        }
        Ok(this)
    }

    /// Where it is reached: the server, or the Sentinels.
    pub(in crate::bench::failover) fn urls(&self) -> Vec<String> {
        let asked = if self.is_watched() { &self.sentinels } else { &self.servers };
        asked.iter().map(|server| format!("redis://{}", server.address)).collect()
    }

    /// Whether Sentinels watch it.
    pub(in crate::bench::failover) fn is_watched(&self) -> bool {
        !self.sentinels.is_empty()
    }

    /// Where its servers live.
    pub(in crate::bench::failover) fn places(&self) -> impl Iterator<Item = &Place> {
        self.servers.iter().chain(&self.sentinels).map(Server::place)
    }

    /// Does it harm.
    pub(in crate::bench::failover) fn strike(&mut self, harm: Harm) -> anyhow::Result<()> {
        match harm {
            Harm::Full => self.each(|server| server.redis(&format!("CONFIG SET maxmemory {FULL_BYTES}")).map(drop)),
            Harm::Stall => self.each(Server::stop),
            Harm::Leader => {
                let primary = self.primary().context("the Sentinels name no primary")?;
                let leads = self.servers.iter_mut().find(|server| server.address == primary);
                leads.context("the Sentinels name a primary that is none of the bench's")?.kill();
                Ok(())
            }
            Harm::Kill | Harm::Empty => {
                self.servers.iter_mut().for_each(Server::kill);
                Ok(())
            }
        }
    }

    /// Undoes the harm. A former primary starts as one, and the Sentinels make it a replica.
    pub(in crate::bench::failover) fn heal(&mut self, harm: Harm) -> anyhow::Result<()> {
        match harm {
            Harm::Full => self.each(|server| server.redis("CONFIG SET maxmemory 0").map(drop)),
            Harm::Stall => self.each(Server::go_on),
            _ => self.servers.iter_mut().filter(|server| !server.runs()).try_for_each(Server::again),
        }
    }

    /// Fails if a server ended by itself.
    pub(in crate::bench::failover) fn check(&mut self) -> anyhow::Result<()> {
        self.servers.iter_mut().chain(&mut self.sentinels).try_for_each(Server::check)
    }

    /// Why it is not as it was; none if it is.
    pub(in crate::bench::failover) fn not_restored(&self) -> Option<String> {
        if !self.is_watched() {
            return None;
        }
        let Some(primary) = self.primary() else { return Some("the Sentinels name no primary of Redis".to_owned()) };
        let follow = self.servers.iter().find(|server| server.address == primary).map_or(0, online);
        (follow != REPLICAS).then(|| format!("{follow} replicas follow the primary of Redis"))
    }

    fn each(&self, harm: impl Fn(&Server) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.servers.iter().try_for_each(harm)
    }

    /// The primary, as the first Sentinel that answers names it.
    fn primary(&self) -> Option<SocketAddr> {
        self.sentinels.iter().find_map(named).map(|seen| seen.primary)
    }
}

fn usual(address: SocketAddr, folder: &Path) -> String {
    let (host, port) = (address.ip(), address.port());
    format!("--port {port} --bind {host} --dir {} --protected-mode no", folder.display())
}

/// What a Sentinel is told.
fn watch(primary: SocketAddr, quorum: usize) -> String {
    let (host, port) = (primary.ip(), primary.port());
    let (down, again) = (DOWN_AFTER.as_millis(), AGAIN_AFTER.as_millis());
    format!(
        "sentinel monitor {PRIMARY} {host} {port} {quorum}\nsentinel down-after-milliseconds {PRIMARY} {down}\n\
         sentinel failover-timeout {PRIMARY} {again}\nsentinel parallel-syncs {PRIMARY} {REPLICAS}\n"
    )
}

/// Replicas that have all that a primary has written, up to what is on its way.
fn online(primary: &Server) -> usize {
    let said = primary.redis("INFO replication").unwrap_or_default();
    said.lines().filter(|line| line.starts_with("slave") && line.contains("state=online")).count()
}

/// What a Sentinel knows of the primary.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    primary: SocketAddr,
    replicas: usize,
    sentinels: usize,
}

fn named(sentinel: &Server) -> Option<Named> {
    seen(&sentinel.redis("INFO sentinel").ok()?)
}

/// The line `master0:name=bench,status=ok,address=127.0.0.1:6379,slaves=2,sentinels=3`.
fn seen(info: &str) -> Option<Named> {
    let line = info.lines().find_map(|line| line.strip_prefix("master0:"))?;
    let field = |name: &str| {
        line.trim_end().split(',').find_map(|field| field.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')))
    };
    Some(Named {
        primary: field("address")?.parse().ok()?,
        replicas: field("slaves")?.parse().ok()?,
        sentinels: field("sentinels")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentinel_names_the_primary_and_who_follows_it() {
        let info = "# Sentinel\r\nsentinel_masters:1\r\nmaster0:name=bench,status=ok,address=127.0.0.1:6379,slaves=2,sentinels=3\r\n";
        let primary = "127.0.0.1:6379".parse().unwrap();
        assert_eq!(seen(info), Some(Named { primary, replicas: 2, sentinels: 3 }));
        assert_eq!(seen("# Sentinel\r\nsentinel_masters:0\r\n"), None);
    }

    #[test]
    fn sentinels_decide_by_majority() {
        let told = watch("10.1.2.3:6379".parse().unwrap(), SENTINELS / 2 + 1);
        assert!(told.starts_with("sentinel monitor bench 10.1.2.3 6379 2\n"), "{told}");
    }
}
