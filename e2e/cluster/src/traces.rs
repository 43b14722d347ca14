//! What a cluster left behind on the machine, if anything: the proof that `down` is complete.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::network::Network;
use crate::node;
use crate::process::{all, words};

/// Settings of the machine that a kubelet changes, as they were before.
const SETTINGS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Settings of the machine at some time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings(Vec<(String, String)>);

impl Settings {
    pub(crate) fn read() -> Self {
        let value = |name: &str| Some((name.to_owned(), std::fs::read_to_string(path(name)).ok()?.trim().to_owned()));
        Self(SETTINGS.into_iter().filter_map(value).collect())
    }

    pub(crate) fn restore(&self) {
        for (name, value) in &self.0 {
            let _ = std::fs::write(path(name), value);
        }
    }

    fn changed(&self) -> Vec<String> {
        let now = Self::read();
        let differ = self.0.iter().filter(|pair| !now.0.contains(pair));
        differ.map(|(name, value)| format!("setting {name} is not {value} any more")).collect()
    }
}

fn path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

/// Everything of a cluster that is still there.
pub(crate) fn find(cluster: &Path, network: Network, nodes: u8, settings: &Settings) -> Vec<String> {
    // With the slash at its end: another folder's name may begin with this one's.
    let folder = format!("{}/", cluster.display());
    let mut left = settings.changed();
    for (pid, stat) in all() {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if !matches!(stat.state, 'Z' | 'X') && line.contains(&folder) && !line.contains("xtask") {
            left.push(format!("process {pid}: {line}"));
        }
    }
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    left.extend(mounts.lines().filter(|mount| mount.contains(&folder)).map(|mount| format!("mount {mount}")));
    let links = words("ip -oneline link").unwrap_or_default();
    let names: Vec<String> = (1..=nodes).map(|index| network.cable(index)).chain([network.bridge()]).collect();
    for name in &names {
        let is_there =
            links.lines().any(|link| link.contains(&format!(" {name}:")) || link.contains(&format!(" {name}@")));
        left.extend(is_there.then(|| format!("link {name}")));
        left.extend(node::cgroups(name).into_iter().map(|group| format!("control group {}", group.display())));
    }
    let routes = words("ip route").unwrap_or_default();
    let prefix = network.all_pods().replace(".0.0/16", ".");
    left.extend(routes.lines().filter(|route| route.starts_with(&prefix)).map(|route| format!("route {route}")));
    let rules = words("iptables-save").unwrap_or_default();
    let foreign = rules.lines().find(|rule| rule.contains("KUBE-") || rule.contains("CNI-"));
    left.extend(foreign.map(|rule| format!("rule of the firewall {rule}")));
    left.extend(cluster.exists().then(|| format!("folder {folder}")));
    left
}
