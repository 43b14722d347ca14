//! What `deny.toml` says of licences and sources, held against the crates that are built in. The same file serves
//! `cargo deny check`, which knows advisories too and needs a network; this part needs neither.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Where crates may come from; the workspace's own have no source.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Every broken rule, in words.
pub(crate) fn broken(root: &Path) -> Result<Vec<String>> {
    let allowed = allowed(&std::fs::read_to_string(root.join("deny.toml")).context("deny.toml")?);
    ensure!(!allowed.is_empty(), "deny.toml allows no licence");
    let mut broken = Vec::new();
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", target];
        let output = Command::new(cargo).args(arguments).current_dir(root).output().context("cargo metadata")?;
        ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let packages =
            metadata.get("packages").and_then(Value::as_array).context("cargo metadata names no packages")?;
        broken.extend(packages.iter().filter_map(|package| judge(package, &allowed)));
    }
    broken.sort();
    broken.dedup();
    Ok(broken)
}

/// The texts in `allow = [...]` of the section `licenses`.
fn allowed(text: &str) -> Vec<String> {
    let section = text.split("[licenses]").nth(1).and_then(|rest| rest.split("allow = [").nth(1));
    let list = section.and_then(|rest| rest.split(']').next()).unwrap_or_default();
    list.split('"').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

/// What is wrong with a package.
fn judge(package: &Value, allowed: &[String]) -> Option<String> {
    let text = |field: &str| package.get(field).and_then(Value::as_str);
    let name = format!("{} {}", text("name").unwrap_or("?"), text("version").unwrap_or("?"));
    if let Some(source) = text("source").filter(|source| *source != REGISTRY) {
        return Some(format!("{name} comes from {source}: deny.toml allows no such source"));
    }
    let licence = text("license").unwrap_or("no licence");
    (!permits(licence, allowed)).then(|| format!("{name} is under {licence:?}: deny.toml does not allow that"))
}

/// Whether an SPDX expression can be met with the allowed licences. `AND` binds closer than `OR`; older crates write `/`.
fn permits(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    let expression = expression.split_whitespace().collect::<Vec<_>>().join(" ");
    let either = parts(&expression, " OR ");
    if either.len() > 1 {
        return either.iter().any(|part| permits(part, allowed));
    }
    let both = parts(&expression, " AND ");
    if both.len() > 1 {
        return both.iter().all(|part| permits(part, allowed));
    }
    match expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => permits(inner, allowed),
        None => allowed.contains(&expression),
    }
}

/// Splits at a word that stands in no brackets.
fn parts<'t>(text: &'t str, word: &str) -> Vec<&'t str> {
    let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0_i32);
    for (at, letter) in text.char_indices() {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        if depth == 0 && at >= begin && text.get(at..).is_some_and(|rest| rest.starts_with(word)) {
            parts.push(text.get(begin..at).unwrap_or_default());
            begin = at + word.len();
        }
    }
    parts.push(text.get(begin..).unwrap_or_default());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_by_what_is_allowed() {
        let allowed = allowed("[licenses]\nallow = [\n    \"MIT\",\n    \"ISC\",\n]\n[bans]\nallow = [\"GPL-3.0\"]\n");
        assert_eq!(allowed, ["MIT", "ISC"]);
        for met in ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "GPL-3.0 / MIT", "MIT AND ISC", "(GPL-3.0 OR MIT) AND ISC"]
        {
            assert!(permits(met, &allowed), "{met}");
        }
        for unmet in ["GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 AND ISC) OR GPL-2.0", "MIT WITH an-exception", ""] {
            assert!(!permits(unmet, &allowed), "{unmet}");
        }
    }

    #[test]
    fn a_package_from_elsewhere_or_without_a_licence_is_found() {
        let allowed = ["MIT".to_owned()];
        let package = |source: Value, license: Value| serde_json::json!({"name": "a", "version": "1.0.0", "source": source, "license": license});
        assert_eq!(judge(&package(Value::Null, "MIT".into()), &allowed), None);
        assert_eq!(judge(&package(REGISTRY.into(), "MIT".into()), &allowed), None);
        assert!(judge(&package("git+https://elsewhere".into(), "MIT".into()), &allowed).is_some());
        assert!(judge(&package(REGISTRY.into(), Value::Null), &allowed).is_some());
    }
}
