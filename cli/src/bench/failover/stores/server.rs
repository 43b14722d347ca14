//! One server of a store: a process with a place and a log, which ends and starts again.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::bench::failover::child::{Child, Place};

/// A server answers by then.
const WITHIN: Duration = Duration::from_secs(20);
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(2);

/// One server.
#[derive(Debug)]
pub(super) struct Server {
    name: String,
    // Before its place, so that it ends first.
    child: Option<Child>,
    place: Place,
    program: &'static str,
    arguments: Vec<String>,
    log: PathBuf,
    /// Where clients reach it.
    pub(super) address: SocketAddr,
}

impl Server {
    /// One that is not started yet.
    pub(super) fn new(name: &str, place: Place, port: u16, logs: &Path) -> anyhow::Result<Self> {
        let (address, log) = (place.listen(port)?, logs.join(format!("{name}.log")));
        Ok(Self { name: name.to_owned(), child: None, place, program: "", arguments: Vec::new(), log, address })
    }

    /// Where it lives.
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// Starts it.
    pub(super) fn start(&mut self, program: &'static str, line: &str) -> anyhow::Result<()> {
        self.program = program;
        self.arguments = line.split_ascii_whitespace().map(ToOwned::to_owned).collect();
        self.again()
    }

    /// Starts it as it was started before.
    pub(super) fn again(&mut self) -> anyhow::Result<()> {
        self.child = Some(self.place.run(Path::new(self.program), &self.arguments, &self.log)?);
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        self.child = None;
    }

    /// Whether it was started and not killed since.
    pub(super) const fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// SIGSTOP.
    pub(super) fn stop(&self) -> anyhow::Result<()> {
        self.child.as_ref().map_or(Ok(()), Child::stop)
    }

    /// SIGCONT.
    pub(super) fn go_on(&self) -> anyhow::Result<()> {
        self.child.as_ref().map_or(Ok(()), Child::go_on)
    }

    /// Fails if it ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        self.child.as_mut().map_or(Ok(()), |child| child.check(&self.log))
    }

    /// Waits until this is so; fails if it ends by itself before.
    pub(super) fn wait(&mut self, so: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let until = Instant::now() + WITHIN;
        while !so(self) {
            self.check()?;
            if Instant::now() > until {
                bail!("{} is not ready at {}; its log is {}", self.name, self.address, self.log.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        Ok(stream)
    }

    /// Sends Redis a command that answers with a text, and gives that.
    pub(super) fn redis(&self, command: &str) -> anyhow::Result<String> {
        let mut stream = self.connect()?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        text(&mut BufReader::new(stream)).with_context(|| format!("{} was asked for {command}", self.name))
    }

    /// Asks etcd's JSON gateway for its status.
    pub(super) fn etcd_status(&self) -> anyhow::Result<Value> {
        let mut stream = self.connect()?;
        // HTTP/1.0, so that the answer ends with the connection.
        stream.write_all(b"POST /v3/maintenance/status HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("the answer has no end of header")?;
        serde_json::from_str(body).with_context(|| format!("{} said {body}", self.name))
    }
}

/// One text of Redis's protocol: `+OK` or `$2\r\nOK`.
fn text(from: &mut impl std::io::BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let line = line.trim_end();
    if let Some(simple) = line.strip_prefix('+') {
        return Ok(simple.to_owned());
    }
    let length = line.strip_prefix('$').and_then(|length| length.parse().ok());
    let Some(length) = length else { bail!("Redis answered {line}") };
    let mut bulk = vec![0; length];
    from.read_exact(&mut bulk)?;
    Ok(String::from_utf8_lossy(&bulk).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_redis_are_read_and_errors_are_errors() {
        assert_eq!(text(&mut &b"+OK\r\n"[..]).unwrap(), "OK");
        assert_eq!(text(&mut &b"$7\r\na:1\r\nb:\r\n"[..]).unwrap(), "a:1\r\nb:");
        assert_eq!(text(&mut &b"-ERR no\r\n"[..]).unwrap_err().to_string(), "Redis answered -ERR no");
        assert!(text(&mut &b"$-1\r\n"[..]).is_err());
        assert!(text(&mut &b""[..]).is_err());
    }
}
