//! A network namespace for each process, on one bridge, so that links can be cut without a word: packets go to an address
//! that nobody has, as if a cable were pulled. Needs root and `ip` (iproute2).
//!
//! Names carry this process's id: two benches do not meet, and what a dead one left behind is found and removed.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::bench::process;

/// A hardware address that no interface has.
const NOBODY: &str = "02:00:00:00:de:ad";
/// Name of the interface inside each namespace.
const INSIDE: &str = "eth0";

/// The bridge and what hangs on it. Dropping it removes the bridge; each [`Space`] removes itself.
#[derive(Debug)]
pub(super) struct Net {
    pid: u32,
    bridge: String,
    subnet: [u8; 3],
    spaces: u8,
}

/// A namespace with one address.
#[derive(Debug)]
pub(super) struct Space {
    name: String,
    outside: String,
    address: Ipv4Addr,
}

impl Net {
    /// Makes the bridge, after removing what dead benches left behind.
    pub(super) fn new() -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("network namespaces need root");
        }
        remove_leftovers();
        let pid = std::process::id();
        let subnet = free_subnet(pid)?;
        let net = Self { pid, bridge: format!("tb{pid}"), subnet, spaces: 0 };
        ip(&format!("link add {} type bridge", net.bridge))?;
        ip(&format!("addr add {}/24 dev {}", net.address(1), net.bridge))?;
        ip(&format!("link set {} up", net.bridge))?;
        Ok(net)
    }

    /// A new namespace on the bridge.
    pub(super) fn space(&mut self) -> anyhow::Result<Space> {
        self.spaces =
            self.spaces.checked_add(1).filter(|count| *count < 250).context("a bench has at most 250 processes")?;
        let (pid, number) = (self.pid, self.spaces);
        let address = self.address(number + 1);
        let space = Space { name: format!("throng-{pid}-{number}"), outside: format!("tv{pid}x{number}"), address };
        let (name, outside) = (&space.name, &space.outside);
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add {outside} type veth peer name {INSIDE} netns {name}"))?;
        ip(&format!("link set {outside} master {} up", self.bridge))?;
        ip(&format!("-n {name} addr add {address}/24 dev {INSIDE}"))?;
        ip(&format!("-n {name} link set {INSIDE} up"))?;
        ip(&format!("-n {name} link set lo up"))?;
        Ok(space)
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, host)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = ip(&format!("link del {}", self.bridge));
    }
}

impl Space {
    /// Its address.
    pub(super) const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its name, for `ip netns exec`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// From now on nothing passes between the two.
    pub(super) fn part(&self, other: &Self) -> anyhow::Result<()> {
        for (here, there) in [(self, other), (other, self)] {
            let (name, address) = (&here.name, there.address);
            ip(&format!("-n {name} neigh replace {address} lladdr {NOBODY} nud permanent dev {INSIDE}"))?;
        }
        Ok(())
    }

    /// Undoes [`Self::part`].
    pub(super) fn join(&self, other: &Self) -> anyhow::Result<()> {
        for (here, there) in [(self, other), (other, self)] {
            ip(&format!("-n {} neigh del {} dev {INSIDE}", here.name, there.address))?;
        }
        Ok(())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = ip(&format!("link del {}", self.outside));
        let _ = ip(&format!("netns del {}", self.name));
    }
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(arguments.split_ascii_whitespace())
        .stdin(Stdio::null())
        .output()
        .context("network namespaces need `ip`: apt-get install iproute2")?;
    if !output.status.success() {
        bail!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A private /24 that this machine has no address in. Begins at another place in each process.
fn free_subnet(pid: u32) -> anyhow::Result<[u8; 3]> {
    let taken = Command::new("ip").args(["-o", "-4", "addr"]).output().context("cannot run `ip`")?;
    let taken = String::from_utf8_lossy(&taken.stdout).into_owned();
    let candidates = (0..1000).map(|step| {
        let [.., b, c] = (pid.wrapping_add(step)).to_be_bytes();
        [10, 64 | (b & 63), c]
    });
    let mut free = candidates.filter(|[a, b, c]| !taken.contains(&format!(" {a}.{b}.{c}.")));
    free.next().context("this machine has addresses in all of 10.64.0.0/10")
}

/// Removes processes, namespaces and interfaces of benches that are no more.
fn remove_leftovers() {
    let names = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    for name in names("/run/netns").iter().filter(|name| is_left_over(name, "throng-", '-')) {
        if let Ok(output) = Command::new("ip").args(["netns", "pids", name]).output() {
            let pids = String::from_utf8_lossy(&output.stdout).into_owned();
            for pid in pids.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()) {
                let _ = process::kill(pid);
            }
        }
        let _ = ip(&format!("netns del {name}"));
    }
    for name in names("/sys/class/net") {
        if is_left_over(&name, "tv", 'x') || is_left_over(&name, "tb", ' ') {
            let _ = ip(&format!("link del {name}"));
        }
    }
}

/// Whether it is called as a thing of a bench that does not run any more: prefix, process id, and more after `end`.
fn is_left_over(name: &str, prefix: &str, end: char) -> bool {
    let pid = name.strip_prefix(prefix).and_then(|rest| rest.split(end).next()).filter(|pid| pid.len() <= 10);
    let pid = pid.and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_bench_made_is_left_over() {
        assert!(is_left_over("throng-4294967295-3", "throng-", '-'));
        assert!(is_left_over("tv4294967295x3", "tv", 'x'));
        assert!(!is_left_over(&format!("throng-{}-3", std::process::id()), "throng-", '-'));
        assert!(!is_left_over("throng-live-3", "throng-", '-'));
        assert!(!is_left_over("eth0", "tv", 'x'));
    }

    #[test]
    fn a_link_that_is_cut_is_silent_and_comes_back() {
        let Ok(mut net) = Net::new() else { return };
        let (one, two) = (net.space().unwrap(), net.space().unwrap());
        let mut server = Command::new("ip")
            .args([
                "netns",
                "exec",
                one.name(),
                "redis-server",
                "--port",
                "6379",
                "--protected-mode",
                "no",
                "--save",
                "",
            ])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let address = one.address().to_string();
        let asks = || {
            let mut command = Command::new("timeout");
            command.args(["1", "ip", "netns", "exec", two.name(), "redis-cli", "-h", &address, "ping"]);
            command.output().is_ok_and(|output| output.status.success())
        };
        let answered = (0..50).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            asks()
        });
        one.part(&two).unwrap();
        let silent = !asks();
        one.join(&two).unwrap();
        let again = asks();
        let _ = server.kill();
        let _ = server.wait();
        assert!(answered && silent && again, "answered {answered}, silent {silent}, again {again}");
    }
}
