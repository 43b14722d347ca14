//! A gateway in a process of its own, fed through its standard input: configuration first, then views of the registry.
//!
//! It is the production gateway; only its registry reads a pipe instead of etcd. It ends when the pipe closes, so no
//! gateway outlives its `throng dev`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use throng_core::{InstanceId, Role};
use throng_node::service::{Ending, Hooks};
use throng_proto::key::PodKey;
use throng_proto::link::{DescribeReply, DrainRequest, PressureSample};
use throng_registry::{PipedRegistry, Registry};
use throng_store::MemoryDb;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::pod::identity;
use crate::logs;
use crate::roles::{Config, Parts, assemble};

/// First line to the child.
#[derive(Serialize, Deserialize)]
struct Brief {
    name: String,
    revision: u64,
    listen: SocketAddr,
    pod_key: String,
    config: Config,
}

/// First line from the child.
#[derive(Serialize, Deserialize)]
struct Started {
    instance: String,
    http: SocketAddr,
    grpc: SocketAddr,
}

/// Runs the child: `throng dev-gateway`.
pub(crate) fn run() -> Result<ExitCode> {
    logs::start("warn");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut input = BufReader::new(tokio::io::stdin());
        let mut line = String::new();
        input.read_line(&mut line).await?;
        let brief: Brief = serde_json::from_str(&line).context("this is started by `throng dev --isolate-gateways`")?;
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (grpc, http) = (TcpListener::bind(loopback)?, TcpListener::bind(loopback)?);
        let identity = identity(Role::Gateway, &brief.name, brief.revision, grpc.local_addr()?, http.local_addr()?)?;
        let started =
            Started { instance: identity.instance.to_string(), grpc: grpc.local_addr()?, http: http.local_addr()? };
        let registry = Arc::new(PipedRegistry::new(input));
        let closed = registry.closed();
        let registry: Arc<dyn Registry> = registry;
        let parts = Parts {
            // A gateway keeps nothing.
            store: Arc::new(MemoryDb::default().store(identity.instance.clone())),
            store_is_shared: false,
            has_process: true,
            identity,
            registry,
            pod_key: PodKey::new(&brief.pod_key).context("the key between Pods is visible ASCII")?,
            grpc,
            http,
            public: brief.listen,
            page: axum::Router::new(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            ending: Ending::default(),
        };
        let running = assemble(Role::Gateway, &brief.config, parts)?;
        println!("{}", serde_json::to_string(&started)?);
        tokio::select! {
            () = running.serve => {}
            () = closed => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// A started child, as its parent sees it.
pub(crate) struct Child {
    pub(crate) instance: InstanceId,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) pid: u32,
    pub(crate) process: tokio::process::Child,
}

/// Starts a gateway process and feeds it. The returned task ends when the child does.
pub(crate) async fn start(
    (name, revision): (&str, u64),
    listen: SocketAddr,
    pod_key: &str,
    config: &Config,
    registry: &dyn Registry,
) -> Result<Child> {
    let mut process = Command::new(std::env::current_exe()?)
        .arg("dev-gateway")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a gateway process")?;
    let mut input = process.stdin.take().context("standard input is a pipe")?;
    let output = process.stdout.take().context("standard output is a pipe")?;
    let brief = Brief { name: name.to_owned(), revision, listen, pod_key: pod_key.to_owned(), config: config.clone() };
    input.write_all(format!("{}\n", serde_json::to_string(&brief)?).as_bytes()).await?;
    let views = registry.watch();
    tokio::spawn(throng_registry::feed(views, input));
    let mut line = String::new();
    let reading = BufReader::new(output).read_line(&mut line).await;
    reading.context("the gateway process says nothing")?;
    let started: Started = serde_json::from_str(&line).context("the gateway process did not start")?;
    let pid = process.id().context("the gateway process has ended")?;
    let instance = InstanceId::new(&started.instance)?;
    Ok(Child { instance, grpc: started.grpc, http: started.http, pid, process })
}

/// What is known of a child without asking it. Nobody drains it: the page that would is not served by children.
pub(crate) struct ChildHooks {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
}

impl Hooks for ChildHooks {
    fn sample(&self) -> PressureSample {
        PressureSample { left: 1, ..PressureSample::default() }
    }

    fn drain(&self, _: &DrainRequest) -> u64 {
        1
    }

    fn undrain(&self) -> u64 {
        1
    }

    fn describe(&self) -> DescribeReply {
        let ready = std::net::TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).is_ok();
        let reasons = if ready { Vec::new() } else { vec!["its port is not open yet".to_owned()] };
        DescribeReply {
            role: Role::Gateway.to_string(),
            pod: self.name.clone(),
            address: self.address.to_string(),
            ready,
            reasons,
            ..DescribeReply::default()
        }
    }
}
