//! Everything that a bench starts: stores, Pods, their net, their operator. Dropping it ends all of it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::json;
use throng_core::Role;

use super::args::FailoverArgs;
use super::child::{Child, Place};
use super::faults::{Blow, Fault};
use super::net::Net;
use super::operator::{Names, Operator};
use super::stores::{self, Etcd, PRIMARY, Redis};
use crate::bench::fleet::Endpoint;

/// Pods of each role.
pub(super) const PODS: usize = 2;
/// The cluster's name in etcd and Redis.
const NAMESPACE: &str = "bench";

/// The world under test.
pub(super) struct World {
    pub(super) operator: Operator,
    pods: Vec<Pod>,
    /// Places of Pods that were killed.
    graves: Vec<Place>,
    redis: Option<Redis>,
    etcd: Option<Etcd>,
    net: Option<Net>,
    config: PathBuf,
    sets: Vec<String>,
    logs: PathBuf,
    started: u32,
    cluster: String,
    /// Signs tokens.
    pub(super) secret: String,
    _folder: Folder,
}

/// In which order the first Pods start.
const ORDER: [Role; 3] = [Role::Chatroom, Role::Message, Role::Gateway];

/// One process of a role.
struct Pod {
    role: Role,
    name: String,
    public: SocketAddr,
    log: PathBuf,
    // Before its place, so that it ends first.
    child: Child,
    place: Place,
}

