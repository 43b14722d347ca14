//! A node: a set of namespaces whose first process is `node.sh`, with containerd, kubelet and kube-proxy inside.
//!
//! The kubelet has its own network, processes and mounts, but the machine's control groups, where each node has a root of its
//! own. Containers of a node see neither the machine nor other nodes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::control::CLUSTER_DNS;
use crate::images::TOOLS;
use crate::network::Network;
use crate::process::{self, Program, Programs, run, until};

/// Zones by turns.
const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];
const CGROUPS: &str = "/sys/fs/cgroup";
/// Longest path of a Unix socket.
const SOCKET_PATH: usize = 107;

/// One node of a cluster.
pub(crate) struct Node<'a> {
    pub(crate) cluster: &'a Path,
    pub(crate) network: Network,
    pub(crate) index: u8,
}

impl Node<'_> {
    pub(crate) fn name(&self) -> String {
        format!("n{}", self.index)
    }

    pub(crate) fn zone(&self) -> &'static str {
        ZONES.get(usize::from(self.index.saturating_sub(1)) % ZONES.len()).copied().unwrap_or_default()
    }

    /// Starts it; its containerd answers when this returns, its kubelet is about to.
    pub(crate) fn start(&self, programs: &Programs, binaries: &Path, nodes: u8) -> Result<()> {
        let folder = self.folder();
        ensure!(
            folder.join("containerd.sock").as_os_str().len() <= SOCKET_PATH,
            "{} is too long a path for a socket in it; choose another folder with --dir",
            self.cluster.display()
        );
        self.configure()?;
        make_cgroups(&self.network.cable(self.index))?;
        let mut line: Vec<String> = NAMESPACES.split(' ').chain(["bash"]).map(ToOwned::to_owned).collect();
        let text = |path: &Path| path.display().to_string();
        line.extend([
            text(&self.cluster.join("node.sh")),
            text(&folder),
            text(binaries),
            self.name(),
            self.zone().to_owned(),
            self.network.address(self.index).to_string(),
            self.network.gateway().to_string(),
            self.network.all_pods(),
            self.network.ways(self.index, nodes),
        ]);
        let program = programs.start(&self.name(), &line)?;
        let first = until("a node has its first process", Duration::from_secs(30), || Ok(first_process(&program)))
            .with_context(|| programs.tail(&self.name()))?;
        self.network.plug(self.index, first)?;
        until("containerd answers", Duration::from_mins(2), || {
            ensure!(program.runs(), "the node has ended: {}", programs.tail(&self.name()));
            Ok(folder.join("up").exists().then_some(()))
        })
    }

    /// Imports an image archive.
    pub(crate) fn load(&self, archive: &Path) -> Result<()> {
        let mut command = std::process::Command::new("ctr");
        command.arg("--address").arg(self.folder().join("containerd.sock"));
        process::run(command.args(["--namespace", "k8s.io", "images", "import"]).arg(archive)).map(drop)
    }

    /// The processes of the node with this name, such as `kubelet`, as this machine numbers them.
    pub(crate) fn processes(&self, programs: &Programs, name: &str) -> Result<Vec<i32>> {
        let space = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let first = first_process(&programs.find(&self.name())?).context("the node does not run")?;
        let own = space(first);
        let named =
            |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
        let all = process::all().into_iter().map(|(pid, _)| pid);
        Ok(all.filter(|pid| named(*pid) && space(*pid) == own).collect())
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.cluster.join("nodes").join(self.name())
    }

    fn configure(&self) -> Result<()> {
        let folder = self.folder();
        for part in ["cni", "log", "kubelet", "plugins"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        let network = json!({
            "cniVersion": "1.0.0", "name": self.network.bridge(), "plugins": [
                {
                    "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
                    "ipam": {"type": "host-local", "ranges": [[{"subnet": self.network.pods(self.index)}]], "routes": [{"dst": "0.0.0.0/0"}]},
                },
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        });
        std::fs::write(folder.join("cni/10-throng.conflist"), network.to_string())?;
        std::fs::write(folder.join("containerd.toml"), self.containerd())?;
        std::fs::write(folder.join("kubelet.json"), self.kubelet().to_string())?;
        std::fs::write(folder.join("resolv.conf"), "")?;
        std::fs::copy(self.cluster.join("kubeconfig"), folder.join("kubeconfig"))?;
        Ok(())
    }

    fn containerd(&self) -> String {
        let folder = self.folder();
        let folder = folder.display();
        format!(
            r#"version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.tracing"]

[grpc]
address = "{folder}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{TOOLS}"
disable_apparmor = true
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder}/cni"
"#
        )
    }

    fn kubelet(&self) -> serde_json::Value {
        let folder = self.folder();
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{}", self.network.cable(self.index)),
            "failCgroupV1": false, "failSwapOn": false, "enforceNodeAllocatable": [],
            "containerRuntimeEndpoint": format!("unix://{}", folder.join("containerd.sock").display()),
            "clusterDNS": [CLUSTER_DNS], "clusterDomain": "cluster.local",
            "resolvConf": folder.join("resolv.conf"), "volumePluginDir": folder.join("plugins"),
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            // Images come from archives alone: one that is collected would be gone for good.
            "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
            "nodeStatusUpdateFrequency": "2s", "syncFrequency": "10s",
        })
    }
}

