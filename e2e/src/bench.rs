//! `throng bench` as a child process.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::dev::binary;

/// What a bench said and how it ended.
#[derive(Debug)]
pub struct Judged {
    /// Every promise was kept and every bound met.
    pub kept: bool,
    /// Its report.
    pub report: Value,
}

/// Runs a bench to its end; what it says beside its report goes through.
pub fn run(scenario: &str, args: &[&str]) -> Result<Judged> {
    let output = Command::new(binary()?)
        .args(["bench", scenario, "--json"])
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start throng bench")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let report = serde_json::from_str(said.trim()).with_context(|| format!("the bench reported {said:?}"))?;
    Ok(Judged { kept: output.status.success(), report })
}

/// Whether this process may make network namespaces.
#[must_use]
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(Path::new("/proc/self")).is_ok_and(|own| own.uid() == 0)
}
