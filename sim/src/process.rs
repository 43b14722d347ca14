//! A chatroom process: the production machine, the room's numbers, and its links.

use std::collections::BTreeSet;
use std::sync::Arc;

use throng_core::ownership::sealing::Ends;
use throng_core::ownership::{Config, Duty, Input, LeaseId, Me, Member, Ownership, Rules};
use throng_core::{Epoch, InstanceId, Millis, Slot};

/// The one slot of the model.
#[must_use]
pub fn the_slot() -> Slot {
    Slot::of("final")
}

/// One run of one process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "faults that are independent of each other")]
pub struct Process {
    /// Its place among the processes: its Pod.
    pub pod: usize,
    /// This run.
    pub instance: InstanceId,
    /// The machine.
    pub machine: Ownership,
    /// Answers on their way.
    pub inbox: Vec<Input>,
    /// The room, while it is served.
    pub room: Option<Room>,
    /// What the last gather found.
    pub gathered: Ends,
    /// What a former owner handed over.
    pub handed: Option<(Epoch, Room)>,
    /// Its lease, as it was told: for the member entry.
    pub lease: Option<LeaseId>,
    /// It does not run: SIGSTOP, a hanging node.
    pub paused: bool,
    /// It is cut off from etcd.
    pub no_etcd: bool,
    /// Its watch stands still, though etcd answers.
    pub no_watch: bool,
    /// It is cut off from Redis.
    pub no_redis: bool,
    /// Since when Redis does not answer it.
    pub unanswered_since: Option<Millis>,
    /// Answers of the next step arrive only in the one after.
    pub slow: bool,
}

/// What the owner keeps of the room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Room {
    /// The epoch that it is served under.
    pub epoch: Epoch,
    /// The last number given.
    pub seq: u64,
    /// Where older epochs end.
    pub ends: Ends,
    /// Message Pods that subscribed: it does not know who has left.
    pub subscribers: BTreeSet<usize>,
}

/// Name of a Pod.
#[must_use]
pub fn pod_name(pod: usize) -> Arc<str> {
    ["pod-a", "pod-b", "pod-c"].get(pod).copied().unwrap_or("pod-x").into()
}

impl Process {
    /// The `run`-th process of a Pod.
    #[must_use]
    pub fn new(pod: usize, run: u32, rules: Rules, now: Millis) -> Option<Self> {
        let name = pod_name(pod);
        let instance = InstanceId::new(&format!("{name}-{run}")).ok()?;
        let me = Me {
            instance: instance.clone(),
            pod: name.clone(),
            uid: name.clone(),
            address: format!("{name}:1").into(),
            revision: "r1".into(),
        };
        let config = Config { slots: vec![the_slot()], rules, ..Config::new(me, Duty::Rooms, true) };
        Some(Self {
            pod,
            instance,
            machine: Ownership::new(config, now),
            inbox: Vec::new(),
            room: None,
            gathered: Ends::default(),
            handed: None,
            lease: None,
            paused: false,
            no_etcd: false,
            no_watch: false,
            no_redis: false,
            unanswered_since: None,
            slow: false,
        })
    }

    /// Its member entry.
    #[must_use]
    pub fn member(&self, lease: LeaseId, draining: bool, redis_ok: bool) -> Member {
        let name = pod_name(self.pod);
        Member {
            pod: name.clone(),
            uid: name.clone(),
            address: format!("{name}:1").into(),
            revision: "r1".into(),
            lease,
            draining,
            redis_ok,
        }
    }
}