/// Namespaces of a node.
const NAMESPACES: &str = "unshare --net --mount --pid --uts --ipc --fork --kill-child --mount-proc";

/// Why no node can be made here though we are root, as in a container without rights: a node's namespaces and mounts, its wire
/// and its control groups are tried.
pub(crate) fn forbidden() -> Option<String> {
    let script = "mount --make-rshared / && mount -t tmpfs probe /run && ip link add probe0 type veth peer name probe1 && echo 1 > /proc/sys/net/ipv4/ip_forward";
    let mut line = NAMESPACES.split(' ');
    let mut command = Command::new(line.next().unwrap_or_default());
    command.args(line).args(["sh", "-ec", script]);
    let group = format!("throng-probe-{}", std::process::id());
    let tried = run(&mut command).and_then(|_| make_cgroups(&group));
    for group in cgroups(&group) {
        let _ = remove_tree(&group);
    }
    tried
        .err()
        .map(|error| format!("nodes need namespaces, mounts and control groups, which this machine forbids: {error:#}"))
}

/// The child of `unshare`: process 1 inside.
fn first_process(program: &Program) -> Option<i32> {
    process::all().into_iter().find(|(_, stat)| stat.parent == program.pid).map(|(pid, _)| pid)
}

/// The hierarchies of control groups: several with version 1, one with version 2.
fn hierarchies() -> Vec<PathBuf> {
    if Path::new(CGROUPS).join("cgroup.controllers").exists() {
        return vec![PathBuf::from(CGROUPS)];
    }
    let entries = std::fs::read_dir(CGROUPS).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir() && !path.is_symlink()).collect()
}

fn make_cgroups(name: &str) -> Result<()> {
    for hierarchy in hierarchies() {
        let group = hierarchy.join(name);
        std::fs::create_dir_all(&group).with_context(|| group.display().to_string())?;
        // A new group of version 1 has no CPUs, and nothing can be started in it before it has.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if group.join(file).exists() && !hierarchy.join("cgroup.controllers").exists() {
                std::fs::copy(hierarchy.join(file), group.join(file))?;
            }
        }
    }
    Ok(())
}

/// Removes the control groups of a node, whose processes must have ended.
pub(crate) fn remove_cgroups(name: &str) {
    for group in cgroups(name) {
        let _ = until("a control group is empty", Duration::from_secs(5), || Ok(remove_tree(&group).ok()));
    }
}

/// The control groups of a node that exist.
pub(crate) fn cgroups(name: &str) -> Vec<PathBuf> {
    hierarchies().into_iter().map(|hierarchy| hierarchy.join(name)).filter(|group| group.exists()).collect()
}

fn remove_tree(group: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(group)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    std::fs::remove_dir(group)
}
