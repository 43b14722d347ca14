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

/// Names the interpreter of the Autobahn suite.
const PYTHON: &str = "THRONG_PYTHON";
/// Those that run it: its dependencies do not build on 3.13.
const PYTHONS: std::ops::RangeInclusive<(u32, u32)> = (3, 9)..=(3, 12);

/// A Python that runs the Autobahn suite: what `THRONG_PYTHON` names, or the first that fits of `python3` and
/// `python3.12` to `python3.9`. To be asked for before anything is built, for it is used at the very end.
pub(crate) fn python() -> Result<String> {
    let named = std::env::var(PYTHON).ok();
    let known = ["python3", "python3.12", "python3.11", "python3.10", "python3.9"].map(str::to_owned);
    let candidates = named.clone().map_or(known.to_vec(), |named| vec![named]);
    let found: Vec<_> = candidates.iter().map(|python| (python, version(python))).collect();
    match choose(&found) {
        Some(python) => Ok(python.to_owned()),
        None => bail!(unfit(&found)),
    }
}

fn choose<'a>(found: &[(&'a String, Option<(u32, u32)>)]) -> Option<&'a str> {
    let fits = |version: &Option<(u32, u32)>| version.is_some_and(|version| PYTHONS.contains(&version));
    found.iter().find(|(_, version)| fits(version)).map(|(python, _)| python.as_str())
}

fn unfit(found: &[(&String, Option<(u32, u32)>)]) -> String {
    let there: Vec<String> =
        found.iter().filter_map(|(name, version)| version.map(|(a, b)| format!("{name} is {a}.{b}"))).collect();
    let there = if there.is_empty() { "none is here".to_owned() } else { there.join(", ") };
    format!(
        "the Autobahn suite needs Python 3.9 to 3.12 with venv ({there}). Debian 12 has 3.11; elsewhere install python3.11 or \
         python3.12 beside the system's and, if it is not on the PATH, name it: {PYTHON}=/opt/python3.12/bin/python3"
    )
}

/// Its major and minor version; none: it does not start.
fn version(python: &str) -> Option<(u32, u32)> {
    let code = "import sys; print(sys.version_info[0], sys.version_info[1])";
    let output = Command::new(python).args(["-c", code]).stderr(std::process::Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Installs what is missing if `install` and root, else fails and names it; what a cluster needs, too, if one is to be started.
pub(crate) fn ensure(install: bool, cluster: bool) -> Result<()> {
    let mut missing: Vec<&str> = NEEDS.iter().filter(|need| !on_path(need.program)).map(|need| need.package).collect();
    // Without root and Go no cluster can be started, and its tier is left out whatever is installed.
    if cluster && is_root() && throng_cluster::binaries::go_missing().is_none() {
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

pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_python_that_runs_the_suite_is_taken_and_else_people_are_told_what_to_do() {
        let names = ["python3", "python3.12", "python3.11"].map(str::to_owned);
        let found = |versions: [Option<(u32, u32)>; 3]| names.iter().zip(versions).collect::<Vec<_>>();
        assert_eq!(choose(&found([Some((3, 11)), None, None])), Some("python3"));
        assert_eq!(choose(&found([Some((3, 13)), None, Some((3, 11))])), Some("python3.11"));
        assert_eq!(choose(&found([Some((3, 8)), Some((3, 12)), None])), Some("python3.12"));
        let none = found([Some((3, 13)), None, None]);
        assert_eq!(choose(&none), None);
        let told = unfit(&none);
        assert!(told.contains("python3 is 3.13") && told.contains(PYTHON) && told.contains("Debian 12"), "{told}");
        assert!(unfit(&found([None, None, None])).contains("none is here"));
    }
}
