//! The process: everything that runs in it, and what ends it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use kube::runtime::events::{Recorder, Reporter};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cluster::fleet;
use crate::cluster::worker::Shared;
use crate::events::Teller;
use crate::health::{self, Health};
use crate::kube_api::{Clients, Observer, Unusable};
use crate::lease::{Keeper, Leadership};
use crate::metrics::Metrics;
use crate::names;
use crate::options::Options;
use crate::watch::{Hub, Watches};

/// Workers have so long to end what they are doing; what they do is safe to be cut off.
const END_WORKERS: Duration = Duration::from_millis(800);
/// Giving the Lease back may take so long.
const END_LEASE: Duration = Duration::from_secs(4);

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No way to the API server.
    #[error(transparent)]
    Kube(#[from] Unusable),
    /// It cannot listen.
    #[error("cannot listen on {0}: {1}")]
    Listen(std::net::SocketAddr, std::io::Error),
    /// A part that must never end has ended: the process is started again rather than running on without it.
    #[error("{0} has ended")]
    Part(&'static str),
}

/// Runs the operator until stopped.
///
/// # Errors
/// Why it could not start, or which of its parts has ended.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), Error> {
    let observer = Observer::default();
    let clients = Clients::connect(&observer).await?;
    run_with(options, clients, observer, stop).await
}

/// Runs it with clients that are given.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    options: Options,
    clients: Clients,
    observer: Observer,
    stop: CancellationToken,
) -> Result<(), Error> {
    let listener = listen(options.listen).await.map_err(|error| Error::Listen(options.listen, error))?;
    // No other process has this name: one that is started again is another leader.
    let me = format!("{}_{:08x}", options.pod, rand::random::<u32>());
    info!(%me, namespaces = %options.scope, "starting");
    let metrics = Metrics::new(observer.clone());
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let (hub, mut watching) = (Hub::default(), JoinSet::new());
    let watches = Watches::start(&clients.usual, &options.scope, &hub, &mut watching);
    let leases: Api<Lease> = Api::namespaced(clients.strict.clone(), &options.namespace);
    let (keeper, leadership) = Keeper::new(leases, &options.lease, &me);
    let reporter = Reporter { controller: names::MANAGER.to_owned(), instance: Some(me.clone()) };
    let recorder = Recorder::new(clients.usual.clone(), reporter);
    let shared = Shared {
        clients,
        watches: watches.clone(),
        leadership: leadership.clone(),
        metrics: metrics.clone(),
        teller: Teller::new(recorder, metrics.clone()),
    };
    let health = Health { watches, observer, metrics: metrics.clone(), registry: Arc::new(registry) };
    let serving = tokio::spawn(async move { axum::serve(listener, health::router(health)).await });
    let (end_lease, end_fleet) = (CancellationToken::new(), CancellationToken::new());
    let mut keeping = tokio::spawn(keeper.run(end_lease.clone()));
    let mut fleet = tokio::spawn(fleet::run(shared, hub, end_fleet.clone()));
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        _ = &mut keeping => Err(Error::Part("the keeper of the Lease")),
        _ = &mut fleet => Err(Error::Part("the loop over all clusters")),
        _ = watching.join_next() => Err(Error::Part("a watch")),
        _ = serving => Err(Error::Part("the server of health and metrics")),
        () = mirror(leadership, &metrics) => Ok(()),
    };
    info!("ending");
    end_fleet.cancel();
    if !fleet.is_finished() && timeout(END_WORKERS, &mut fleet).await.is_err() {
        fleet.abort();
    }
    end_lease.cancel();
    if !keeping.is_finished() && timeout(END_LEASE, keeping).await.is_err() {
        warn!("the Lease was not given back in time");
    }
    ended
}

/// Listens. All of IPv4 means all of both families where the machine has IPv6: a Pod may have no other address.
async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    if address.ip() == Ipv4Addr::UNSPECIFIED
        && let Ok(both) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, address.port())).await
    {
        return Ok(both);
    }
    TcpListener::bind(address).await
}

/// Shows in the metrics whether this process leads.
async fn mirror(mut leadership: Leadership, metrics: &Metrics) {
    loop {
        metrics.leads.set(i64::from(leadership.term().is_some()));
        leadership.changed().await;
    }
}
