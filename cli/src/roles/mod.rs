//! Roles put together: what a role needs from the node, and what the node needs from the role.

mod chatroom;
mod command;
mod gateway;
mod message;
mod mounted;
mod node;
mod policy;
mod rotation;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use prometheus_client::registry::Registry as Metrics;
use serde::{Deserialize, Serialize};
use throng_core::Role;
use throng_node::config::{self, ConfigError, Sources};
use throng_node::cpu::Meter;
use throng_node::health;
use throng_node::ownership::{Driver, Handle as Ownership, Identity};
use throng_node::service::{Ending, Hooks};
use throng_proto::key::PodKey;
use throng_proto::link::{DescribeReply, DrainRequest, PressureSample};
use throng_registry::Registry;
use throng_store::Store;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::error;

pub(crate) use command::{RoleArgs, run};

use crate::token;

/// Slots that may open or close before the role has taken note.
const SLOT_QUEUE: usize = 8192;

/// Configuration of the three roles: the sections of a configuration file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Of gateways.
    pub(crate) gateway: throng_gateway::Options,
    /// Of chatroom Pods.
    pub(crate) chatroom: throng_chatroom::Options,
    /// Of message Pods.
    pub(crate) message: throng_message::Options,
}

/// The configuration of `throng dev`: its fixed keys and laxer limits, then the sources.
pub(crate) fn dev_config(sources: &Sources) -> Result<Config, ConfigError> {
    use throng_gateway::options::{Algorithm, JwtKey, ResumeKey, Secret};
    let mut config: Config = config::load(sources)?;
    let auth = &mut config.gateway.auth;
    if auth.jwt.is_empty() {
        auth.jwt = vec![JwtKey { id: None, algorithm: Algorithm::HS256, key: Secret(token::DEV_SECRET.into()) }];
    }
    if auth.resume.is_empty() {
        let secret = Secret("throng-dev-resume-key-of-32-bytes!".into());
        auth.resume = vec![ResumeKey { id: "dev".into(), secret }];
    }
    if auth.api_keys.is_empty() {
        auth.api_keys = vec![Secret(crate::dev::DEV_API_KEY.into())];
    }
    if config.gateway.reactors == 0 {
        config.gateway.reactors = 1;
    }
    config.chatroom.rooms.user_messages_per_second.get_or_insert(100);
    Ok(config)
}

/// What a process gives its role.
pub(crate) struct Parts {
    pub(crate) identity: Identity,
    pub(crate) registry: Arc<dyn Registry>,
    /// Where rooms outlive their owner, in the name of this process.
    pub(crate) store: Arc<dyn Store>,
    /// Other processes use the same store: fences and grace mean something.
    pub(crate) store_is_shared: bool,
    /// The process has no other role: what CPU it uses the role uses.
    pub(crate) has_process: bool,
    pub(crate) pod_key: PodKey,
    /// gRPC of the role and of `Node`.
    pub(crate) grpc: TcpListener,
    /// Health and metrics.
    pub(crate) http: TcpListener,
    /// Where a gateway takes connections, shared with the other gateways of the machine.
    pub(crate) public: SocketAddr,
    /// Pages of a gateway beside the server API.
    pub(crate) page: axum::Router,
    /// Ends the role with a goodbye: what it owns is given up first.
    pub(crate) stop: CancellationToken,
    /// Ends it at once.
    pub(crate) cut: CancellationToken,
    /// Said before the last drain.
    pub(crate) ending: Ending,
}

/// A role ready to run.
pub(crate) struct Running {
    pub(crate) hooks: Arc<dyn Hooks>,
    /// Runs it to its end; dropping it ends it at once.
    pub(crate) serve: Serve,
}

/// A role as a future.
pub(crate) type Serve = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Puts a role together. To be called inside the runtime that will run it.
pub(crate) fn assemble(role: Role, config: &Config, parts: Parts) -> Result<Running> {
    match role {
        Role::Gateway => gateway::assemble(config.gateway.clone(), parts),
        Role::Chatroom => chatroom::assemble(config.chatroom.clone(), parts),
        Role::Message => message::assemble(config.message, parts),
    }
}

/// Membership and slots of a process, on their way to its role.
struct Membership {
    driver: Driver,
    ownership: Ownership,
    slots: mpsc::Receiver<throng_core::routes::SlotChange>,
}

impl Membership {
    fn new(parts: &Parts) -> Self {
        let (changes, slots) = mpsc::channel(SLOT_QUEUE);
        let (driver, ownership) = Driver::new(parts.identity.clone(), Arc::clone(&parts.registry), changes);
        let driver = driver.with_peers(parts.pod_key.clone());
        let driver = if parts.store_is_shared { driver.with_store(Arc::clone(&parts.store)) } else { driver };
        Self { driver, ownership, slots }
    }
}

