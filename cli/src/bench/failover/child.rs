//! A process of the bench: in a namespace of its own or on loopback. It dies with the bench, however that ends.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child as Process, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, bail};
use rustix::process::Signal;

use super::net::{Net, Space};
use crate::bench::process;

/// Where a process lives.
#[derive(Debug)]
pub(super) struct Place {
    space: Option<Space>,
}

impl Place {
    /// A namespace of its own if there is a net, else loopback.
    pub(super) fn new(net: Option<&mut Net>) -> anyhow::Result<Self> {
        Ok(Self { space: net.map(Net::space).transpose()? })
    }

    /// Where it is reached.
    pub(super) fn host(&self) -> Ipv4Addr {
        self.space.as_ref().map_or(Ipv4Addr::LOCALHOST, Space::address)
    }

    /// An address to listen on: in a namespace `usual` is free, on loopback another port is found.
    pub(super) fn listen(&self, usual: u16) -> anyhow::Result<SocketAddr> {
        let port = if self.space.is_some() { usual } else { free_port()? };
        Ok(SocketAddr::from((self.host(), port)))
    }

    /// The namespace, to cut its links.
    pub(super) fn space(&self) -> anyhow::Result<&Space> {
        self.space.as_ref().context("links can only be cut between network namespaces")
    }

    /// Runs a program here; what it says goes to the end of `log`.
    pub(super) fn run(&self, program: &Path, arguments: &[String], log: &Path) -> anyhow::Result<Child> {
        let mut command = Command::new("setpriv");
        // The kernel ends it when this process ends.
        command.args(["--pdeathsig", "KILL", "--"]);
        if let Some(space) = &self.space {
            command.args(["ip", "netns", "exec", space.name()]);
        }
        command.arg(program).args(arguments);
        let log = File::options().create(true).append(true).open(log).context("cannot write a log")?;
        // A group of its own: Ctrl-C at the terminal is for the bench alone.
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let process = command.spawn().context("cannot start a process: setpriv is needed, from util-linux")?;
        let name = program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Child { process, name })
    }
}

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Child {
    process: Process,
    name: String,
}

impl Child {
    /// SIGSTOP.
    pub(super) fn stop(&self) -> anyhow::Result<()> {
        process::signal(self.process.id(), Signal::STOP)
    }

    /// SIGCONT.
    pub(super) fn go_on(&self) -> anyhow::Result<()> {
        process::signal(self.process.id(), Signal::CONT)
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Fails if it ended by itself.
    pub(super) fn check(&mut self, log: &Path) -> anyhow::Result<()> {
        if let Some(status) = self.process.try_wait()? {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            let last = said.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
            bail!("{} ended by itself ({status}); it said last:\n{last}", self.name);
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody takes while a killed server waits for its return: below those that the kernel hands out by itself,
/// never twice in one process, and begun at another place in each.
fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..12_000 {
        let offset = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = 20_000 + u16::try_from(offset)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between 20,000 and 32,000")
}
