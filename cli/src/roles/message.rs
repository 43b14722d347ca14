//! The message role on a node.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use throng_message::{Dependencies, Handle, Options, Service};
use throng_node::cpu::Meter;
use throng_node::ownership::{Handle as Ownership, Identity};
use throng_node::service::{Hooks, NodeService};
use throng_proto::link::{DescribeReply, DrainRequest, PressureSample, SlotActivity};
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tracing::error;

use super::{
    Membership, Metrics, Parts, Running, cpu_of_one_thread, describe, sample, serve_health, watch_routes, within,
};

pub(super) fn assemble(options: Options, parts: Parts) -> Result<Running> {
    let Membership { driver, ownership, slots } = Membership::new(&parts);
    let Parts { identity, registry, has_process, pod_key, grpc, http, stop, cut, ending, .. } = parts;
    let cpu = cpu_of_one_thread(has_process);
    let mut metrics = Metrics::default();
    throng_node::ownership::metrics::register(&ownership, &mut metrics);
    let hooks = Arc::new(Message::default());
    let node =
        InterceptedService::new(NodeService::server(Arc::clone(&hooks) as Arc<dyn Hooks>, ending), pod_key.demand());
    let dependencies = Dependencies {
        identity: throng_message::Identity {
            pod: identity.member.pod.to_string(),
            instance: identity.instance.clone(),
            revision: identity.member.revision.to_string(),
        },
        listener: grpc,
        key: pod_key,
        routes: watch_routes(&*registry),
        slots,
        services: Routes::new(node),
        stop: cut.clone(),
    };
    let service = Service::new(options, dependencies, &mut metrics).tell_ownership(ownership.news());
    // Set once, here.
    let _ = hooks.0.set(State { identity, handle: service.handle(), ownership, cpu });
    serve_health(http, Arc::clone(&hooks) as Arc<dyn Hooks>, metrics, cut.clone())?;
    let serve = Box::pin(async move {
        let serving = tokio::spawn(service.run());
        driver.run(|| 0, stop).await;
        cut.cancel();
        if let Ok(Err(error)) = serving.await {
            error!(%error, "the message role has failed");
        }
    });
    Ok(Running { hooks, serve })
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
struct Message(OnceLock<State>);

impl Hooks for Message {
    fn sample(&self) -> PressureSample {
        let Some(state) = self.0.get() else { return PressureSample::default() };
        let figures = state.handle.sample();
        let load = HashMap::from([
            ("users".to_owned(), figures.users as f64),
            ("deliveries_per_second".to_owned(), figures.deliveries_per_s as f64),
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
        let slots = state.handle.slots().into_iter().map(|(slot, users)| SlotActivity {
            slot: u32::from(slot.number()),
            users,
            ..SlotActivity::default()
        });
        DescribeReply { slots: slots.collect(), ..describe(&state.identity, &state.ownership) }
    }
}
