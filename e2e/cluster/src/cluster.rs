//! A cluster from beginning to end.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::control::{self, Control};
use crate::images;
use crate::network::Network;
use crate::node::{Node, remove_cgroups};
use crate::process::{Programs, until};
use crate::traces::{self, Settings};

/// What cluster is wanted.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its folder; made by `up` and removed by `down`.
    pub dir: PathBuf,
    /// The programs, as [`crate::binaries::build`] makes them.
    pub binaries: PathBuf,
    /// How many nodes, 1 to 9; they lie in three zones by turns.
    pub nodes: u8,
}

/// A running cluster, or what is left of one. It does not end with this value.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    note: Note,
    programs: Programs,
}

/// Kept in the folder.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    number: u8,
    nodes: u8,
    binaries: PathBuf,
    settings: Settings,
}

impl Cluster {
    /// Starts a cluster; all nodes are ready when this returns. One that does not come up is ended again.
    pub fn up(options: &Options) -> Result<Self> {
        ensure!((1..=9).contains(&options.nodes), "a cluster has 1 to 9 nodes");
        ensure!(
            !options.dir.join("cluster.json").exists(),
            "there is a cluster in {} already; end it with `cargo xtask cluster down`",
            options.dir.display()
        );
        if let Some(obstacle) = crate::obstacle() {
            bail!(obstacle);
        }
        std::fs::create_dir_all(&options.dir)?;
        let dir = options.dir.canonicalize()?;
        ensure!(
            !["/run", "/var/lib", "/var/log"].iter().any(|hidden| dir.starts_with(hidden)),
            "nodes hide /run, /var/lib and /var/log: choose another folder than {}",
            dir.display()
        );
        let network = Network::lay()?;
        let note = Note {
            number: network.number(),
            nodes: options.nodes,
            binaries: options.binaries.canonicalize()?,
            settings: Settings::read(),
        };
        std::fs::write(dir.join("cluster.json"), serde_json::to_vec_pretty(&note)?)?;
        let cluster = Self { programs: Programs::new(&dir), dir, note };
        if let Err(error) = cluster.start() {
            let left = cluster.down();
            return Err(error.context(format!("the cluster did not come up, and was ended ({left:?})")));
        }
        Ok(cluster)
    }

