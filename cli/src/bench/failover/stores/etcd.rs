//! etcd: one member, or three of which one is the leader.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use super::Harm;
use super::server::Server;
use crate::bench::failover::child::Place;
use crate::bench::failover::net::Net;

/// The etcd of a bench.
#[derive(Debug)]
pub(in crate::bench::failover) struct Etcd {
    members: Vec<Server>,
    folder: PathBuf,
}

impl Etcd {
    /// Starts so many members and waits until they have a leader.
    pub(in crate::bench::failover) fn start(
        count: usize,
        mut net: Option<&mut Net>,
        folder: &Path,
        logs: &Path,
    ) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        let mut peers: Vec<SocketAddr> = Vec::new();
        for number in 1..=count {
            let place = Place::new(net.as_deref_mut())?;
            peers.push(place.listen(2380)?);
            members.push(Server::new(&format!("etcd-{number}"), place, 2379, logs)?);
        }
        let all: Vec<String> = (1..).zip(&peers).map(|(number, peer)| format!("etcd-{number}=http://{peer}")).collect();
        let all = all.join(",");
        let folder = folder.join("etcd");
        fs::create_dir_all(&folder)?;
        for ((number, member), peer) in (1..).zip(&mut members).zip(&peers) {
            let (client, peer) = (format!("http://{}", member.address), format!("http://{peer}"));
            let line = format!(
                "--name etcd-{number} --data-dir {}/{number} --log-level error --heartbeat-interval 50 \
                 --election-timeout 500 --listen-client-urls {client} --advertise-client-urls {client} \
                 --listen-peer-urls {peer} --initial-advertise-peer-urls {peer} --initial-cluster {all}",
                folder.display()
            );
            member.start("etcd", &line)?;
        }
        members.iter_mut().try_for_each(|member| member.wait(|member| leads(member).is_some()))?;
        Ok(Self { members, folder })
    }

    /// Where its members are reached.
    pub(in crate::bench::failover) fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("http://{}", member.address)).collect()
    }

    /// Where its members live.
    pub(in crate::bench::failover) fn places(&self) -> impl Iterator<Item = &Place> {
        self.members.iter().map(Server::place)
    }

    /// Does it harm: one of several to its leader, any other to all of it.
    pub(in crate::bench::failover) fn strike(&mut self, harm: Harm) -> anyhow::Result<()> {
        match harm {
            Harm::Leader => {
                let leader = self.members.iter_mut().find(|member| leads(member) == Some(true));
                leader.context("no member of etcd leads")?.kill();
            }
            _ => self.members.iter_mut().for_each(Server::kill),
        }
        Ok(())
    }

    /// Undoes the harm.
    pub(in crate::bench::failover) fn heal(&mut self, harm: Harm) -> anyhow::Result<()> {
        if harm == Harm::Empty {
            fs::remove_dir_all(&self.folder)?;
            fs::create_dir_all(&self.folder)?;
        }
        self.members.iter_mut().filter(|member| !member.runs()).try_for_each(Server::again)
    }

    /// Fails if a member ended by itself.
    pub(in crate::bench::failover) fn check(&mut self) -> anyhow::Result<()> {
        self.members.iter_mut().try_for_each(Server::check)
    }

    /// Why it is not as it was; none if it is.
    pub(in crate::bench::failover) fn not_restored(&self) -> Option<String> {
        let behind = self.members.iter().find(|member| leads(member).is_none())?;
        Some(format!("the member of etcd at {} has no leader", behind.address))
    }
}

/// Whether a member leads; none if it knows of no leader or does not answer.
fn leads(member: &Server) -> Option<bool> {
    leader(&member.etcd_status().ok()?)
}

/// The same from its status.
fn leader(status: &Value) -> Option<bool> {
    // An etcd without a leader leaves the field out, or names nobody.
    let leader = status.get("leader").and_then(Value::as_str).filter(|leader| *leader != "0")?;
    Some(status.pointer("/header/member_id").and_then(Value::as_str) == Some(leader))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_leads_or_follows_or_knows_no_leader() {
        assert_eq!(leader(&json!({"header": {"member_id": "7"}, "leader": "7"})), Some(true));
        assert_eq!(leader(&json!({"header": {"member_id": "8"}, "leader": "7"})), Some(false));
        assert_eq!(leader(&json!({"header": {"member_id": "8"}, "leader": "0"})), None);
        assert_eq!(leader(&json!({"header": {"member_id": "8"}})), None);
    }
}
