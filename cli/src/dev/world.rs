//! All Pods of one `throng dev`, and what can be done to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use throng_core::{Role, Slot};
use throng_plan::moves::Activity;
use throng_proto::key::PodKey;
use throng_proto::link::chatroom_client::ChatroomClient;
use throng_proto::link::{DrainRequest, ListRoomsRequest, RoomDescription};
use tonic::transport::Endpoint;

use super::bots::{Bots, BotsRow};
use super::pod::{Ingredients, Pod};
use super::pools::{self, PodRow, Rates};
use super::web::{PageState, RoomRow};

/// Rooms that the page shows.
const ROOMS_SHOWN: u32 = 20;
/// A dead Pod stays on the page for so long.
const DEAD_SHOWN: Duration = Duration::from_secs(20);
/// Longest wait for a Pod to answer the page.
const ASK: Duration = Duration::from_millis(800);
/// How long a drain may take before connections are closed.
const DRAIN_DEADLINE_MS: u64 = 30_000;

/// The Pods. Shared by the main task and the page.
pub(crate) struct World {
    ingredients: Ingredients,
    pods: Mutex<Pods>,
    bots: Mutex<Option<Bots>>,
}

#[derive(Default)]
struct Pods {
    by_name: BTreeMap<String, Pod>,
    made: BTreeMap<Role, u32>,
}

impl World {
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

    /// Starts another Pod of a role; returns its name.
    pub(crate) fn add(&self, role: Role) -> Result<String> {
        let index = {
            let mut pods = self.lock();
            let made = pods.made.entry(role).or_default();
            *made += 1;
            *made - 1
        };
        let name = format!("dev-{role}-1-{index}");
        let pod = Pod::start(role, &name, &self.ingredients).with_context(|| format!("cannot start {name}"))?;
        self.lock().by_name.insert(name.clone(), pod);
        Ok(name)
    }

    /// Begins to empty a Pod, or takes that back.
    pub(crate) fn drain(&self, name: &str, drain: bool) -> Result<()> {
        let pods = self.lock();
        let pod = pods.by_name.get(name).with_context(|| format!("there is no Pod {name}"))?;
        if pod.died.is_some() {
            bail!("{name} is dead");
        }
        if drain {
            pod.hooks.drain(&DrainRequest { deadline_ms: DRAIN_DEADLINE_MS, per_second: 0 });
        } else {
            pod.hooks.undrain();
        }
        Ok(())
    }

    /// Ends a Pod as if its process had been killed: no goodbye, its lease expires.
    pub(crate) fn kill(&self, name: &str) -> Result<()> {
        let mut pods = self.lock();
        let pod = pods.by_name.get_mut(name).with_context(|| format!("there is no Pod {name}"))?;
        pod.kill();
        Ok(())
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

    /// Whether every living Pod serves; the reasons of those that do not.
    pub(crate) fn unready(&self) -> Vec<String> {
        let pods = self.lock();
        let living = pods.by_name.iter().filter(|(_, pod)| pod.died.is_none());
        let reasons = living.filter_map(|(name, pod)| {
            let described = pod.hooks.describe();
            (!described.ready).then(|| format!("{name}: {}", described.reasons.join(", ")))
        });
        reasons.collect()
    }

    /// What occupied slots of a role carry, as their owners say: at most a second old.
    pub(crate) fn activity(&self, role: Role) -> BTreeMap<Slot, Activity> {
        let pods = self.lock();
        let living = pods.by_name.values().filter(|pod| pod.role == role && pod.died.is_none());
        let slots = living.flat_map(|pod| pod.hooks.describe().slots).filter_map(|said| {
            let slot = u16::try_from(said.slot).ok().and_then(Slot::new)?;
            Some((slot, Activity { rooms: u64::from(said.rooms), users: said.users }))
        });
        slots.collect()
    }

    /// Removes Pods that were drained empty, and dead ones that were shown long enough.
    pub(crate) fn tidy(&self) {
        let mut pods = self.lock();
        for pod in pods.by_name.values_mut() {
            pod.notice_end();
            let sample = pod.hooks.sample();
            if pod.died.is_none() && sample.draining && sample.left == 0 {
                pod.stop.cancel();
            }
        }
        pods.by_name.retain(|_, pod| pod.died.is_none_or(|died| died.elapsed() < DEAD_SHOWN));
    }

    /// What the page shows.
    pub(crate) async fn page_state(&self) -> PageState {
        let bots = self.bots().as_ref().map(Bots::row);
        let (pods, rates, chatrooms) = self.figures();
        let mut rooms = Vec::new();
        for (name, address) in chatrooms {
            let asked = tokio::time::timeout(ASK, list_rooms(address, &self.ingredients.pod_key)).await;
            let listed = asked.into_iter().flatten().flatten();
            rooms.extend(listed.map(|room| room_row(room, &name, bots.as_ref())));
        }
        rooms.sort_by(|a, b| b.members.cmp(&a.members).then_with(|| a.room.cmp(&b.room)));
        rooms.truncate(ROOMS_SHOWN as usize);
        PageState { pods, rates, rooms, bots }
    }

    /// The Pods, what they carry together, and who can be asked for rooms.
    fn figures(&self) -> (Vec<PodRow>, Rates, Vec<(String, SocketAddr)>) {
        let (mut rows, mut rates, mut chatrooms) = (Vec::new(), Rates::default(), Vec::new());
        for (name, pod) in &self.lock().by_name {
            if let Some(died) = pod.died {
                rows.push(pools::dead(name, pod.role, died.elapsed().as_secs()));
                continue;
            }
            let sample = pod.hooks.sample();
            rates.add(pod.role, &sample);
            let described = (pod.role == Role::Chatroom).then(|| pod.hooks.describe());
            rows.push(pools::row(name, pod.role, &sample, described.as_ref()));
            if pod.role == Role::Chatroom {
                chatrooms.push((name.clone(), pod.grpc));
            }
        }
        (rows, rates, chatrooms)
    }
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
