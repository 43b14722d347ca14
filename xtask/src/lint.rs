//! Clippy: by itself for who edits, as the compiler for who tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::outside;
use crate::run::{Tally, cargo};

/// What stands between two arguments in the variable that `clippy-driver` reads them from.
const BETWEEN: &str = "__CLIPPY_HACKERY__";

/// Clippy over all targets of all crates, warnings denied.
pub(crate) fn alone(root: &Path, tally: &mut Tally) -> Result<bool> {
    let all = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    Ok(tally.run("clippy", &mut cargo(root, &all))?
        & tally.run("clippy, tests from outside", &mut outside::clippy(root)?)?)
}

/// Has a cargo command compile the crates of the workspace through Clippy, warnings denied. `cargo clippy` does the same, but to
/// nothing that runs, and compiles all dependencies for it once more: six minutes of a first run. The same linter sees the same
/// targets here, and what is tested is what was linted.
pub(crate) fn as_compiler(command: &mut Command) -> Result<&mut Command> {
    let arguments: String = ["-D", "warnings"].iter().flat_map(|one| [*one, BETWEEN]).collect();
    Ok(command.env("RUSTC_WORKSPACE_WRAPPER", driver()?).env("CLIPPY_ARGS", arguments))
}

fn driver() -> Result<PathBuf> {
    let said = Command::new("rustc").args(["--print", "sysroot"]).output().context("cannot start rustc")?;
    let driver = Path::new(String::from_utf8_lossy(&said.stdout).trim()).join("bin/clippy-driver");
    ensure!(driver.is_file(), "there is no {}: `rustup component add clippy` brings it", driver.display());
    Ok(driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clippy_warns_of_is_not_compiled_and_the_rest_runs() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        let manifest = "[package]\nname = \"linted\"\nedition = \"2024\"\n[workspace]\n";
        std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        let runs = |test: &str| {
            let main = format!("fn main() {{ assert!({test}); }}\n");
            std::fs::write(folder.path().join("src/main.rs"), main).unwrap();
            let mut command = cargo(folder.path(), &["run", "--quiet", "--offline"]);
            command.env("CARGO_TARGET_DIR", folder.path().join("target"));
            as_compiler(&mut command).unwrap().status().unwrap().success()
        };
        assert!(runs("std::env::args().count() > 0"));
        assert!(!runs("std::env::args().collect::<Vec<_>>().len() > 0"), "clippy::len_zero and others warn of it");
    }
}
