//! Tar archives of the plainest kind (ustar): no owner, no time, entries as given, so that equal files make equal bytes.

use anyhow::{Result, ensure};

/// Size of a block; headers are one, contents are padded to it.
const BLOCK: usize = 512;

/// An archive that grows in memory.
#[derive(Debug, Default)]
pub(crate) struct Tar(Vec<u8>);

/// What an entry is.
enum Kind<'a> {
    File { data: &'a [u8], mode: u32 },
    Folder,
    Link { target: &'a str },
}

impl Tar {
    pub(crate) fn file(&mut self, path: &str, data: &[u8], mode: u32) -> Result<()> {
        self.entry(path, &Kind::File { data, mode })
    }

    pub(crate) fn folder(&mut self, path: &str) -> Result<()> {
        self.entry(&format!("{path}/"), &Kind::Folder)
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.entry(path, &Kind::Link { target })
    }

    /// The bytes, with the two empty blocks that end an archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }

    fn entry(&mut self, path: &str, kind: &Kind<'_>) -> Result<()> {
        let (flag, mode, data, target): (u8, u32, &[u8], &str) = match kind {
            Kind::File { data, mode } => (b'0', *mode, data, ""),
            Kind::Link { target } => (b'2', 0o777, &[], target),
            Kind::Folder => (b'5', 0o755, &[], ""),
        };
        let (prefix, name) = split(path)?;
        ensure!(target.len() <= 100, "the target of a link is too long for a tar archive: {target}");
        let mut header = Vec::with_capacity(BLOCK);
        let mut text = |text: &str, width: usize| {
            let end = header.len() + width;
            header.extend_from_slice(text.as_bytes());
            header.resize(end, 0);
        };
        text(name, 100);
        for (number, width) in [(u64::from(mode), 8), (0, 8), (0, 8), (data.len() as u64, 12), (0, 12)] {
            text(&octal(number, width), width);
        }
        text("        ", 8); // the sum, taken as spaces while it is made
        text(char::from(flag).encode_utf8(&mut [0]), 1);
        text(target, 100);
        text("ustar", 6);
        text("00", 2);
        text("", 32 + 32); // names of owner and group
        text(&octal(0, 8), 8);
        text(&octal(0, 8), 8);
        text(prefix, 155);
        header.resize(BLOCK, 0);
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        header.splice(148..156, format!("{sum:06o}\0 ").into_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        Ok(())
    }
}

/// A number that fills a field but for the zero at its end.
fn octal(number: u64, width: usize) -> String {
    format!("{number:0>digits$o}", digits = width - 1)
}

/// The header has two fields for a long path, parted at a slash.
fn split(path: &str) -> Result<(&str, &str)> {
    if path.len() <= 100 {
        return Ok(("", path));
    }
    let at = path.match_indices('/').map(|(at, _)| at).find(|at| path.len() - at - 1 <= 100 && *at <= 155);
    let parted = at.and_then(|at| path.split_at_checked(at));
    ensure!(parted.is_some(), "the path is too long for a tar archive: {path}");
    Ok(parted.map_or(("", path), |(prefix, name)| (prefix, name.trim_start_matches('/'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    #[test]
    fn the_system_reads_what_is_written() {
        let long = format!("{}/{}", "deep".repeat(30), "name".repeat(20));
        let mut tar = Tar::default();
        tar.folder("bin").unwrap();
        tar.file("bin/one", b"1", 0o755).unwrap();
        tar.link("bin/two", "one").unwrap();
        tar.file(&long, &[7; 1500], 0o600).unwrap();
        let bytes = tar.finish();
        assert_eq!(bytes.len() % BLOCK, 0);
        let mut child = Command::new("tar").arg("-tvf-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(output.status.success());
        assert_eq!(
            lines.iter().map(|line| line[0]).collect::<Vec<_>>(),
            ["drwxr-xr-x", "-rwxr-xr-x", "lrwxrwxrwx", "-rw-------"]
        );
        assert_eq!(lines[1][2..], ["1", "1970-01-01", "00:00", "bin/one"]);
        assert_eq!(lines[2][5..], ["bin/two", "->", "one"]);
        assert_eq!(lines[3][2..], ["1500", "1970-01-01", "00:00", &long]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut tar = Tar::default();
        assert!(tar.file(&"x".repeat(101), b"", 0o644).is_err());
        assert!(tar.file(&format!("{}/{}", "x".repeat(156), "y".repeat(90)), b"", 0o644).is_err());
        assert!(tar.link("x", &"y".repeat(101)).is_err());
    }
}