/// A folder that goes when the bench goes.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl World {
    /// Starts all of it; [`Operator::look`] says when it is ready.
    pub(super) fn start(args: &FailoverArgs, faults: &[Fault]) -> anyhow::Result<Self> {
        let given = args.redis.is_some() || args.etcd.is_some();
        let mut net = net(given, faults)?;
        let folder = Folder(std::env::temp_dir().join(format!("throng-failover-{}", std::process::id())));
        let _ = fs::remove_dir_all(&folder.0);
        let logs = args.logs.clone().unwrap_or_else(|| folder.0.join("logs"));
        fs::create_dir_all(&folder.0)?;
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let (mut redis, mut etcd) = (None, None);
        if args.redis.is_none() {
            let watched = faults.contains(&Fault::RedisFailover);
            redis = Some(Redis::start(watched, net.as_mut(), &folder.0, &logs)?);
        }
        if args.etcd.is_none() {
            let members = if faults.contains(&Fault::EtcdLeader) { 3 } else { 1 };
            etcd = Some(Etcd::start(members, net.as_mut(), &folder.0, &logs)?);
        }
        let etcd_urls = etcd.as_ref().map_or_else(|| args.etcd.iter().cloned().collect(), Etcd::urls);
        let cluster = format!("failover-{}", uuid::Uuid::new_v4().simple());
        let secret = uuid::Uuid::new_v4().to_string();
        let config = folder.0.join("throng.yaml");
        fs::write(&config, configuration(args, &cluster, redis.as_ref(), &etcd_urls, &secret).to_string())?;
        let mut world = Self {
            operator: Operator::start(etcd_urls, NAMESPACE, &cluster, first_names())?,
            pods: Vec::new(),
            graves: Vec::new(),
            redis,
            etcd,
            net,
            config,
            sets: args.set.clone(),
            logs,
            started: 0,
            cluster,
            secret,
            _folder: folder,
        };
        world.operator.placed()?;
        world.replace()?;
        Ok(world)
    }

    /// Where clients connect, gateway by gateway.
    pub(super) fn endpoints(&self) -> anyhow::Result<Vec<Endpoint>> {
        let gateways = self.pods.iter().filter(|pod| pod.role == Role::Gateway);
        gateways.map(|pod| Endpoint::parse(&format!("ws://{}/connect", pod.public))).collect()
    }

    /// Fails if something ended that should run, or if the bench was asked to end.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        if self.operator.interrupted() {
            bail!("interrupted");
        }
        for pod in &mut self.pods {
            pod.child.check(&pod.log).with_context(|| format!("{} broke down", pod.name))?;
        }
        self.redis.as_mut().map_or(Ok(()), Redis::check)?;
        self.etcd.as_mut().map_or(Ok(()), Etcd::check)
    }

    /// Why the stores are not as they were; none if they are.
    pub(super) fn stores_not_restored(&self) -> Option<String> {
        let redis = self.redis.as_ref().and_then(Redis::not_restored);
        redis.or_else(|| self.etcd.as_ref().and_then(Etcd::not_restored))
    }

    /// Where Redis, or the Sentinels, of the bench's own are reached.
    pub(super) fn redis_urls(&self) -> Vec<String> {
        self.redis.as_ref().map(Redis::urls).unwrap_or_default()
    }

    /// Namespace and name of the cluster in the stores.
    pub(super) fn names(&self) -> (&str, &str) {
        (NAMESPACE, &self.cluster)
    }

    /// Does it.
    pub(super) fn strike(&mut self, fault: Fault) -> anyhow::Result<()> {
        match fault.blow() {
            Blow::Kill(role) => {
                let place = self.oldest(role)?;
                let Pod { child, place, .. } = self.pods.remove(place);
                drop(child);
                // Who connects there is refused, until another Pod has its turn.
                self.graves.push(place);
                Ok(())
            }
            Blow::Stop(role) => self.pod(role)?.child.stop(),
            Blow::Isolate(role) => {
                let victim = self.pod(role)?;
                self.others(&victim.name).into_iter().try_for_each(|other| victim.place.space()?.part(other.space()?))
            }
            Blow::Part(one, other) => self.pod(one)?.place.space()?.part(self.pod(other)?.place.space()?),
            Blow::Redis(harm) => self.redis.as_mut().context("this Redis is not the bench's own")?.strike(harm),
            Blow::Etcd(harm) => self.etcd.as_mut().context("this etcd is not the bench's own")?.strike(harm),
            Blow::Move => {
                self.operator.swap(true);
                Ok(())
            }
        }
    }

    /// Undoes it, where it does not stay done.
    pub(super) fn heal(&mut self, fault: Fault) -> anyhow::Result<()> {
        match fault.blow() {
            Blow::Kill(_) => Ok(()),
            Blow::Stop(role) => self.pod(role)?.child.go_on(),
            Blow::Isolate(role) => {
                let victim = self.pod(role)?;
                self.others(&victim.name).into_iter().try_for_each(|other| victim.place.space()?.join(other.space()?))
            }
            Blow::Part(one, other) => self.pod(one)?.place.space()?.join(self.pod(other)?.place.space()?),
            Blow::Redis(harm) => self.redis.as_mut().context("this Redis is not the bench's own")?.heal(harm),
            Blow::Etcd(harm) => self.etcd.as_mut().context("this etcd is not the bench's own")?.heal(harm),
            Blow::Move => {
                self.operator.swap(false);
                Ok(())
            }
        }
    }

    /// Starts another Pod for each that is gone, as Kubernetes would.
    pub(super) fn replace(&mut self) -> anyhow::Result<()> {
        self.graves.clear();
        for role in ORDER {
            while self.pods.iter().filter(|pod| pod.role == role).count() < PODS {
                self.add(role)?;
            }
        }
        Ok(())
    }

    /// Kills the Pod that was started last.
    pub(super) fn remove_newest(&mut self) {
        self.pods.pop();
    }

    /// Starts one more Pod.
    pub(super) fn add(&mut self, role: Role) -> anyhow::Result<()> {
        let name = name(role, self.started);
        self.started += 1;
        let place = Place::new(self.net.as_mut())?;
        let [grpc, http, public] = [place.listen(7070)?, place.listen(7080)?, place.listen(8080)?];
        let mut sets = vec![
            format!("node.pod={name}"),
            format!("node.advertise={}", place.host()),
            format!("node.grpc={grpc}"),
            format!("node.http={http}"),
            format!("node.public={public}"),
        ];
        sets.extend(self.sets.iter().cloned());
        let mut arguments = vec![role.to_string(), "--config".to_owned(), self.config.display().to_string()];
        arguments.extend(sets.into_iter().flat_map(|set| ["--set".to_owned(), set]));
        let log = self.logs.join(format!("{name}.log"));
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let child = place.run(&program, &arguments, &log)?;
        self.pods.push(Pod { role, name, public, log, child, place });
        Ok(())
    }

    /// Pods stand in the order of their start.
    fn oldest(&self, role: Role) -> anyhow::Result<usize> {
        self.pods.iter().position(|pod| pod.role == role).with_context(|| format!("there is no {role} process"))
    }

    fn pod(&self, role: Role) -> anyhow::Result<&Pod> {
        let place = self.oldest(role)?;
        self.pods.get(place).context("it was just found")
    }

    /// Places of all other processes.
    fn others(&self, name: &str) -> Vec<&Place> {
        let pods = self.pods.iter().filter(|pod| pod.name != name).map(|pod| &pod.place);
        let redis = self.redis.iter().flat_map(Redis::places);
        pods.chain(redis).chain(self.etcd.iter().flat_map(Etcd::places)).collect()
    }
}

