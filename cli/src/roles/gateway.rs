//! The gateway role on a node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use throng_gateway::api::{self, ApiDeps, ApiKeys, Calls};
use throng_gateway::options::Secret;
use throng_gateway::{Deps, Handle, Load, Options, Service};
use throng_node::cpu::Meter;
use throng_node::ownership::{Handle as Ownership, Identity};
use throng_node::service::{Hooks, NodeService};
use throng_proto::link::{DescribeReply, DrainRequest, PressureSample, ShedRequest};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tracing::error;

use super::{
    Membership, Metrics, Parts, Running, describe, mounted, policy, rotation, sample, serve_health, watch_routes,
    within,
};

/// Rates of a gateway are taken over this long.
const RATES_OVER: Duration = Duration::from_secs(1);
/// Lateness and errors are told of spans of this length.
const HEALTH_SPAN: Duration = Duration::from_millis(throng_core::gateway::HEALTH_SPAN_MS);

pub(super) fn assemble(mut options: Options, parts: Parts) -> Result<Running> {
    let Membership { driver, ownership, slots: _ } = Membership::new(&parts);
    let Parts { identity, registry, has_process, pod_key, grpc, http, public, page, stop, cut, ending, .. } = parts;
    if options.reactors == 0 {
        options.reactors = std::thread::available_parallelism().map_or(1, usize::from);
    }
    let listeners = (0..options.reactors).map(|_| throng_gateway::bind(public)).collect::<std::io::Result<_>>();
    let listeners = listeners.with_context(|| format!("cannot listen on {public}"))?;
    let reactors = options.reactors;
    let (downstream, auth) = (options.downstream, options.auth.clone());
    options.auth = mounted::with_keys(&auth)?;
    let read = options.auth.clone();
    let api_keys = ApiKeys::new(&texts(&read.api_keys));
    let routes = watch_routes(&*registry);
    let calls = Calls::default();
    let api = api::router(ApiDeps {
        keys: api_keys.clone(),
        routes: routes.clone(),
        pod_key: pod_key.clone(),
        deadline: api::DEADLINE,
        counted: calls.clone(),
    });
    let (service, handle) = Service::new(Deps {
        options,
        listeners,
        key: pod_key.clone(),
        routes,
        instance: identity.instance.clone(),
        pod: identity.member.pod.to_string(),
        revision: identity.member.revision.to_string(),
        pages: page.merge(api),
        stop: cut.clone(),
    })?;
    let told = handle.clone();
    policy::follow(&*registry, cut.clone(), move |rooms| told.set_downstream(policy::of_gateway(rooms, downstream)));
    let told = handle.clone();
    rotation::follow_auth(auth, read, cut.clone(), move |auth| {
        told.set_keys(auth)?;
        api_keys.replace(&texts(&auth.api_keys));
        Ok(())
    });
    let health = Mutex::new(Health::new(&handle));
    let cpu = cpu(&handle, has_process, reactors);
    let hooks = Arc::new(Gateway { identity, handle: handle.clone(), ownership, load: Mutex::default(), health, cpu });
    let node =
        InterceptedService::new(NodeService::server(Arc::clone(&hooks) as Arc<dyn Hooks>, ending), pod_key.demand());
    grpc.set_nonblocking(true)?;
    let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(grpc)?);
    let mut metrics = Metrics::default();
    throng_gateway::metrics::register(&handle, &calls, &mut metrics);
    serve_health(http, Arc::clone(&hooks) as Arc<dyn Hooks>, metrics, cut.clone())?;
    let serve = Box::pin(async move {
        let end = cut.clone();
        tokio::spawn(async move {
            let server = Server::builder().add_service(node);
            if let Err(error) = server.serve_with_incoming_shutdown(incoming, end.cancelled_owned()).await {
                error!(%error, "the gRPC of the node has failed");
            }
        });
        let serving = tokio::spawn(service.run());
        let pulse = move || if handle.is_alive() { 0 } else { 1000 };
        driver.run(pulse, stop).await;
        cut.cancel();
        if let Ok(Err(error)) = serving.await {
            error!(%error, "the gateway role has failed");
        }
    });
    Ok(Running { hooks, serve })
}

