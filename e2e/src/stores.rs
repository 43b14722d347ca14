//! A Redis and an etcd for `throng dev`, and how many keys are in them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{Process, folder, free_address};

/// Both, running and empty.
pub struct Stores {
    _folder: TempDir,
    redis: SocketAddr,
    etcd: SocketAddr,
    _processes: [Process; 2],
}

impl Stores {
    /// Starts them and waits until they answer.
    pub fn start() -> Result<Self> {
        let (folder, redis, etcd, peer) = (folder()?, free_address()?, free_address()?, free_address()?);
        let data = folder.path().display();
        let line = format!("--port {} --bind 127.0.0.1 --appendonly no --dir {data}", redis.port());
        let mut command = Command::new("redis-server");
        command.args(line.split_ascii_whitespace()).args(["--save", ""]);
        let first = Process::start(command, Path::new("/dev/null")).context("apt-get install redis-server")?;
        let line = format!(
            "--name one --log-level error --listen-client-urls http://{etcd} --advertise-client-urls http://{etcd} \
             --listen-peer-urls http://{peer} --initial-advertise-peer-urls http://{peer} \
             --initial-cluster one=http://{peer} --data-dir {data}/etcd"
        );
        let mut command = Command::new("etcd");
        command.args(line.split_ascii_whitespace());
        let second = Process::start(command, Path::new("/dev/null")).context("apt-get install etcd-server")?;
        let stores = Self { _folder: folder, redis, etcd, _processes: [first, second] };
        let until = Instant::now() + Duration::from_secs(20);
        while let Err(error) = stores.keys() {
            if Instant::now() > until {
                return Err(error.context("they do not answer"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(stores)
    }

    /// What `throng dev` is told.
    #[must_use]
    pub fn args(&self) -> [String; 4] {
        ["--redis".into(), format!("redis://{}", self.redis), "--etcd".into(), format!("http://{}", self.etcd)]
    }

    /// Keys in Redis and in etcd.
    pub fn keys(&self) -> Result<(u64, u64)> {
        Ok((self.redis_keys()?, self.etcd_keys()?))
    }

    fn redis_keys(&self) -> Result<u64> {
        let mut socket = connected(self.redis)?;
        socket.write_all(b"DBSIZE\r\n")?;
        let mut answer = [0; 64];
        let read = socket.read(&mut answer)?;
        let text = std::str::from_utf8(answer.get(..read).unwrap_or_default())?;
        Ok(text.trim_end().strip_prefix(':').with_context(|| format!("Redis said {text:?}"))?.parse()?)
    }

    /// By its JSON gateway: every key from `\0` on, counted.
    fn etcd_keys(&self) -> Result<u64> {
        let mut socket = connected(self.etcd)?;
        let body = r#"{"key":"AA==","range_end":"AA==","count_only":true}"#;
        write!(
            socket,
            "POST /v3/kv/range HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("etcd says nothing")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("etcd said {answer}");
        }
        let body =
            body.get(body.find('{').context("no JSON")?..=body.rfind('}').context("no JSON")?).unwrap_or_default();
        let count = serde_json::from_str::<Value>(body)?["count"].as_str().map_or(Ok(0), str::parse)?;
        Ok(count)
    }
}

fn connected(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(socket)
}
