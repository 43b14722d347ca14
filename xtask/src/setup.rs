//! What the tests need beside Rust: Debian packages.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

/// A program that some test starts, and the package that has it.
struct Need {
    program: &'static str,
    package: &'static str,
}

const NEEDS: &[Need] = &[
    Need { program: "redis-server", package: "redis-server" },
    Need { program: "redis-cli", package: "redis-tools" },
    Need { program: "etcd", package: "etcd-server" },
    Need { program: "chromium", package: "chromium" },
    Need { program: "python3", package: "python3-venv" },
    Need { program: "ip", package: "iproute2" },
];

/// Installs what is missing if `install` and root, else fails and names it.
pub(crate) fn ensure(install: bool) -> Result<()> {
    let mut missing: Vec<&str> = NEEDS.iter().filter(|need| !on_path(need.program)).map(|need| need.package).collect();
    // Without root no cluster can be started, and its tier is left out whatever is installed.
    if is_root() {
        missing.extend(throng_cluster::missing_packages());
        missing.sort_unstable();
        missing.dedup();
    }
    // Debian's python3 has no ensurepip without this package, and only the last tier would notice.
    if on_path("python3") && !makes_environments() {
        missing.push("python3-venv");
    }
    if missing.is_empty() {
        return Ok(());
    }
    let command = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    if !(install && is_root()) {
        bail!("the tests need more programs; as root: {command}");
    }
    eprintln!("=== {command}");
    let quiet = |args: &[&str]| Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").status();
    quiet(&["update", "-q"])?;
    let mut args = vec!["install", "-y", "-q", "--no-install-recommends"];
    args.extend(&missing);
    if !quiet(&args)?.success() {
        bail!("could not install what the tests need; by hand: {command}");
    }
    Ok(())
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file()))
}

fn makes_environments() -> bool {
    let probe =
        Command::new("python3").args(["-c", "import ensurepip, venv"]).stderr(std::process::Stdio::null()).status();
    probe.is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0"))
}
