//! The chatroom role on a node.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use throng_chatroom::{Handle, Options, Service, Start, StoredLog};
use throng_core::Slot;
use throng_node::cpu::Meter;
use throng_node::ownership::{BoxFuture, Handle as Ownership, Identity, Rooms};
use throng_node::service::{Hooks, NodeService};
use throng_proto::link::{DescribeReply, DrainRequest, GatheredRoom, PressureSample, SlotActivity};
use throng_store::{BehindOptions, WriteBehind};
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tracing::{error, warn};

use super::{Membership, Metrics, Parts, Running, cpu_of_one_thread, describe, policy, sample, serve_health, within};

pub(super) fn assemble(options: Options, parts: Parts) -> Result<Running> {
    let Membership { driver, ownership, slots } = Membership::new(&parts);
    let Parts { identity, registry, store, has_process, pod_key, grpc, http, stop, cut, ending, .. } = parts;
    let cpu = cpu_of_one_thread(has_process);
    let mut metrics = Metrics::default();
    throng_node::ownership::metrics::register(&ownership, &mut metrics);
    let (log, log_events, writing) = StoredLog::new(store, BehindOptions::default());
    let behind = log.behind().clone();
    throng_chatroom::queue_metrics::register(&log, &mut metrics);
    let hooks = Arc::new(Chatroom::default());
    let node =
        InterceptedService::new(NodeService::server(Arc::clone(&hooks) as Arc<dyn Hooks>, ending), pod_key.demand());
    let service = Service::new(
        Start {
            options,
            address: identity.member.address.to_string(),
            listener: grpc,
            key: pod_key,
            pod: identity.member.pod.to_string(),
            instance: identity.instance.clone(),
            revision: identity.member.revision.to_string(),
            slots,
            log: Arc::new(log),
            log_events,
            more: Routes::new(node),
            cancel: cut.clone(),
        },
        &mut metrics,
    );
    let owner = ownership.clone();
    let service = service.tell_ownership(ownership.news()).with_rights(move || owner.holds_rights());
    let handle = service.handle();
    let told = handle.clone();
    policy::follow(&*registry, cut.clone(), move |rooms| told.set_rooms(policy::of_chatroom(rooms)));
    let driver = driver.with_rooms(Arc::new(RoomSlots { handle: handle.clone(), behind: behind.clone() }));
    // Set once, here.
    let _ = hooks.0.set(State { identity, handle: service.handle(), ownership, cpu });
    serve_health(http, Arc::clone(&hooks) as Arc<dyn Hooks>, metrics, cut.clone())?;
    let serve = Box::pin(async move {
        tokio::spawn(writing.run());
        let serving = tokio::spawn(service.run());
        driver.run(move || handle.silent_ms(), stop).await;
        if !behind.close(FLUSH_WITHIN).await {
            warn!("the store did not take everything in time: what was not called stored may be lost");
        }
        cut.cancel();
        if let Ok(Err(error)) = serving.await {
            error!(%error, "the chatroom role has failed");
        }
    });
    Ok(Running { hooks, serve })
}

/// So long a process that ends waits for the store.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);
/// So long a slot that is to be moved may have writes on their way.
const SETTLE_WITHIN: Duration = Duration::from_secs(2);

/// What ownership asks of the role.
struct RoomSlots {
    handle: Handle,
    behind: WriteBehind,
}

impl Rooms for RoomSlots {
    fn gathered(&self, rooms: Vec<(Slot, Vec<GatheredRoom>)>) -> BoxFuture<'_, ()> {
        Box::pin(self.handle.gathered(rooms))
    }

    fn settled(&self, slot: Slot) -> BoxFuture<'_, bool> {
        Box::pin(self.behind.settle(slot, SETTLE_WITHIN))
    }
}

/// What the node asks of the role.
struct State {
    identity: Identity,
    handle: Handle,
    ownership: Ownership,
    cpu: Meter,
}

/// Empty until the role is made: the gRPC that answers is a part of the role.
#[derive(Default)]
struct Chatroom(OnceLock<State>);

impl Hooks for Chatroom {
    fn sample(&self) -> PressureSample {
        let Some(state) = self.0.get() else { return PressureSample::default() };
        let rates = state.handle.rates();
        let load = HashMap::from([
            ("members".to_owned(), state.handle.members() as f64),
            ("joins_per_second".to_owned(), rates.joins_per_s),
            ("messages_per_second".to_owned(), rates.publishes_per_s),
            ("cpu_percent".to_owned(), state.cpu.percent()),
        ]);
        sample(load, &state.ownership, state.ownership.status().open as u64)
    }

    fn drain(&self, request: &DrainRequest) -> u64 {
        let Some(state) = self.0.get() else { return 0 };
        state.ownership.drain(within(request));
        state.ownership.status().open as u64
    }

    fn undrain(&self) -> u64 {
        let Some(state) = self.0.get() else { return 0 };
        state.ownership.undrain();
        state.ownership.status().open as u64
    }

    fn describe(&self) -> DescribeReply {
        let Some(state) = self.0.get() else { return DescribeReply::default() };
        let slots = state.handle.activity().into_iter().map(|activity| SlotActivity {
            slot: u32::from(activity.slot.number()),
            rooms: activity.rooms,
            users: activity.members,
            messages_per_second: activity.messages_per_s,
        });
        DescribeReply { slots: slots.collect(), ..describe(&state.identity, &state.ownership) }
    }
}
