//! `cargo xtask image`: Throng as a container image, without Docker.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use throng_cluster::image::Image;
use throng_cluster::images;

use crate::run::{cargo, target};

/// Build the container image: one static binary, nothing else but the certificates to trust.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask image\n  docker load < target/images/throng.tar\n  skopeo copy oci-archive:target/images/throng.tar docker://registry.example.com/throng:0.1.0"
)]
pub(crate) struct ImageArgs {
    /// Name and tag; throng with the version of the workspace without it.
    #[arg(long, value_name = "NAME:TAG")]
    tag: Option<String>,
    /// The archive to write; `target/images/throng.tar` without it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Certificates of public authorities on Debian. The image has none where this is missing.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Names a binary to take instead of building one.
pub(crate) const BINARY: &str = "THRONG_IMAGE_BIN";

/// Does it.
pub(crate) fn run(root: &Path, args: ImageArgs) -> Result<bool> {
    let out = args.out.unwrap_or_else(|| target(root).join("images/throng.tar"));
    let reference = args.tag.unwrap_or_else(reference);
    write(root, &out, &reference)?;
    println!("{reference} {}", out.display());
    Ok(true)
}

/// What the image is called if nobody says otherwise.
pub(crate) fn reference() -> String {
    format!("throng:{}", env!("CARGO_PKG_VERSION"))
}

/// Builds the binary and writes the archive. `THRONG_IMAGE_BIN` names a binary to take instead, for those who
/// try things out on a cluster: one that is linked dynamically brings its libraries.
pub(crate) fn write(root: &Path, out: &Path, reference: &str) -> Result<()> {
    if std::env::var_os(BINARY).is_none() {
        build(root)?;
    }
    pack(root, out, reference)
}

/// Writes the archive of a binary that is there.
pub(crate) fn pack(root: &Path, out: &Path, reference: &str) -> Result<()> {
    let binary = std::env::var_os(BINARY).map_or_else(|| programs(root).join("throng"), PathBuf::from);
    of(&binary, reference)?.write(out)
}

/// The image of a binary.
pub(crate) fn of(binary: &Path, reference: &str) -> Result<Image> {
    let authorities = Some(Path::new(AUTHORITIES)).filter(|file| file.is_file());
    images::throng(reference, binary, authorities)
}

/// Builds the static binary: the one that the image holds, and that all tests from outside run.
pub(crate) fn build(root: &Path) -> Result<()> {
    ensure!(program(root).status().context("cannot start cargo")?.success(), "the static build has failed");
    let binary = programs(root).join("throng");
    ensure!(images::is_static(&binary)?, "{} is linked dynamically", binary.display());
    Ok(())
}

/// The command that builds it.
pub(crate) fn program(root: &Path) -> Command {
    release(root, &["--bin", "throng"])
}

/// Where static programs land.
pub(crate) fn programs(root: &Path) -> PathBuf {
    target(root).join(triple()).join("release")
}

/// A release build that needs no libraries.
pub(crate) fn release(root: &Path, what: &[&str]) -> Command {
    let mut command = cargo(root, &["build", "--release", "--quiet", "--target", &triple()]);
    command.args(what);
    // With a target named, the flags are for what ends up in the image and not for build scripts and macros. Paths of this
    // machine are taken out, so that others get the same bytes.
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned(), renamed(root, "/throng")];
    flags.extend(cargo_home().map(|home| renamed(&home, "/cargo")));
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    // Nobody debugs in an image: not made for our own crates, taken out of what comes compiled.
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "false").env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    command
}

fn renamed(folder: &Path, name: &str) -> String {
    format!("--remap-path-prefix={}={name}", folder.display())
}

/// Where cargo keeps the sources of dependencies.
fn cargo_home() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

fn triple() -> String {
    let said = Command::new("rustc").args(["--print", "host-tuple"]).output();
    let host = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if host.is_empty() { format!("{}-unknown-linux-gnu", std::env::consts::ARCH) } else { host }
}
