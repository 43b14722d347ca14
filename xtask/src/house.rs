//! Rules of the house that no compiler knows: how long a file may be, what must never be written into one, which licences
//! may be built in, and that what is built in is used.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Longest source file, in lines before its tests.
const MAX_LINES: usize = 500;

/// Prints every broken rule; true if there is none.
pub(crate) fn check(root: &Path) -> Result<bool> {
    let mut broken = crate::deny::broken(root)?;
    let files = tracked(root)?;
    broken.extend(crate::deps::broken(root, &files)?);
    for file in files {
        let Ok(text) = std::fs::read_to_string(root.join(&file)) else { continue };
        if has_extension(&file, "rs") {
            let lines = lines_before_tests(&file, &text);
            if lines > MAX_LINES {
                broken.push(format!("{file}: {lines} lines before its tests, at most {MAX_LINES}"));
            }
        }
        if !has_extension(&file, "lock") {
            for (number, line) in text.lines().enumerate() {
                if let Some(word) = forbidden(line) {
                    broken.push(format!("{file}:{}: {word:?} does not belong into the repository", number + 1));
                }
            }
        }
    }
    for rule in &broken {
        eprintln!("{rule}");
    }
    Ok(broken.is_empty())
}

fn tracked(root: &Path) -> Result<Vec<String>> {
    let output =
        Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root).output();
    let output = output.context("git is needed to list the files")?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect())
}

pub(crate) fn has_extension(file: &str, extension: &str) -> bool {
    Path::new(file).extension().is_some_and(|found| found == extension)
}

fn lines_before_tests(file: &str, text: &str) -> usize {
    let is_test_file = file.contains("/tests/") || file.ends_with("tests.rs");
    if is_test_file {
        return 0;
    }
    // A module of tests ends what counts; a `mod tests;` whose text is another file's is one line like others.
    let lines: Vec<&str> = text.lines().collect();
    let begins =
        |pair: &[&str]| matches!(pair, ["#[cfg(test)]", next] if next.starts_with("mod ") && next.ends_with('{'));
    let tests = lines.windows(2).position(begins);
    tests.unwrap_or(lines.len())
}

/// Paths of one machine, hosts of package registries, and work left for later.
fn forbidden(line: &str) -> Option<&'static str> {
    // In halves, or this file would hold what it forbids.
    const WORDS: &[&str] = &[
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("deb.deb", "ian.org"),
        concat!("static.c", "rates.io"),
        concat!("registry.", "npmjs.org"),
        concat!("pypi", ".org"),
        concat!("proxy.go", "lang.org"),
        concat!("tod", "o!("),
        concat!("unimple", "mented!("),
        concat!("FI", "XME"),
        concat!("#[ig", "nore"),
    ];
    WORDS.iter().find(|word| line.contains(**word)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_machine_is_found() {
        assert_eq!(forbidden(concat!("see /ro", "ot/x")), Some(concat!("/ro", "ot/")));
        assert_eq!(forbidden("see the root of the tree"), None);
    }

    #[test]
    fn only_lines_before_the_tests_count() {
        assert_eq!(lines_before_tests("a.rs", "one\ntwo\n#[cfg(test)]\nmod tests {\n}\n"), 2);
        assert_eq!(lines_before_tests("a.rs", "one\n#[cfg(test)]\nmod tests;\nmod two;\n"), 4);
        assert_eq!(lines_before_tests("a/tests/b.rs", "one\n"), 0);
    }
}