fn name(role: Role, number: u32) -> String {
    format!("bench-{role}-1-{number}")
}

/// Names of the Pods that start first and own slots.
fn first_names() -> Names {
    let mut numbers = 0..;
    let mut some = |role| (role, numbers.by_ref().take(PODS).map(|number| name(role, number)).collect());
    ORDER.into_iter().map(&mut some).filter(|(role, _)| *role != Role::Gateway).collect()
}

/// The net, where one can be made; an error if a fault cannot be done without it.
fn net(given: bool, faults: &[Fault]) -> anyhow::Result<Option<Net>> {
    stores::installed("redis-server", "redis-server")?;
    stores::installed("etcd", "etcd-server")?;
    if let Some(conflict) = Fault::conflict(faults) {
        bail!("{conflict}");
    }
    if given && let Some(fault) = faults.iter().find(|fault| fault.needs() != (false, false)) {
        bail!("{} needs stores of the bench's own: leave --redis and --etcd away", fault.name());
    }
    if given {
        return Ok(None);
    }
    match Net::new() {
        Ok(net) => Ok(Some(net)),
        Err(error) => {
            if let Some(fault) = faults.iter().find(|fault| fault.needs().0) {
                bail!("{} needs network namespaces: {error:#}. Leave it out with --faults", fault.name());
            }
            eprintln!("bench: all processes run on loopback: {error:#}");
            Ok(None)
        }
    }
}

/// One file for all roles.
fn configuration(
    args: &FailoverArgs,
    cluster: &str,
    redis: Option<&Redis>,
    etcd: &[String],
    secret: &str,
) -> serde_json::Value {
    let redis_urls = redis.map_or_else(|| args.redis.iter().cloned().collect(), Redis::urls);
    // What is stored is on a replica too then, so that a failover may lose nothing of it.
    let (mode, replicas) = if redis.is_some_and(Redis::is_watched) { (PRIMARY, 1) } else { ("standalone", 0) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
    let room_rate = (args.rate * 2.0) as u32 + 200;
    json!({
        "node": {
            "namespace": NAMESPACE, "cluster": cluster, "etcd": etcd, "redis": redis_urls,
            "redis_mode": mode, "redis_wait_replicas": replicas,
            "pod_key": uuid::Uuid::new_v4().to_string(),
        },
        "gateway": {
            "reactors": 1,
            "auth": {
                "jwt": [{"algorithm": "HS256", "key": secret}],
                "resume": [{"id": "bench", "secret": format!("{secret}{secret}")}],
            },
            // All clients have one address here, and say again five times a second what nobody took.
            "limits": {"connections_per_address": 0, "frames_per_s": 1_000},
            "downstream": {"allow_unlimited": true},
        },
        // Retries count against the limits of those who publish.
        "chatroom": {"rooms": {"messages_per_second": room_rate, "user_messages_per_second": 100}},
    })
}