    /// The cluster of a folder.
    pub fn open(dir: &Path) -> Result<Self> {
        let file = dir.join("cluster.json");
        let note = std::fs::read(&file);
        let note = note.with_context(|| {
            format!("there is no cluster in {}; `cargo xtask cluster up` starts one", dir.display())
        })?;
        let dir = dir.canonicalize()?;
        Ok(Self { programs: Programs::new(&dir), dir, note: serde_json::from_slice(&note)? })
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// What `KUBECONFIG` should be.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Folder of `kubectl` and `helm`.
    #[must_use]
    pub fn binaries(&self) -> &Path {
        &self.note.binaries
    }

    /// Puts an image archive on every node.
    pub fn load(&self, archive: &Path) -> Result<()> {
        self.nodes().try_for_each(|node| node.load(archive))
    }

    /// Cuts a node off from the network, or brings it back. Its Pods keep running.
    pub fn set_plugged(&self, node: &str, plugged: bool) -> Result<()> {
        self.network().set_plugged(self.node(node)?.index, plugged)
    }

    /// Ends a program of the control plane, such as `apiserver`; it stays away until [`Self::start_program`].
    pub fn stop_program(&self, name: &str) -> Result<()> {
        ensure!(control::PROGRAMS.contains(&name), "the control plane has {}", control::PROGRAMS.join(", "));
        self.programs.find(name)?.stop(Duration::ZERO);
        Ok(())
    }

    /// Starts it again.
    pub fn start_program(&self, name: &str) -> Result<()> {
        self.programs.restart(name)
    }

    /// Kills the processes of a node with this name, such as `kubelet` or `throng`; how many. A node's own programs start again.
    pub fn kill(&self, node: &str, name: &str) -> Result<usize> {
        let pids = self.node(node)?.processes(&self.programs, name)?;
        for pid in &pids {
            if let Some(pid) = rustix::process::Pid::from_raw(*pid) {
                rustix::process::kill_process(pid, Signal::KILL)?;
            }
        }
        Ok(pids.len())
    }

    /// Programs with whether they run, then the nodes as Kubernetes sees them.
    #[must_use]
    pub fn status(&self) -> String {
        let mut text = format!("KUBECONFIG={}\n", self.kubeconfig().display());
        for name in self.programs.names() {
            let program = self.programs.find(&name);
            let state = program.map_or("unknown", |program| if program.runs() { "runs" } else { "has ended" });
            let _ = writeln!(text, "{name:20} {state}");
        }
        let nodes = self.control().kubectl(&["get", "nodes", "-L", "topology.kubernetes.io/zone"]);
        text.push_str(&nodes.unwrap_or_else(|error| format!("{error:#}\n")));
        text
    }

    /// Ends everything that it started and removes its folder; what is left nevertheless, which should be nothing.
    pub fn down(&self) -> Vec<String> {
        let names: Vec<String> = self.nodes().map(|node| node.name()).collect();
        // Nodes first and at once: nothing in them outlives their first process, and nobody starts containers anew.
        for name in names.iter().map(String::as_str).chain(control::PROGRAMS.into_iter().rev()) {
            if let Ok(program) = self.programs.find(name) {
                program.signal(Signal::KILL);
            }
        }
        for name in self.programs.names() {
            if let Ok(program) = self.programs.find(&name) {
                program.stop(Duration::ZERO);
            }
        }
        self.network().remove(self.note.nodes);
        for node in self.nodes() {
            remove_cgroups(&self.network().cable(node.index));
        }
        self.note.settings.restore();
        let removed =
            until("the folder is removed", Duration::from_secs(20), || Ok(Some(std::fs::remove_dir_all(&self.dir)?)));
        let mut left = traces::find(&self.dir, self.network(), self.note.nodes, &self.note.settings);
        left.extend(removed.err().map(|error| format!("{error:#}")));
        left
    }

    fn start(&self) -> Result<()> {
        let began = Instant::now();
        let phase = |what: &str| eprintln!("{:6.1} s  {what}", began.elapsed().as_secs_f64());
        std::fs::write(self.dir.join("node.sh"), include_str!("node.sh"))?;
        let tools = self.dir.join("tools.tar");
        images::tools()?.write(&tools)?;
        self.control().start(&self.programs)?;
        phase("the control plane answers");
        let started: Vec<Result<()>> = std::thread::scope(|scope| {
            let start = |node: Node<'_>| {
                node.start(&self.programs, &self.note.binaries, self.note.nodes).and_then(|()| node.load(&tools))
            };
            let starting: Vec<_> = self.nodes().map(|node| scope.spawn(move || start(node))).collect();
            starting.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread has ended"))).collect()
        });
        started.into_iter().collect::<Result<()>>()?;
        phase("every node runs");
        for node in self.nodes() {
            let name = node.name();
            let ready = ["wait", "--for=condition=Ready", "--timeout=5s", "node", &name];
            until("a node is ready", Duration::from_mins(3), || self.control().kubectl(&ready).map(Some))
                .with_context(|| format!("{name}: see {}", node.folder().join("log").display()))?;
        }
        phase("every node is ready");
        Ok(())
    }

    fn network(&self) -> Network {
        Network::of(self.note.number)
    }

    fn control(&self) -> Control<'_> {
        Control { cluster: &self.dir, binaries: &self.note.binaries, network: self.network() }
    }

    fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        (1..=self.note.nodes).map(|index| Node { cluster: &self.dir, network: self.network(), index })
    }

    fn node(&self, name: &str) -> Result<Node<'_>> {
        let names: Vec<String> = self.nodes().map(|node| node.name()).collect();
        self.nodes().find(|node| node.name() == name).with_context(|| format!("the nodes are {}", names.join(", ")))
    }
}
