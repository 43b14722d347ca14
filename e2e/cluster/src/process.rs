//! Programs that outlive whoever started them, found again by pid and start time: a pid alone may be another's by now.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde::{Deserialize, Serialize};

/// A program and how it was started, as noted in the folder of a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Program {
    /// Its process.
    pub(crate) pid: i32,
    /// When that began, in ticks since the machine did.
    began: u64,
    /// The command line, to start it again.
    line: Vec<String>,
}

/// What Linux says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: char,
    pub(crate) parent: i32,
    began: u64,
}

/// The programs of one cluster; each has a note in `programs/` and its output in `logs/`.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// Starts a program under a name. Its output is added to `logs/NAME.log`.
    pub(crate) fn start(&self, name: &str, line: &[String]) -> Result<Program> {
        std::fs::create_dir_all(self.folder.join("programs"))?;
        std::fs::create_dir_all(self.folder.join("logs"))?;
        let log = File::options().create(true).append(true).open(self.log(name))?;
        let (program, arguments) = line.split_first().context("an empty command line")?;
        let mut command = Command::new(program);
        command.args(arguments).env("PATH", search_path()).stdin(Stdio::null());
        // A group of its own: Ctrl-C at the terminal is for whoever looks on.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.stdout(log.try_clone()?).stderr(log).spawn();
        let pid = i32::try_from(child.with_context(|| format!("cannot start {program}"))?.id())?;
        let began = stat(pid).with_context(|| format!("{name} ended at once: {}", self.tail(name)))?.began;
        let program = Program { pid, began, line: line.to_vec() };
        std::fs::write(self.note(name), serde_json::to_vec_pretty(&program)?)?;
        Ok(program)
    }

    /// Starts a program again that was stopped.
    pub(crate) fn restart(&self, name: &str) -> Result<()> {
        let program = self.find(name)?;
        ensure!(!program.runs(), "{name} runs already");
        self.start(name, &program.line).map(drop)
    }

    /// The program of this name, running or not.
    pub(crate) fn find(&self, name: &str) -> Result<Program> {
        let note = std::fs::read(self.note(name));
        let note = note.with_context(|| format!("there is no program {name:?}, only {}", self.names().join(", ")))?;
        Ok(serde_json::from_slice(&note)?)
    }

    /// The names of all programs, in no order that means anything.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.join("programs"));
        let files = entries.into_iter().flatten().flatten().map(|entry| entry.path());
        let mut names: Vec<String> = files.filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
        names.sort();
        names
    }

    /// The last lines of a program's output.
    pub(crate) fn tail(&self, name: &str) -> String {
        let text = std::fs::read(self.log(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    fn note(&self, name: &str) -> PathBuf {
        self.folder.join("programs").join(format!("{name}.json"))
    }
}

impl Program {
    /// Whether it runs.
    pub(crate) fn runs(&self) -> bool {
        reap(self.pid);
        stat(self.pid).is_some_and(|stat| stat.began == self.began && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Sends a signal, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if let (true, Some(pid)) = (self.runs(), Pid::from_raw(self.pid)) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Asks it to end, and kills it after `grace`.
    pub(crate) fn stop(&self, grace: Duration) {
        if !grace.is_zero() {
            self.signal(Signal::TERM);
            self.signal(Signal::CONT);
            let _ = until("it ends", grace, || Ok((!self.runs()).then_some(())));
        }
        self.signal(Signal::KILL);
        let _ = until("it ends", Duration::from_secs(10), || Ok((!self.runs()).then_some(())));
    }
}

/// Asks until there is an answer. An error is one more "not yet", and is told when time is up.
pub(crate) fn until<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + within;
    let mut last = String::new();
    loop {
        match ask() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(error) => last = format!(": {error:#}"),
        }
        if Instant::now() > end {
            bail!("not within {} s: {what}{last}", within.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Runs a command to its end; its output, or an error with what it said.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.env("PATH", search_path()).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} {:?}: {}", command.get_program().display(), output.status.code(), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command line of words without spaces.
pub(crate) fn words(line: &str) -> Result<String> {
    let mut words = line.split_ascii_whitespace();
    let program = words.next().context("an empty command line")?;
    run(Command::new(program).args(words)).with_context(|| line.to_owned())
}

/// Where programs are looked for: administrators' folders too, which a user's shell may leave out.
pub(crate) fn search_path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

/// Where a program is; one with a slash is its own path.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let path = search_path();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

pub(crate) fn is_installed(program: &str) -> bool {
    installed(program).is_some()
}

/// Every process of the machine with what Linux says of it.
pub(crate) fn all() -> Vec<(i32, Stat)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

/// What Linux says of one process; none if there is none.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Takes a child that has ended away; nothing if it is somebody else's child or still runs.
fn reap(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Field 2 is the name in brackets, which may hold brackets and spaces; 3 is the state, 4 the parent, 22 the start.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Stat { state, parent, began: fields.nth(17)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_state_parent_and_start() {
        let line = "417 (a (b) c) S 12 417 417 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3";
        assert_eq!(parse_stat(line), Some(Stat { state: 'S', parent: 12, began: 98765 }));
        assert_eq!(parse_stat("417 (half"), None);
        let own = stat(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.began > 0 && own.parent > 0);
    }

    #[test]
    fn a_program_is_started_found_stopped_and_started_again() {
        let folder = std::env::temp_dir().join(format!("throng-programs-{}", std::process::id()));
        let programs = Programs::new(&folder);
        let line = ["sleep".to_owned(), "60".to_owned()];
        let first = programs.start("sleeper", &line).unwrap();
        assert!(first.runs() && programs.find("sleeper").unwrap().runs());
        assert!(programs.restart("sleeper").is_err(), "it runs already");
        first.stop(Duration::from_secs(5));
        assert!(!first.runs());
        programs.restart("sleeper").unwrap();
        let second = programs.find("sleeper").unwrap();
        assert!(second.runs() && second.pid != first.pid);
        second.stop(Duration::ZERO);
        assert!(!second.runs());
        assert_eq!(programs.names(), ["sleeper"]);
        assert!(programs.find("walker").unwrap_err().to_string().contains("sleeper"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn waiting_ends_with_the_last_error() {
        let error = until::<()>("pigs fly", Duration::ZERO, || bail!("no wings")).unwrap_err();
        assert_eq!(error.to_string(), "not within 0 s: pigs fly: no wings");
    }
}
