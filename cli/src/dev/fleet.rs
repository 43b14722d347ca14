//! All Pods of one `throng dev`, and what can be done to them. What is done is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use throng_core::{Role, Slot};
use throng_plan::moves::Activity;
use throng_plan::pools::Pools;
use throng_plan::spec::PoolSpec;
use throng_plan::world::{self, Phase, Sample};
use throng_proto::key::PodKey;
use throng_proto::link::chatroom_client::ChatroomClient;
use throng_proto::link::{DescribeReply, ListRoomsRequest, RoomDescription};
use tonic::transport::Endpoint;

use super::bots::{Bots, BotsRow};
use super::now;
use super::pod::{Birth, Ingredients, Pod};
use super::pools::{self, PodRow, Rates};
use super::web::{PageState, RoomRow};

/// Rooms that the page shows.
const ROOMS_SHOWN: u32 = 20;
/// A dead Pod stays on the page for so long.
const DEAD_SHOWN: Duration = Duration::from_secs(20);
/// Longest wait for the thread of a Pod that was killed.
const KILLED_WITHIN: Duration = Duration::from_secs(2);
/// A Pod that was told to end has so long; then it is killed.
const GRACE_MS: u64 = 5_000;
/// Longest wait for a Pod to answer the page.
const ASK: Duration = Duration::from_millis(800);

/// The Pods. Shared by the planner and the page.
pub(crate) struct Fleet {
    ingredients: Ingredients,
    pods: Mutex<Pods>,
    bots: Mutex<Option<Bots>>,
}

#[derive(Default)]
struct Pods {
    by_name: BTreeMap<String, Pod>,
    /// Pods that are no more, and since when: only the page still shows them.
    gone: BTreeMap<String, (Role, Instant)>,
}

/// One Pod as the planner sees it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) pod: world::Pod,
    pub(crate) sample: Option<Sample>,
    pub(crate) slots: BTreeMap<Slot, Activity>,
}

