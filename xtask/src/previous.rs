//! The commit before this one: its program as an image and its charts, for the test that upgrades the operator.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use throng_cluster::images;

use crate::image;
use crate::run::{metadata, target};

/// Builds it into `out`, and gives the folder of its sources. Nothing where the history is not known: sources from an archive, a
/// clone of one commit.
pub(crate) fn write(root: &Path, out: &Path) -> Result<Option<PathBuf>> {
    let Some(commit) = commit(root) else { return Ok(None) };
    // Sources of another commit lie in another folder: cargo goes by their times, and those are of the commit.
    let sources = target(root).join("previous").join(commit.get(..12).unwrap_or(&commit));
    let binary = sources.join("throng");
    if !binary.is_file() {
        unpack(root, &commit, &sources)?;
        build(root, &sources)?;
        // Its place is that of our own program, which is built again before anybody runs it.
        std::fs::rename(image::programs(root).join("throng"), &binary).context("the program of the commit before")?;
    }
    image::of(&binary, images::PREVIOUS)?.write(out)?;
    Ok(Some(sources))
}

fn commit(root: &Path) -> Option<String> {
    let output = git(root).args(["rev-parse", "--verify", "--quiet", "HEAD^1^{commit}"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|commit| output.status.success() && !commit.is_empty())
}

fn unpack(root: &Path, commit: &str, sources: &Path) -> Result<()> {
    let all = target(root).join("previous");
    if all.exists() {
        std::fs::remove_dir_all(&all)?;
    }
    std::fs::create_dir_all(sources)?;
    let archive = all.join("sources.tar");
    succeed(git(root).args(["archive", "--output"]).arg(&archive).arg(commit))?;
    succeed(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(sources))
}

/// With the dependencies that are compiled already; its own crates are not optimized, for nothing of it is measured.
fn build(root: &Path, sources: &Path) -> Result<()> {
    let manifest = sources.join("Cargo.toml");
    let mut command = image::release(root, &["--bin", "throng"]);
    command.arg("--manifest-path").arg(&manifest).env("CARGO_TARGET_DIR", target(root));
    for member in members(root, &manifest)? {
        command.arg("--config").arg(format!("profile.release.package.{member}.opt-level=0"));
    }
    succeed(&mut command)
}

/// The crates of a workspace by name: to change the profile of all others at once would change that of macros too.
fn members(root: &Path, manifest: &Path) -> Result<Vec<String>> {
    let said = metadata(root, manifest)?;
    let packages = said.get("packages").and_then(serde_json::Value::as_array).into_iter().flatten();
    Ok(packages.filter_map(|package| package.get("name")?.as_str().map(str::to_owned)).collect())
}

fn git(root: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(root);
    command
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{command:?} has failed");
    Ok(())
}
