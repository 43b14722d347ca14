//! `throng operator`: the operator as a process.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use throng_operator::{Options, Scope};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::logs;

/// How the operator runs.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  throng operator                            the clusters of its own namespace
  throng operator --namespaces live,stage    of these
  throng operator --namespaces '*'           of all

It speaks to the API server as the kubeconfig says, or as a Pod's service account. Run two: one leads, the other stands by.
SIGTERM gives the lead back. Conditions, Events and metrics are explained in docs/operator.md.")]
pub(crate) struct OperatorArgs {
    /// Namespaces to look after, with commas between them; `*`: all. Its own without it.
    #[arg(long, value_name = "NAMES", env = "WATCH_NAMESPACES")]
    namespaces: Option<Scope>,
    /// Where /healthz, /readyz and /metrics listen.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Namespace that the operator runs in: its Lease lies there.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "default")]
    namespace: String,
    /// Name of its Pod: begins its name as a leader. The host's name without it.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pod: Option<String>,
    /// Name of the Lease: two operators with different Leases never hear of each other.
    #[arg(long, value_name = "NAME", default_value = "throng-operator")]
    lease: String,
    /// Run nothing: succeed if there is no `ChatroomCluster` in these namespaces, so that nobody misses an operator.
    #[arg(long)]
    may_be_uninstalled: bool,
}

/// Runs it until it is told to end.
pub(crate) fn run(args: OperatorArgs) -> Result<ExitCode> {
    // What the client says of a call that failed is said again by whoever made the call, with what it was for.
    logs::start("info,kube_client=off");
    let scope = args.namespaces.unwrap_or_else(|| Scope::Namespaces(vec![args.namespace.clone()]));
    if args.may_be_uninstalled {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(throng_operator::uninstall::check(&scope))?;
        return Ok(ExitCode::SUCCESS);
    }
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let options = Options {
        scope,
        listen: args.listen,
        pod: args.pod.unwrap_or_else(host),
        namespace: args.namespace,
        lease: args.lease,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = CancellationToken::new();
        let told = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            told.cancel();
        });
        throng_operator::run(options, stop).await?;
        Ok(ExitCode::SUCCESS)
    })
}