/// Measures the CPU use of a gateway: its process, or its threads where others share that.
fn cpu(handle: &Handle, has_process: bool, reactors: usize) -> Meter {
    let handle = handle.clone();
    if has_process { Meter::of_process(reactors) } else { Meter::new(reactors, move || handle.cpu_ms() * 1000) }
}

fn texts(keys: &[Secret]) -> Vec<String> {
    keys.iter().map(|key| key.0.clone()).collect()
}

/// What the node asks of the role.
struct Gateway {
    identity: Identity,
    handle: Handle,
    ownership: Ownership,
    load: Mutex<Rates>,
    health: Mutex<Health>,
    cpu: Meter,
}

/// How well the gateway did its work in the latest span of time that is over.
struct Health {
    begun: std::time::Instant,
    seen: throng_gateway::health::Seen,
    last: throng_gateway::health::Health,
}

impl Health {
    fn new(handle: &Handle) -> Self {
        let seen = throng_gateway::health::Seen::now(handle.counters());
        Self { begun: std::time::Instant::now(), seen, last: throng_gateway::health::Health::default() }
    }

    /// Its loads, as a sample tells them.
    fn loads(&mut self, handle: &Handle) -> impl Iterator<Item = (String, f64)> + use<> {
        if self.begun.elapsed() >= HEALTH_SPAN {
            let seen = throng_gateway::health::Seen::now(handle.counters());
            self.last = seen.since(&self.seen);
            (self.begun, self.seen) = (std::time::Instant::now(), seen);
        }
        self.last.loads().map(|(name, value)| (name.to_owned(), value))
    }
}

/// Rates since a moment, taken anew at most once a second, however many ask.
#[derive(Default)]
struct Rates {
    since: Option<throng_gateway::Sample>,
    taken: Option<std::time::Instant>,
    load: Load,
}

impl Gateway {
    fn load(&self) -> Load {
        let mut rates = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        if rates.taken.is_none_or(|taken| taken.elapsed() >= RATES_OVER) {
            rates.taken = Some(std::time::Instant::now());
            let mut since = rates.since;
            rates.load = self.handle.load(&mut since);
            rates.since = since;
        }
        Load { connections: self.handle.connections() as f64, ..rates.load }
    }
}

impl Hooks for Gateway {
    fn sample(&self) -> PressureSample {
        let load = self.load();
        let load = HashMap::from([
            ("connections".to_owned(), load.connections),
            ("egress_mbps".to_owned(), load.egress_mbps),
            ("cpu_percent".to_owned(), self.cpu.percent()),
            ("deliveries_per_second".to_owned(), load.deliveries_per_second),
        ]);
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let load = load.into_iter().chain(health.loads(&self.handle)).collect();
        sample(load, &self.ownership, self.handle.connections())
    }

    fn drain(&self, request: &DrainRequest) -> u64 {
        // Others stop choosing it first; then its clients go, at a pace.
        self.ownership.drain(within(request));
        self.handle.drain(Duration::from_millis(request.deadline_ms), request.per_second);
        self.handle.connections()
    }

    fn undrain(&self) -> u64 {
        self.ownership.undrain();
        self.handle.undrain();
        self.handle.connections()
    }

    fn shed(&self, request: &ShedRequest) -> u64 {
        self.handle.shed(request.users, request.per_second);
        self.handle.connections()
    }

    fn open(&self, open: bool) {
        self.handle.open(open);
    }

    fn describe(&self) -> DescribeReply {
        let mut described = describe(&self.identity, &self.ownership);
        if !self.handle.is_alive() {
            described.reasons.push("a reactor has not answered for a second".to_owned());
        }
        described.ready = described.reasons.is_empty();
        described
    }
}
