//! A real Kubernetes cluster on one Linux machine, for the tests: one control plane, and nodes in zones of their own. No
//! Docker, no image registry, no prebuilt binary: Kubernetes is compiled from its Go modules, containers run in Debian's containerd.
//!
//! [`binaries`] builds and caches the programs. [`Cluster`] is a running cluster and all that can be done to it. [`control`]
//! starts etcd and the control plane on this machine; [`node`] starts a node, which is a set of Linux namespaces (network,
//! mounts, processes) with containerd, kubelet and kube-proxy inside. Ending the first process of a node ends all of it, mounts
//! included, so that nothing is left whatever happened before. [`process`] starts and ends programs by pid, [`network`] is the
//! wire between nodes, [`traces`] looks for what a cluster left behind.
//!
//! [`api`] asks any cluster, ours or another.
//! [`image`] writes container images, byte for byte alike for the same files; [`images`] are those that the tests need.
//!
//! Everything needs root. What a cluster is made of lies in one folder, and several clusters can run beside each other.

pub mod api;
pub mod binaries;
mod cluster;
mod control;
pub mod image;
pub mod images;
mod network;
mod node;
mod process;
mod tar;
mod traces;

pub use cluster::{Cluster, Options};

/// What the Debian packages are that a cluster needs, and one program of each that shows whether it is there.
pub const PACKAGES: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("etcd", "etcd-server"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("busybox", "busybox-static"),
    ("openssl", "openssl"),
    ("unshare", "util-linux"),
];

/// Those that are not installed.
#[must_use]
pub fn missing_packages() -> Vec<&'static str> {
    PACKAGES.iter().filter(|(program, _)| !process::is_installed(program)).map(|(_, package)| *package).collect()
}

/// Why no cluster can run on this machine; none if it can.
#[must_use]
pub fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("a cluster needs root, for namespaces and mounts".to_owned());
    }
    let missing = missing_packages();
    if !missing.is_empty() {
        let names = missing.join(" ");
        return Some(format!("programs are missing: apt-get install -y --no-install-recommends {names}"));
    }
    binaries::go_missing().or_else(node::forbidden)
}
