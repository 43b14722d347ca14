//! One Pod of `throng dev`: a role on a thread of its own, with real sockets to the others.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use throng_core::{InstanceId, Role};
use throng_node::ownership::{Driver, Identity};
use throng_node::service::{Ending, Hooks};
use throng_plan::status::Utc;
use throng_proto::key::PodKey;
use throng_registry::{Member, Registry};
use throng_store::{MemoryDb, RedisOptions, RedisStore, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::child::{self, ChildHooks};
use super::now;
use crate::roles::{self, Config, Parts};

/// A Pod's sockets are bound within so long.
const START_WITHIN: Duration = Duration::from_secs(5);

/// What every Pod is made of.
#[derive(Clone)]
pub(crate) struct Ingredients {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) stores: Stores,
    pub(crate) pod_key: PodKey,
    pub(crate) pod_key_text: String,
    /// Each gateway gets a process of its own.
    pub(crate) isolate_gateways: bool,
    /// Where gateways take connections, all of them on one port.
    pub(crate) listen: SocketAddr,
    /// The page, for gateways.
    pub(crate) page: axum::Router,
}

/// Where rooms outlive their Pod: memory that all Pods share, or a Redis.
#[derive(Clone)]
pub(crate) enum Stores {
    /// Gone with the process.
    Memory(MemoryDb),
    /// A Redis, under a cluster name of this run.
    Redis {
        /// Where it is.
        url: String,
        /// Part of every key.
        cluster: String,
    },
}

impl Stores {
    /// The store in the name of one process.
    fn of(&self, instance: &InstanceId) -> Result<Arc<dyn Store>> {
        Ok(match self {
            Self::Memory(db) => Arc::new(db.store(instance.clone())),
            Self::Redis { url, cluster } => {
                let options = RedisOptions::standalone(url, super::NAMESPACE, cluster, instance.clone());
                Arc::new(RedisStore::open(options).context("cannot use this Redis")?)
            }
        })
    }
}

/// A Pod to be made.
#[derive(Clone)]
pub(crate) struct Birth {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Number of its revision.
    pub(crate) revision: u64,
    pub(crate) index: u32,
    /// What its revision runs with.
    pub(crate) config: Arc<Config>,
}

