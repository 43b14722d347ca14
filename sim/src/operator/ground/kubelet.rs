//! Kubelets: they start the processes of Pods, say how these are, and end them.

use std::collections::BTreeSet;
use std::sync::Arc;

use throng_core::{Millis, Role};

use super::super::api::{Expected, Key, Kind, Object};
use super::nodes::Machine;
use super::{Ground, Process, TICK_MS, spec};

/// A Pod that is to be deleted has so long beyond the deadline of drains.
const GRACE_MS: u64 = spec::DEADLINE_MS + 60_000;

impl Ground {
    /// All kubelets that reach the API server do what it says.
    pub(super) fn run_kubelets(&mut self) {
        let up = |ground: &Self, node: &str| ground.machines.get(node).is_some_and(Machine::reachable);
        let pods = self.api.list(Kind::Pod).filter(|(_, pod)| up(self, pod.field("spec.node")));
        let pods: Vec<(String, Arc<Object>)> = pods.map(|(name, pod)| (name.to_owned(), Arc::clone(pod))).collect();
        for (name, pod) in pods {
            let key = (Kind::Pod, name);
            match self.processes.contains_key(&pod.uid) {
                true => self.keep(&key, &pod),
                false if pod.deleted_at.is_some() => {
                    let _ = self.api.delete(self.now, &key, &same(&pod), true);
                }
                false if pod.state("phase") == "Failed" => {}
                false => self.start(&key, &pod),
            }
        }
        let known: BTreeSet<&str> = self.api.list(Kind::Pod).map(|(_, pod)| pod.uid.as_str()).collect();
        let strays = self.processes.iter().filter(|(uid, _)| !known.contains(uid.as_str()));
        let strays = strays.filter(|(_, process)| up(self, &process.node)).map(|(uid, _)| uid.clone());
        for uid in strays.collect::<Vec<_>>() {
            self.end(&uid, true);
        }
    }

    fn start(&mut self, key: &Key, pod: &Object) {
        if self.ills.broken.contains(pod.field(spec::SHAPE)) {
            let _ = self.api.edit(key, &same(pod), |pod| pod.set_state("trouble", "ImagePullBackOff"));
            return;
        }
        let (now, delay) = (self.now, 1 + self.dice.below(5));
        let due = *self.starts.entry(pod.uid.clone()).or_insert(Millis(now.0 + delay * TICK_MS));
        if now < due {
            return;
        }
        self.starts.remove(&pod.uid);
        let process = Process {
            pod: key.1.clone(),
            role: Role::from_text(pod.field("labels.role")).unwrap_or(Role::Gateway),
            shape: pod.field(spec::SHAPE).to_owned(),
            revision: pod.field("labels.revision").parse().unwrap_or(0),
            node: pod.field("spec.node").to_owned(),
            born: now,
            draining: false,
            users: 0,
            fenced: false,
        };
        self.processes.insert(pod.uid.clone(), process);
        let _ = self.api.edit(key, &same(pod), |pod| {
            pod.set_state("phase", "Running");
            pod.status.remove("trouble");
        });
    }

    /// Says how a process is; one whose Pod is to be deleted empties itself and ends.
    fn keep(&mut self, key: &Key, pod: &Object) {
        let users = self.users(&pod.uid);
        let Some(process) = self.processes.get_mut(&pod.uid) else { return };
        let ready = process.is_up(self.now, &self.ills);
        if let Some(since) = pod.deleted_at {
            process.draining = true;
            if users == 0 || self.now.since(since) >= GRACE_MS {
                self.end(&pod.uid, true);
                let _ = self.api.delete(self.now, key, &same(pod), true);
                return;
            }
        }
        if pod.state("ready") != ready.to_string() {
            let _ = self.api.edit(key, &same(pod), |pod| pod.set_state("ready", ready));
        }
    }
}

fn same(pod: &Object) -> Expected {
    Expected { uid: Some(pod.uid.clone()), version: None }
}
