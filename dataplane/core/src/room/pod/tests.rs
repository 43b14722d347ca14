//! Rooms of one Pod, spoken to by hand.

mod epochs;
mod members;
mod stored;
mod talking;

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::room::life::Overrides;
use crate::room::lists::{ListChange, ListName};
use crate::room::members::{Change, ChangeKind};
use crate::room::output::{Asker, Record, Write};
use crate::room::publish::{Ack, Publish, Receipt};
use crate::{Cursor, Lane, Segment, Seqs, SessionId, Stamp, UserId};

const RELAY: RelayNo = RelayNo(1);

/// A Pod that has served the slot of one room for long, with one gateway.
struct Scene {
    pod: Pod,
    now: Now,
    room: RoomId,
    gateway: GatewayNo,
    batch: u64,
}

impl Scene {
    fn new() -> Self {
        let mut scene = Self::young();
        scene.pass(10_000);
        scene
    }

    /// The same, but the slot has just opened.
    fn young() -> Self {
        let room = RoomId::new("final").unwrap();
        let now = Now { mono: Millis(1_000), unix: Millis(1_800_000_000_000) };
        let mut pod = Pod::new(RoomOptions::default());
        let gateway = pod.gateway_opened(now, &InstanceId::new("g-0").unwrap());
        pod.open(now, Slot::of("final"), Epoch(7), vec![]);
        Self { pod, now, room, gateway, batch: 0 }
    }

    /// Lets time pass, doing what is due when it is due.
    fn pass(&mut self, ms: u64) {
        let end = self.now.mono + ms;
        while let Some(due) = self.pod.next_due().filter(|due| *due <= end) {
            let step = due.since(self.now.mono);
            self.now = Now { mono: self.now.mono + step, unix: self.now.unix + step };
            self.pod.run_due(self.now);
        }
        let step = end.since(self.now.mono);
        self.now = Now { mono: end, unix: self.now.unix + step };
    }

    fn change(&mut self, name: &str, kind: ChangeKind) -> RoomApplied {
        let change = Change { user: user(name), session: session(name), conn_epoch: 1, kind };
        self.batch(false, vec![change])
    }

    fn batch(&mut self, full: bool, changes: Vec<Change>) -> RoomApplied {
        self.batch += 1;
        let rooms = vec![RoomChanges { room: self.room.clone(), full, changes }];
        self.pod.members(self.now, self.gateway, self.batch, rooms)[0].clone()
    }

    fn join(&mut self, name: &str) -> RoomApplied {
        self.change(name, ChangeKind::Join)
    }

    fn say(&mut self, publish: &Publish) -> Result<Receipt, Refusal> {
        self.pod.publish(self.now, Asker::Gateway(self.gateway, 1), &self.room, publish);
        let outputs = self.pod.take_output();
        published(&outputs).expect("an answer")
    }

    fn subscribe(&mut self, cursor: Option<Cursor>) -> Vec<Output> {
        let subscription = Subscription { room: self.room.clone(), cursor, older: vec![], told: vec![] };
        self.pod.subscribe(self.now, RELAY, subscription);
        self.pod.take_output()
    }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn session(name: &str) -> SessionId {
    SessionId(xxhash_rust::xxh3::xxh3_64(name.as_bytes()))
}

fn text(name: &str) -> Publish {
    Publish {
        user: user(name),
        session: Some(session(name)),
        wish: Lane::Normal,
        best: Lane::Normal,
        kind: "text".into(),
        data: Bytes::from_static(b"\"hi\""),
        key: None,
        ack: Ack::Accepted,
    }
}

fn published(outputs: &[Output]) -> Option<Result<Receipt, Refusal>> {
    outputs.iter().find_map(|output| match output {
        Output::Published { result, .. } => Some(result.clone()),
        _ => None,
    })
}

fn segments(outputs: &[Output]) -> Vec<Segment> {
    let segment = |output: &Output| match output {
        Output::Segment { segment, .. } => Some(segment.clone()),
        _ => None,
    };
    outputs.iter().filter_map(segment).collect()
}

fn removed(outputs: &[Output]) -> Vec<(Vec<UserId>, &str)> {
    let mut removed = Vec::new();
    for output in outputs {
        if let Output::Removed { users, reason, .. } = output {
            removed.push((users.clone(), &**reason));
        }
    }
    removed
}
