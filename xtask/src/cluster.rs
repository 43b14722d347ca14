//! `cargo xtask cluster`: a real Kubernetes cluster on this machine, for tests and for trying things out.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use throng_cluster::{Cluster, Options, binaries, images};

use crate::image;
use crate::outside;
use crate::previous;
use crate::run::{Rank, Tally, target};
use crate::tiers::{CLUSTER, Choice};

/// A real Kubernetes cluster on this machine, without Docker (root, Debian).
#[derive(Args)]
#[command(
    after_help = "Examples:\n  eval \"$(cargo xtask cluster up --images)\"\n  cargo xtask cluster cut n3\n  cargo xtask cluster down"
)]
pub(crate) struct ClusterArgs {
    /// Folder of the cluster; `target/cluster` without it. Clusters in different folders can run beside each other.
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build what is missing and start a cluster; every node is ready when it returns.
    Up {
        /// How many nodes; they lie in three zones by turns.
        #[arg(long, default_value_t = 3)]
        nodes: u8,
        /// Load the images of the tests too: Throng from the release build, Redis and etcd.
        #[arg(long)]
        images: bool,
    },
    /// End everything that `up` started, and say what is left, which should be nothing.
    Down,
    /// Which programs run, and the nodes as Kubernetes sees them.
    Status,
    /// Put image archives on every node (`cargo xtask image` makes one).
    Load {
        /// The archives.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Cut a node off from the network.
    Cut {
        /// The node, such as n3.
        node: String,
    },
    /// Bring a node back that was cut off.
    Heal {
        /// The node, such as n3.
        node: String,
    },
    /// End a program of the control plane: etcd, apiserver, controller-manager, scheduler or dns.
    Stop {
        /// The program.
        program: String,
    },
    /// Start it again.
    Start {
        /// The program.
        program: String,
    },
    /// Kill processes of a node by name, such as kubelet or throng.
    Kill {
        /// The node, such as n3.
        node: String,
        /// The name of the processes.
        process: String,
    },
    /// Only build what is missing; prints the folder with kubectl and helm.
    Binaries,
}

/// Does it.
pub(crate) fn run(root: &Path, args: ClusterArgs) -> Result<bool> {
    let dir = args.dir.unwrap_or_else(|| folder(root));
    let open = || Cluster::open(&dir);
    match args.action {
        Action::Up { nodes, images } => {
            let cluster = Cluster::up(&Options { dir: dir.clone(), binaries: binaries::build(&cache(root))?, nodes })?;
            if images {
                if let Some(previous) = load(root, &cluster)? {
                    println!("export THRONG_PREVIOUS={}", previous.display());
                }
                println!("export THRONG_BIN={}", program(root).display());
            }
            println!("export KUBECONFIG={}", cluster.kubeconfig().display());
            println!("export THRONG_CLUSTER_DIR={}", cluster.folder().display());
            println!("export PATH=$PATH:{}", cluster.binaries().display());
        }
        Action::Down => {
            let left = open()?.down();
            for trace in &left {
                eprintln!("left: {trace}");
            }
            return Ok(left.is_empty());
        }
        Action::Status => print!("{}", open()?.status()),
        Action::Load { archives } => {
            let cluster = open()?;
            archives.iter().try_for_each(|archive| cluster.load(archive))?;
        }
        Action::Cut { node } => open()?.set_plugged(&node, false)?,
        Action::Heal { node } => open()?.set_plugged(&node, true)?,
        Action::Stop { program } => open()?.stop_program(&program)?,
        Action::Start { program } => open()?.start_program(&program)?,
        Action::Kill { node, process } => println!("{} killed", open()?.kill(&node, &process)?),
        Action::Binaries => println!("{}", binaries::build(&cache(root))?.display()),
    }
    Ok(true)
}

/// Loads what the tests run: Throng, the same as another release of it, Redis and etcd; and Throng of the commit before, whose
/// sources it gives, if that is known.
fn load(root: &Path, cluster: &Cluster) -> Result<Option<PathBuf>> {
    let folder = target(root).join("images");
    let file = |name: &str| folder.join(name);
    let previous = previous::write(root, &file("previous.tar"))?;
    image::write(root, &file("throng.tar"), &image::reference())?;
    image::pack(root, &file("next.tar"), images::NEXT)?;
    let stores = [(images::STORES, "stores.tar"), (images::TRIAL[0], "redis.tar"), (images::TRIAL[1], "etcd.tar")];
    for (reference, name) in stores {
        images::stores(reference)?.write(&file(name))?;
    }
    let archives = previous.iter().map(|_| "previous.tar").chain(["throng.tar", "next.tar"]);
    archives.chain(stores.map(|(_, name)| name)).map(file).try_for_each(|archive| cluster.load(&archive))?;
    Ok(previous)
}

/// Which cluster the tier runs on.
#[derive(Debug, PartialEq, Eq)]
enum Ground {
    /// One that is started for it and ended after it.
    Started,
    /// The one that `KUBECONFIG` names. It stays; if it is one of this machine's, this is its folder.
    Given { kubeconfig: PathBuf, folder: Option<PathBuf> },
}

impl Ground {
    /// A cluster that somebody works with is taken only by who asks for this tier by name: the scenarios change a lot in it.
    fn of(kubeconfig: Option<PathBuf>, by_name: bool, is_ours: impl Fn(&Path) -> bool) -> Self {
        let Some(kubeconfig) = kubeconfig.filter(|file| by_name && !file.as_os_str().is_empty()) else {
            return Self::Started;
        };
        let folder = kubeconfig.parent().filter(|folder| is_ours(folder)).map(Path::to_path_buf);
        Self::Given { kubeconfig, folder }
    }
}

/// What the tests are told of a cluster.
struct Place {
    kubeconfig: PathBuf,
    /// Where it lies, if it may be broken.
    folder: Option<PathBuf>,
    /// Folder of `kubectl` and `helm`, if they are not on the `PATH` alone.
    programs: Option<PathBuf>,
    /// Sources of the commit before, if its image is there.
    previous: Option<PathBuf>,
}

/// The tier of the test command: starts a cluster, runs what needs one, ends it, and looks for what is left. Or takes the one of
/// `KUBECONFIG`, and leaves it.
pub(crate) fn tier(root: &Path, choice: &Choice, tally: &mut Tally) -> Result<bool> {
    let given = std::env::var_os("KUBECONFIG").map(PathBuf::from);
    // Tests run in the folder of the workspace; a list of files stays as it is.
    let given = given.map(|file| file.canonicalize().unwrap_or(file));
    match Ground::of(given, choice.names(CLUSTER), |folder| Cluster::open(folder).is_ok()) {
        Ground::Started => on_our_own(root, choice, tally),
        Ground::Given { kubeconfig, folder } => {
            eprintln!("\nthe cluster of {} is taken; unset KUBECONFIG to have one started", kubeconfig.display());
            if std::env::var_os(image::BINARY).is_none() && tally.step("release build", || image::build(root)).is_none()
            {
                return Ok(false);
            }
            let previous = std::env::var_os("THRONG_PREVIOUS").map(PathBuf::from);
            let place = Place { kubeconfig, folder, programs: binaries::built(&cache(root)), previous };
            test(root, choice, &place, tally)
        }
    }
}

/// Has Kubernetes compiled beside the tiers before this one, if it will start its own.
pub(crate) fn begin(root: &Path, choice: &Choice, tally: &mut Tally) -> Result<()> {
    let given = std::env::var_os("KUBECONFIG").map(PathBuf::from);
    let own = Ground::of(given, choice.names(CLUSTER), |_| true) == Ground::Started;
    if own && throng_cluster::obstacle().is_none() && binaries::built(&cache(root)).is_none() {
        let mut command = Command::new(std::env::current_exe()?);
        tally.beside("Kubernetes is compiled", Rank::Idle, command.args(["cluster", "binaries"]).current_dir(root))?;
    }
    Ok(())
}

fn on_our_own(root: &Path, choice: &Choice, tally: &mut Tally) -> Result<bool> {
    if let Some(why) = throng_cluster::obstacle() {
        tally.skip("tests on a real Kubernetes", &why);
        return Ok(true);
    }
    let dir = folder(root);
    // One that was left when a run was broken off.
    if let Ok(cluster) = Cluster::open(&dir) {
        cluster.down();
    }
    let Some(binaries) = tally.step("Kubernetes is found, or compiled", || binaries::build(&cache(root))) else {
        return Ok(false);
    };
    let options = Options { dir, binaries, nodes: 3 };
    let Some(cluster) = tally.step("a cluster of three nodes starts", || Cluster::up(&options)) else {
        return Ok(false);
    };
    let loaded = tally.step("images are built and loaded", || load(root, &cluster));
    let passed = match loaded {
        Some(previous) => {
            let (folder, programs) = (cluster.folder().to_path_buf(), cluster.binaries().to_path_buf());
            let kubeconfig = cluster.kubeconfig();
            let place = Place { kubeconfig, folder: Some(folder), programs: Some(programs), previous };
            test(root, choice, &place, tally)?
        }
        None => false,
    };
    let clean = tally.step("the cluster ends and leaves nothing", || {
        let left = cluster.down();
        ensure!(left.is_empty(), "left: {left:#?}");
        Ok(())
    });
    Ok(passed && clean.is_some())
}

/// First what needs no people, one test at a time, for some take nodes and the API server away; then the scenarios.
fn test(root: &Path, choice: &Choice, place: &Place, tally: &mut Tally) -> Result<bool> {
    let throng = program(root);
    let mut run = |name: &str, test: &str, arguments: &[&str]| {
        let mut command = outside::run(root, &[test])?;
        command.args(arguments).env("KUBECONFIG", &place.kubeconfig);
        command.env("THRONG_BIN", &throng).env("THRONG_TEST_SLACK", choice.slack.to_string());
        if let Some(programs) = &place.programs {
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{}:{path}", programs.display()));
        }
        if let Some(folder) = &place.folder {
            command.env("THRONG_CLUSTER_DIR", folder);
        } else {
            command.env_remove("THRONG_CLUSTER_DIR");
        }
        if choice.full {
            command.env("THRONG_TEST_FULL", "1");
        }
        if let Some(sources) = &place.previous {
            command.env("THRONG_PREVIOUS", sources);
        }
        tally.run(name, &mut command)
    };
    Ok(run("on a real cluster", "cluster", &["--", "--test-threads=1"])?
        & run("the operator with people in the rooms", "live", &[])?)
}

/// The program that runs on the cluster, for tests that call it.
fn program(root: &Path) -> PathBuf {
    std::env::var_os(image::BINARY).map_or_else(|| image::programs(root).join("throng"), PathBuf::from)
}

/// Where a cluster lies if nobody says otherwise.
pub(crate) fn folder(root: &Path) -> PathBuf {
    target(root).join("cluster")
}

/// Where compiled programs are kept.
pub(crate) fn cache(root: &Path) -> PathBuf {
    std::env::var_os("THRONG_CLUSTER_CACHE").map_or_else(|| target(root).join("cluster-programs"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_cluster_is_taken_by_who_names_the_tier_and_is_broken_only_if_it_is_ours() {
        let file = || Some(PathBuf::from("/a/kubeconfig"));
        let ours = |folder: &Path| folder == Path::new("/a");
        let given = |folder: Option<&str>| Ground::Given {
            kubeconfig: PathBuf::from("/a/kubeconfig"),
            folder: folder.map(PathBuf::from),
        };
        assert_eq!(Ground::of(file(), true, ours), given(Some("/a")));
        assert_eq!(Ground::of(file(), true, |_| false), given(None));
        assert_eq!(Ground::of(file(), false, ours), Ground::Started, "the whole test command starts its own");
        assert_eq!(Ground::of(None, true, ours), Ground::Started);
        assert_eq!(Ground::of(Some(PathBuf::new()), true, ours), Ground::Started);
    }
}