/// A running or dead Pod.
pub(crate) struct Pod {
    pub(crate) role: Role,
    pub(crate) revision: u64,
    pub(crate) index: u32,
    pub(crate) uid: String,
    pub(crate) created: Utc,
    /// It has the label that Services select on a cluster.
    pub(crate) serving: bool,
    /// Since when it is to end.
    pub(crate) terminating: Option<Utc>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) pid: u32,
    /// Asks it to end with a goodbye.
    pub(crate) stop: CancellationToken,
    /// When it was seen to have ended.
    pub(crate) died: Option<Instant>,
    kill: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Pod {
    /// Starts a Pod. Returns when its sockets are bound; it serves a moment later.
    pub(crate) fn start(birth: &Birth, with: &Ingredients) -> Result<Self> {
        let role = birth.role;
        if role == Role::Gateway && with.isolate_gateways {
            return Self::start_process(birth, with);
        }
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let grpc_listener = TcpListener::bind(loopback).context("no port for gRPC")?;
        let http_listener = TcpListener::bind(loopback).context("no port for health and metrics")?;
        let (grpc, http) = (grpc_listener.local_addr()?, http_listener.local_addr()?);
        let identity = identity(role, &birth.name, birth.revision, grpc, http)?;
        let uid = identity.member.uid.to_string();
        let parts = Parts {
            store: with.stores.of(&identity.instance)?,
            store_is_shared: true,
            has_process: false,
            identity,
            registry: Arc::clone(&with.registry),
            pod_key: with.pod_key.clone(),
            grpc: grpc_listener,
            http: http_listener,
            public: with.listen,
            page: with.page.clone(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            ending: Ending::default(),
        };
        let stop = parts.stop.clone();
        // Threads of a role that are not this one end by it too.
        let kill = parts.cut.clone();
        let killed = kill.clone();
        let config = Arc::clone(&birth.config);
        let (started, ready) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name(birth.name.clone()).spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                match roles::assemble(role, &config, parts) {
                    Ok(running) => {
                        let _ = started.send(Ok(running.hooks));
                        tokio::select! {
                            () = killed.cancelled() => {}
                            () = running.serve => {}
                        }
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                }
            });
            // Whatever still runs is dropped where it is, as by a SIGKILL.
            runtime.shutdown_background();
        })?;
        let hooks = ready.recv_timeout(START_WITHIN).context("it did not start within 5 s")??;
        let running = Run { hooks, grpc, http, pid: std::process::id(), uid, stop, kill, thread };
        Ok(Self::born(birth, running))
    }

    fn born(birth: &Birth, run: Run) -> Self {
        let Run { hooks, grpc, http, pid, uid, stop, kill, thread } = run;
        Self {
            role: birth.role,
            revision: birth.revision,
            index: birth.index,
            uid,
            created: now(),
            serving: false,
            terminating: None,
            hooks,
            grpc,
            http,
            pid,
            stop,
            died: None,
            kill,
            thread: Some(thread),
        }
    }

    /// Starts a gateway as a process. Its membership is kept here: its own registry only reads.
    fn start_process(birth: &Birth, with: &Ingredients) -> Result<Self> {
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let (stopped, killed) = (stop.clone(), kill.clone());
        let (started, ready) = std::sync::mpsc::sync_channel(1);
        let (with, named) = (with.clone(), birth.clone());
        let thread = std::thread::Builder::new().name(birth.name.clone()).spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                let Birth { name, revision, config, .. } = &named;
                let begun =
                    child::start((name, *revision), with.listen, &with.pod_key_text, config, &*with.registry).await;
                let mut child = match begun {
                    Ok(child) => child,
                    Err(error) => return drop(started.send(Err(error))),
                };
                let member = identity(Role::Gateway, name, *revision, child.grpc, child.http);
                let Ok(member) = member.map(|identity| Identity { instance: child.instance.clone(), ..identity })
                else {
                    return;
                };
                let uid = member.member.uid.to_string();
                let (driver, _handle) = Driver::new(member, Arc::clone(&with.registry), mpsc::channel(1).0);
                let _ = started.send(Ok((child.grpc, child.http, child.pid, uid)));
                tokio::select! {
                    () = killed.cancelled() => {}
                    () = driver.run(|| 0, stopped) => {}
                    _ = child.process.wait() => {}
                }
                let _ = child.process.kill().await;
            });
            runtime.shutdown_background();
        })?;
        let (grpc, http, pid, uid) = ready.recv_timeout(START_WITHIN).context("no process within 5 s")??;
        let hooks = Arc::new(ChildHooks { name: birth.name.clone(), address: http });
        Ok(Self::born(birth, Run { hooks, grpc, http, pid, uid, stop, kill, thread }))
    }

    /// Writes the label that Services select: here a gateway itself takes clients or takes none.
    pub(crate) fn label(&mut self, serving: bool) {
        self.serving = serving;
        self.hooks.open(serving);
    }

    /// Ends it at once; whether it has ended.
    pub(crate) fn kill(&mut self) -> bool {
        self.kill.cancel();
        self.notice_end();
        self.died.is_some()
    }

    /// Waits for its end.
    pub(crate) fn join(&mut self, within: Duration) {
        let until = Instant::now() + within;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.notice_end();
    }

    /// Notes that it has ended, if it has.
    pub(crate) fn notice_end(&mut self) {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            self.thread = None;
            self.died = Some(Instant::now());
        }
    }
}

/// What has been started of a Pod.
struct Run {
    hooks: Arc<dyn Hooks>,
    grpc: SocketAddr,
    http: SocketAddr,
    pid: u32,
    uid: String,
    stop: CancellationToken,
    kill: CancellationToken,
    thread: JoinHandle<()>,
}

/// A new run of a Pod on this machine.
pub(super) fn identity(role: Role, name: &str, revision: u64, grpc: SocketAddr, http: SocketAddr) -> Result<Identity> {
    let run = uuid::Uuid::new_v4().simple().to_string();
    Ok(Identity {
        role,
        instance: InstanceId::new(&format!("{name}-{}", &run.get(..8).unwrap_or_default()))?,
        member: Member {
            pod: name.into(),
            uid: run.as_str().into(),
            address: grpc.to_string().into(),
            http_address: http.to_string().into(),
            revision: revision.to_string().into(),
            draining: false,
            redis_ok: true,
            ready: true,
            started_ms: now().0,
        },
    })
}
