//! Kubernetes, a small DNS and Helm, compiled as one Go program and kept for later clusters.
//!
//! `kube/` is a Go module of this repository: one program that is every component of Kubernetes, the cluster's DNS and Helm, all versions pinned by
//! its `go.sum`. Helm 4.1 is the newest that is made from the client libraries of Kubernetes 1.35; a newer one would have them compiled twice.
//! The folder of the result is named by a sum over everything that went in, so a changed version is built anew and an
//! unchanged one is found. Without a warm Go build cache it takes a quarter of an hour of two cores, with one some seconds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::image::digest;
use crate::process::{installed, run, search_path};

const FILES: [(&str, &str); 4] = [
    ("main.go", include_str!("../kube/main.go")),
    ("dns.go", include_str!("../kube/dns.go")),
    ("go.mod", include_str!("../kube/go.mod")),
    ("go.sum", include_str!("../kube/go.sum")),
];
/// The names that `kube` is called by.
const COMPONENTS: [&str; 8] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
    "kube-dns",
    "helm",
];
/// The oldest Go that compiles all of it, as minor version of Go 1.
const GO_MINOR: u32 = 26;
/// From this minor version on, Go fetches the version that a module asks for, unless `GOTOOLCHAIN=local` forbids it.
const GO_SWITCHES: u32 = 21;

/// The folder with all programs, if they were built.
#[must_use]
pub fn built(cache: &Path) -> Option<PathBuf> {
    let done = cache.join(key());
    done.join("complete").is_file().then_some(done)
}

/// Builds what is not in `cache` yet; the folder with all programs.
pub fn build(cache: &Path) -> Result<PathBuf> {
    if let Some(done) = built(cache) {
        return Ok(done);
    }
    let done = cache.join(key());
    if let Some(why) = go_missing() {
        anyhow::bail!("{why}");
    }
    let began = Instant::now();
    eprintln!("building Kubernetes {} from source, once: minutes with a cold Go build cache", version());
    let source = cache.join(format!("{}.source", key()));
    std::fs::create_dir_all(&source)?;
    std::fs::create_dir_all(&done)?;
    for (name, text) in FILES {
        std::fs::write(source.join(name), text)?;
    }
    let info = "k8s.io/component-base/version";
    let (major, minor) = version().split_once('.').context("a version has dots")?;
    let minor = minor.split('.').next().unwrap_or_default();
    let stamp =
        format!("-s -w -X {info}.gitVersion=v{} -X {info}.gitMajor={major} -X {info}.gitMinor={minor}", version());
    run(go(&source).args(["build", "-trimpath", "-ldflags", &stamp, "-o"]).arg(done.join("kube")).arg("."))
        .context("compiling Kubernetes")?;
    for component in COMPONENTS {
        let link = done.join(component);
        if !link.is_symlink() {
            std::os::unix::fs::symlink("kube", link)?;
        }
    }
    std::fs::write(done.join("complete"), key())?;
    std::fs::remove_dir_all(&source)?;
    eprintln!("{:6.1} s  all programs, in {}", began.elapsed().as_secs_f64(), done.display());
    Ok(done)
}

/// The version of Kubernetes.
#[must_use]
pub fn version() -> &'static str {
    let wanted =
        FILES.iter().find_map(|(_, text)| text.lines().find_map(|line| line.split("k8s.io/kubernetes v").nth(1)));
    wanted.unwrap_or_default().trim()
}

/// What is wrong with the Go of this machine; none if it will do.
#[must_use]
pub fn go_missing() -> Option<String> {
    let want = format!("Go 1.{GO_MINOR} or newer is needed to compile Kubernetes for the tests");
    if installed("go").is_none() {
        return Some(format!("{want}, and there is no `go` on the PATH and none in /usr/local/go/bin"));
    }
    let asked = |name: &str| {
        let said = run(Command::new("go").args(["env", name]).current_dir(std::env::temp_dir()));
        said.unwrap_or_default().trim().to_owned()
    };
    let version = asked("GOVERSION");
    let may_switch = asked("GOTOOLCHAIN") != "local";
    match minor(&version) {
        Some(found) if found >= GO_MINOR || (found >= GO_SWITCHES && may_switch) => None,
        _ => Some(format!("{want}; found {version:?}, which does not fetch a newer one by itself")),
    }
}

fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("go1.")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Go in the folder of the module, as this repository wants it: what is pinned is taken, nothing is changed.
fn go(source: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(source).env("PATH", search_path()).env("GOFLAGS", "-buildvcs=false");
    command
}

/// A sum over all that the programs are made from.
fn key() -> String {
    let mut all = String::new();
    for (name, text) in FILES {
        all.push_str(name);
        all.push('\0');
        all.push_str(text);
    }
    all.push_str(std::env::consts::ARCH);
    let sum = digest(all.as_bytes()).replace("sha256:", "");
    format!("{}-{}", version(), sum.get(..12).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_go_module() {
        assert!(version().starts_with("1.35."), "{}", version());
        assert!(key().starts_with(version()));
    }

    #[test]
    fn versions_of_go_are_read() {
        assert_eq!(minor("go1.26.8"), Some(26));
        assert_eq!(minor("go1.27rc1"), Some(27));
        assert_eq!(minor("devel"), None);
    }
}