/// Measures the CPU use of a role whose work is done by the thread that calls this.
fn cpu_of_one_thread(has_process: bool) -> Meter {
    if has_process { Meter::of_process(1) } else { Meter::of_this_thread() }
}

/// Who serves what, kept up to date from the registry until it is gone.
fn watch_routes(registry: &dyn Registry) -> tokio::sync::watch::Receiver<Arc<throng_core::routes::Routes>> {
    let mut views = registry.watch();
    let (routes, watched) = tokio::sync::watch::channel(views.borrow_and_update().routes());
    tokio::spawn(async move {
        while views.changed().await.is_ok() {
            let now = views.borrow_and_update().routes();
            if routes.send(now).is_err() {
                break;
            }
        }
    });
    watched
}

/// Health and metrics of a process, as a task that ends with it.
fn serve_health(listener: TcpListener, hooks: Arc<dyn Hooks>, metrics: Metrics, end: CancellationToken) -> Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = health::router(hooks, Arc::new(metrics));
    tokio::spawn(async move {
        if let Err(error) = health::serve(listener, router, end).await {
            error!(%error, "health and metrics are not served any more");
        }
    });
    Ok(())
}

/// How long a drain may take; none: as long as it takes.
fn within(request: &DrainRequest) -> Option<Duration> {
    (request.deadline_ms > 0).then(|| Duration::from_millis(request.deadline_ms))
}

/// A sample of a role that owns slots.
fn sample(load: std::collections::HashMap<String, f64>, ownership: &Ownership, left: u64) -> PressureSample {
    let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
    let draining = ownership.is_draining();
    PressureSample { at_ms: u64::try_from(at_ms).unwrap_or(u64::MAX), load, draining, left }
}

/// Who a process is, and whether it is ready: it has its lease, and no slot of its role is without an owner.
fn describe(identity: &Identity, ownership: &Ownership) -> DescribeReply {
    let (status, refusals) = (ownership.status(), ownership.refusals());
    let mut reasons = Vec::new();
    if !status.lease {
        reasons.push("its lease is not confirmed".to_owned());
        reasons.extend(refusals.registry.map(|reason| format!("etcd refuses it: {reason}")));
    }
    if status.taking > 0 {
        reasons.push(format!("{} slots are being taken over", status.taking));
    }
    if !status.store {
        reasons.push("the store does not answer it".to_owned());
        reasons.extend(refusals.store.map(|reason| format!("Redis refuses it: {reason}")));
    }
    if status.blind > 0 {
        reasons.push(format!("{} slots were opened without the store", status.blind));
    }
    if status.unowned > 0 {
        reasons.push(format!("{} slots have no owner", status.unowned));
    }
    DescribeReply {
        role: identity.role.to_string(),
        pod: identity.member.pod.to_string(),
        instance: identity.instance.to_string(),
        revision: identity.member.revision.to_string(),
        address: identity.member.address.to_string(),
        ready: reasons.is_empty(),
        draining: ownership.is_draining(),
        reasons,
        incarnation: status.incarnation,
        slots: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;
    use throng_core::{InstanceId, Millis};
    use throng_registry::{Member, MemoryRegistry};
    use throng_store::MemoryDb;

    use super::*;

    fn parts(role: Role) -> Parts {
        let local = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (grpc, http, public) = (local(), local(), local());
        let instance = InstanceId::new("pod-0").unwrap();
        let member = Member {
            pod: "pod-0".into(),
            uid: "uid".into(),
            address: grpc.local_addr().unwrap().to_string().into(),
            http_address: http.local_addr().unwrap().to_string().into(),
            revision: "1".into(),
            draining: false,
            redis_ok: true,
            ready: true,
            started_ms: Millis(0),
        };
        Parts {
            store: Arc::new(MemoryDb::default().store(instance.clone())),
            identity: Identity { role, instance, member },
            registry: Arc::new(MemoryRegistry::new()),
            store_is_shared: false,
            has_process: false,
            pod_key: PodKey::new("key").unwrap(),
            grpc,
            http,
            public: public.local_addr().unwrap(),
            page: axum::Router::new(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            ending: Ending::default(),
        }
    }

    #[tokio::test]
    async fn each_role_tells_every_load_that_its_pool_can_have_a_target_for() {
        let spec = json!({
            "image": "throng:0.1.0",
            "redis": {"url": "redis://redis:6379"},
            "etcd": {"endpoints": ["http://etcd:2379"]},
            "auth": {"jwt": {"secretRef": {"name": "live-auth"}}},
        });
        let spec = throng_crds::validate::cluster(&serde_json::from_value(spec).unwrap()).unwrap().spec;
        let config = dev_config(&Sources::default()).unwrap();
        for role in Role::ALL {
            let running = assemble(role, &config, parts(role)).unwrap();
            let load = running.hooks.sample().load;
            for target in &spec.pools.of(role).targets {
                assert!(load.contains_key(target.load), "{role} does not tell {}: {load:?}", target.load);
            }
        }
    }
}