impl Fleet {
    pub(crate) fn new(ingredients: Ingredients) -> Self {
        Self { ingredients, pods: Mutex::default(), bots: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bots(&self) -> MutexGuard<'_, Option<Bots>> {
        self.bots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bots that live as long as the Pods do.
    pub(crate) fn send_bots(&self, bots: Bots) {
        *self.bots() = Some(bots);
    }

    /// Makes a Pod, unless there is one of its name. Returns when its sockets are bound.
    pub(crate) fn make(&self, birth: &Birth) -> Result<()> {
        if self.lock().by_name.contains_key(&birth.name) {
            return Ok(());
        }
        let pod = Pod::start(birth, &self.ingredients).with_context(|| format!("cannot start {}", birth.name))?;
        let mut pods = self.lock();
        pods.gone.remove(&birth.name);
        // A new revision gets clients when the planner says so; more of the same gets them at once.
        let older = |other: &Pod| other.role == birth.role && other.revision != birth.revision;
        if pods.by_name.values().any(older) {
            pod.hooks.open(false);
        }
        pods.by_name.insert(birth.name.clone(), pod);
        Ok(())
    }

    /// Does something with the Pod of a uid; none: it is no more.
    pub(crate) fn with<T>(&self, uid: &str, act: impl FnOnce(&mut Pod) -> T) -> Option<T> {
        self.lock().by_name.values_mut().find(|pod| pod.uid == uid).map(act)
    }

    /// Tells the Pod of a uid to end; one that has ended already goes from the fleet. False: it has more users than may be cut.
    pub(crate) fn delete(&self, uid: &str, most_users_cut: u64) -> bool {
        let mut pods = self.lock();
        let Some((name, pod)) = pods.by_name.iter_mut().find(|(_, pod)| pod.uid == uid) else { return true };
        if let Some(died) = pod.died {
            let (name, role) = (name.clone(), pod.role);
            pods.by_name.remove(&name);
            pods.gone.insert(name, (role, died));
            return true;
        }
        if sample(pod).users(pod.role) > most_users_cut {
            return false;
        }
        pod.terminating.get_or_insert_with(now);
        pod.stop.cancel();
        true
    }

    /// Notes which Pods have ended: one that was told to is no more. Names of those that there are.
    pub(crate) fn notice_ends(&self) -> BTreeSet<String> {
        let mut pods = self.lock();
        let Pods { by_name, gone } = &mut *pods;
        by_name.retain(|name, pod| {
            pod.notice_end();
            if pod.terminating.is_some_and(|since| now().0.since(since.0) > GRACE_MS) {
                pod.kill();
            }
            let ended = pod.terminating.and(pod.died);
            gone.extend(ended.map(|died| (name.clone(), (pod.role, died))));
            ended.is_none()
        });
        gone.retain(|_, (_, died)| died.elapsed() < DEAD_SHOWN);
        by_name.keys().cloned().collect()
    }

    /// All Pods as the planner sees them.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let pods = self.lock();
        pods.by_name.iter().map(|(name, pod)| see(name, pod)).collect()
    }

    /// Role of a living Pod.
    pub(crate) fn role(&self, name: &str) -> Result<Role> {
        let pods = self.lock();
        match pods.by_name.get(name) {
            Some(pod) if pod.died.is_none() => Ok(pod.role),
            Some(_) => bail!("{name} is dead"),
            None if pods.gone.contains_key(name) => bail!("{name} is dead"),
            None => bail!("there is no Pod {name}"),
        }
    }

    /// Ends a Pod as if its process had been killed: no goodbye, its lease expires.
    pub(crate) fn kill(&self, name: &str) {
        let until = Instant::now() + KILLED_WITHIN;
        // Nobody is kept waiting for the Pods meanwhile.
        while Instant::now() < until {
            if self.lock().by_name.get_mut(name).is_none_or(Pod::kill) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends bots and all Pods, gateways first, each with a goodbye; waits for them at most a few seconds.
    pub(crate) fn stop(&self) {
        drop(self.bots().take());
        let mut by_name = std::mem::take(&mut self.lock().by_name);
        for role in [Role::Gateway, Role::Message, Role::Chatroom] {
            for pod in by_name.values_mut().filter(|pod| pod.role == role) {
                pod.stop.cancel();
            }
            for pod in by_name.values_mut().filter(|pod| pod.role == role) {
                pod.join(Duration::from_secs(2));
            }
        }
    }

    /// Names, roles, processes and metrics addresses of the living.
    pub(crate) fn living(&self) -> Vec<(String, Role, u32, SocketAddr)> {
        let pods = self.lock();
        let living = pods.by_name.iter().filter(|(_, pod)| pod.died.is_none());
        living.map(|(name, pod)| (name.clone(), pod.role, pod.pid, pod.http)).collect()
    }

    /// Why not all of these pools serve yet: Pods that are missing, and those that are not ready.
    pub(crate) fn unready(&self, wanted: &Pools<PoolSpec>) -> Vec<String> {
        let pods = self.lock();
        for (role, pool) in wanted.iter() {
            let count = pods.by_name.values().filter(|pod| pod.role == role && pod.died.is_none()).count();
            if count < pool.min as usize {
                return vec![format!("{count} of {} {role} Pods have started", pool.min)];
            }
        }
        let living = pods.by_name.iter().filter(|(_, pod)| pod.died.is_none());
        let reasons = living.filter_map(|(name, pod)| {
            let described = pod.hooks.describe();
            (!described.ready).then(|| format!("{name}: {}", described.reasons.join(", ")))
        });
        reasons.collect()
    }

    /// What the page shows.
    pub(crate) async fn page_state(&self, wanted: &Pools<PoolSpec>) -> PageState {
        let bots = self.bots().as_ref().map(Bots::row);
        let (pods, rates, chatrooms) = self.figures(wanted);
        let mut rooms = Vec::new();
        for (name, address) in chatrooms {
            let asked = tokio::time::timeout(ASK, list_rooms(address, &self.ingredients.pod_key)).await;
            let listed = asked.into_iter().flatten().flatten();
            rooms.extend(listed.map(|room| room_row(room, &name, bots.as_ref())));
        }
        rooms.sort_by(|a, b| b.members.cmp(&a.members).then_with(|| a.room.cmp(&b.room)));
        rooms.truncate(ROOMS_SHOWN as usize);
        PageState { pods, rates, rooms, bots, why: Vec::new(), file: None }
    }

    /// The Pods, what they carry together, and who can be asked for rooms.
    fn figures(&self, wanted: &Pools<PoolSpec>) -> (Vec<PodRow>, Rates, Vec<(String, SocketAddr)>) {
        let (mut rows, mut rates, mut chatrooms) = (Vec::new(), Rates::default(), Vec::new());
        let pods = self.lock();
        let gone = pods.gone.iter().filter(|(_, (_, died))| died.elapsed() < DEAD_SHOWN);
        rows.extend(gone.map(|(name, (role, died))| pools::dead(name, *role, died.elapsed().as_secs())));
        for (name, pod) in &pods.by_name {
            if let Some(died) = pod.died {
                rows.push(pools::dead(name, pod.role, died.elapsed().as_secs()));
                continue;
            }
            let sample = pod.hooks.sample();
            rates.add(pod.role, &sample);
            let described = (pod.role == Role::Chatroom).then(|| pod.hooks.describe());
            let targets = &wanted.of(pod.role).targets;
            rows.push(pools::row(name, pod.role, &sample, described.as_ref(), targets));
            if pod.role == Role::Chatroom {
                chatrooms.push((name.clone(), pod.grpc));
            }
        }
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        (rows, rates, chatrooms)
    }
}

fn sample(pod: &Pod) -> Sample {
    throng_runtime::sample::sample(pod.hooks.sample(), now())
}

/// One Pod as the planner sees it. Each has a node of its own, of its own name.
fn see(name: &str, pod: &Pod) -> Seen {
    let lives = pod.died.is_none();
    let described = if lives { pod.hooks.describe() } else { DescribeReply::default() };
    let seen = world::Pod {
        uid: pod.uid.clone(),
        role: pod.role,
        revision: pod.revision,
        index: pod.index,
        node: Some(name.to_owned()),
        zone: String::new(),
        phase: if lives { Phase::Running } else { Phase::Failed },
        ready: lives && described.ready,
        serving: pod.serving,
        terminating: pod.terminating,
        trouble: None,
        restarts: 0,
        created: pod.created,
    };
    let slots = throng_runtime::sample::slots(&described.slots);
    let sample = lives.then(|| Sample { unready: described.reasons, ..sample(pod) });
    Seen { name: name.to_owned(), pod: seen, sample, slots }
}

/// A room as its owner tells it, with what bots in it say of what reaches them.
fn room_row(room: RoomDescription, owner: &str, bots: Option<&BotsRow>) -> RoomRow {
    let heard = bots.filter(|bots| bots.room == room.room).map(|bots| bots.lately);
    RoomRow {
        room: room.room,
        members: room.members,
        messages_per_s: room.messages_per_second,
        delivered_per_s: heard.map(|heard| heard.counts.delivered),
        dropped_per_s: heard.map(|heard| heard.counts.dropped),
        p50_ms: heard.and_then(|heard| heard.p50_ms),
        p99_ms: heard.and_then(|heard| heard.p99_ms),
        tick_ms: room.tick_ms,
        owner: owner.to_owned(),
    }
}

async fn list_rooms(address: SocketAddr, key: &PodKey) -> Result<Vec<RoomDescription>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(ASK).connect().await?;
    let mut client = ChatroomClient::with_interceptor(channel, key.attach());
    let reply = client.list_rooms(ListRoomsRequest { after: String::new(), limit: ROOMS_SHOWN }).await?;
    Ok(reply.into_inner().rooms)
}
