//! The wire of a cluster: a bridge on this machine with the control plane's address, and an end of it in each node.
//!
//! Each cluster of a machine has a number, and all its names and addresses follow from that: bridge `thr2`, its own address
//! `172.30.2.1`, node `n1` at `172.30.2.11` with Pods in `10.202.1.0/24`. Nothing else on the machine is changed: no firewall rule,
//! no forwarding.

use std::net::Ipv4Addr;

use anyhow::{Result, bail};

use crate::process::words;

/// So many clusters can run beside each other.
const MOST: u8 = 16;

/// Names and addresses of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network(u8);

impl Network {
    /// Of the cluster with this number.
    pub(crate) fn of(number: u8) -> Self {
        Self(number)
    }

    /// Lays the bridge of a cluster that gets the first free number.
    pub(crate) fn lay() -> Result<Self> {
        for number in 0..MOST {
            let network = Self(number);
            let bridge = network.bridge();
            // Who makes the bridge has the number; another one fails here and goes on to the next.
            if words(&format!("ip link add {bridge} type bridge")).is_ok() {
                words(&format!("ip addr add {}/24 dev {bridge}", network.gateway()))?;
                words(&format!("ip link set {bridge} up"))?;
                return Ok(network);
            }
        }
        bail!(
            "no bridge could be made: {MOST} clusters run already, or this machine allows none (ip link add x type bridge)"
        )
    }

    pub(crate) fn number(self) -> u8 {
        self.0
    }

    pub(crate) fn bridge(self) -> String {
        format!("thr{}", self.0)
    }

    /// The end of a node's cable on this machine.
    pub(crate) fn cable(self, node: u8) -> String {
        format!("thr{}-n{node}", self.0)
    }

    /// Where the control plane listens.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(172, 30, self.0, 1)
    }

    pub(crate) fn address(self, node: u8) -> Ipv4Addr {
        Ipv4Addr::new(172, 30, self.0, 10 + node)
    }

    /// The addresses of all Pods.
    pub(crate) fn all_pods(self) -> String {
        format!("10.{}.0.0/16", 200 + self.0)
    }

    /// The addresses of a node's Pods.
    pub(crate) fn pods(self, node: u8) -> String {
        format!("10.{}.{node}.0/24", 200 + self.0)
    }

    /// Ways to the Pods of other nodes, as `SUBNET:NODE`.
    pub(crate) fn ways(self, node: u8, nodes: u8) -> String {
        let others = (1..=nodes).filter(|other| *other != node);
        others.map(|other| format!("{}:{}", self.pods(other), self.address(other))).collect::<Vec<_>>().join(",")
    }

    /// Plugs a node in, whose first process is `pid`; inside it finds `eth0`.
    pub(crate) fn plug(self, node: u8, pid: i32) -> Result<()> {
        let (bridge, cable) = (self.bridge(), self.cable(node));
        words(&format!("ip link add {cable} type veth peer name eth0 netns {pid}"))?;
        words(&format!("ip link set {cable} master {bridge} up"))?;
        words(&format!("ip route replace {} via {}", self.pods(node), self.address(node))).map(drop)
    }

    /// Pulls the cable of a node, or puts it back.
    pub(crate) fn set_plugged(self, node: u8, plugged: bool) -> Result<()> {
        words(&format!("ip link set {} {}", self.cable(node), if plugged { "up" } else { "down" })).map(drop)
    }

    /// Takes the bridge away, and with it all routes over it.
    pub(crate) fn remove(self, nodes: u8) {
        for node in 1..=nodes {
            let _ = words(&format!("ip link del {}", self.cable(node)));
        }
        let _ = words(&format!("ip link del {}", self.bridge()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clusters_share_no_name_and_no_address() {
        let (one, two) = (Network::of(0), Network::of(15));
        assert_eq!((one.bridge().as_str(), two.cable(3).as_str()), ("thr0", "thr15-n3"));
        assert_eq!((one.pods(1).as_str(), two.all_pods().as_str()), ("10.200.1.0/24", "10.215.0.0/16"));
        assert_eq!(two.address(3), Ipv4Addr::new(172, 30, 15, 13));
        assert!(two.cable(9).len() <= 15, "Linux cuts longer names of interfaces off");
    }

    #[test]
    fn a_node_knows_the_way_to_every_other() {
        assert_eq!(Network::of(2).ways(2, 3), "10.202.1.0/24:172.30.2.11,10.202.3.0/24:172.30.2.13");
        assert_eq!(Network::of(2).ways(1, 1), "");
    }
}
