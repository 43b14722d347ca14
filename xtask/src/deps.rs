//! Dependencies that nothing uses: each makes every first build longer, and one may bring a library in C along.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::house::has_extension;

/// Every dependency of a crate of ours whose name none of its sources has, in words. A comment above it is the reason why it is
/// there all the same: it chooses a feature for others, or generated code names it.
pub(crate) fn broken(root: &Path, files: &[String]) -> Result<Vec<String>> {
    let read = |file: &str| std::fs::read_to_string(root.join(file)).with_context(|| file.to_owned());
    let mut broken = Vec::new();
    let mut declared = String::new();
    for manifest in files.iter().filter(|file| file.ends_with("/Cargo.toml")) {
        let folder = manifest.trim_end_matches("Cargo.toml");
        let text = read(manifest)?;
        let sources = files.iter().filter(|file| file.starts_with(folder) && has_extension(file, "rs"));
        let sources = sources.map(|file| read(file)).collect::<Result<Vec<_>>>()?;
        for name in dependencies(&text) {
            if !sources.iter().any(|source| names(source, &name.replace('-', "_"))) {
                broken.push(format!(
                    "{manifest}: no source of this crate uses {name}; take it out, or say above it why it is there"
                ));
            }
        }
        declared.push_str(&text);
    }
    for name in dependencies(&read("Cargo.toml")?) {
        if !names(&declared, name) {
            broken.push(format!("Cargo.toml: no crate depends on {name}"));
        }
    }
    Ok(broken)
}

/// Names in the sections of dependencies, but those under a comment.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut inside, mut explained) = (false, false);
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim_end_matches(']').ends_with("dependencies");
        } else if let Some(name) = line.split(['.', ' ', '=']).next().filter(|_| inside && !explained)
            && name.starts_with(|first: char| first.is_ascii_lowercase())
        {
            found.push(name);
        }
        explained = line.starts_with('#');
    }
    found
}

/// Whether a text has a name as a word of its own.
fn names(text: &str, name: &str) -> bool {
    let part = |side: Option<char>| side.is_some_and(|one| one.is_alphanumeric() || one == '_' || one == '-');
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + name.len()..).and_then(|after| after.chars().next());
        !part(before) && !part(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[package]\nname = \"a\"\n\n[dependencies]\none.workspace = true\n# Chooses a feature.\ntwo = { version = \"1\" }\nthree-four = \"1\"\n  \"x\",\n] }\n\n[lints]\nworkspace = true\n[dev-dependencies]\nfive = \"1\"\n";

    #[test]
    fn dependencies_are_found_in_their_sections_and_explained_ones_pass() {
        assert_eq!(dependencies(MANIFEST), ["one", "three-four", "five"]);
    }

    #[test]
    fn a_name_is_a_whole_word() {
        assert!(names("use slab::Slab;", "slab"));
        assert!(!names("use slab2::Slab; let a_slab = 1;", "slab"));
        assert!(!names("tokio-util.workspace = true", "tokio"));
        assert!(names("tokio.workspace = true", "tokio"));
    }

    #[test]
    fn what_nothing_uses_is_told() {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("Cargo.toml", "[workspace.dependencies]\none = \"1\"\nsix = \"1\"\n"),
            ("a/Cargo.toml", MANIFEST),
            ("a/src/lib.rs", "use one::One;\n"),
            ("a/tests/a.rs", "five::go();\n"),
        ] {
            let file = root.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let files = ["Cargo.toml", "a/Cargo.toml", "a/src/lib.rs", "a/tests/a.rs"].map(ToOwned::to_owned);
        let broken = broken(root.path(), &files).unwrap();
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken[0].contains("three-four") && broken[1].contains("six"), "{broken:?}");
    }
}
