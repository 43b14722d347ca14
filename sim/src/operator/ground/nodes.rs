//! Nodes: what they are, what the API server says of them, and which Pods they get.

use throng_core::Millis;

use super::super::api::{Expected, Kind, Object};
use super::super::tally::Fault;
use super::{Ground, spec};

/// A node whose kubelet is silent for so long is not ready.
const SILENT_MS: u64 = 5_000;

/// A node as it is.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    number: u64,
    /// It has power.
    pub(crate) power: bool,
    /// It has a network.
    pub(crate) network: bool,
    /// Everything is well again then.
    pub(crate) back_at: Option<Millis>,
    /// Somebody drains it with evictions.
    pub(crate) drained: bool,
    heard: Millis,
}

impl Machine {
    /// Whether others can reach it.
    pub(crate) const fn reachable(&self) -> bool {
        self.power && self.network
    }
}

impl Ground {
    pub(crate) fn add_node(&mut self, number: u64) {
        let zone = ["a", "b", "c"].into_iter().cycle().nth(usize::try_from(number).unwrap_or(0)).unwrap_or_default();
        let pool = if number.is_multiple_of(2) { "even" } else { "odd" };
        let mut node = Object::new(None, [("labels.zone", zone.to_owned()), ("labels.pool", pool.to_owned())]);
        node.set_state("ready", true);
        node.set_state("since", self.now.0);
        let name = format!("node-{number}");
        let _ = self.api.create(self.now, (Kind::Node, name.clone()), node);
        let machine = Machine { number, power: true, network: true, back_at: None, drained: false, heard: self.now };
        self.machines.insert(name, machine);
    }

    /// A node loses its power: what runs on it is gone.
    pub(crate) fn power_off(&mut self, name: &str) {
        let Some(machine) = self.machines.get_mut(name) else { return };
        machine.power = false;
        let lost = self.processes.iter().filter(|(_, process)| process.node == name);
        for uid in lost.map(|(uid, _)| uid.clone()).collect::<Vec<_>>() {
            self.end(&uid, false);
        }
    }

    /// A node is well again and takes Pods; one that was taken out of the cluster comes back new.
    pub(crate) fn bring_back(&mut self, name: &str) {
        let Some(machine) = self.machines.get_mut(name) else { return };
        (machine.power, machine.network, machine.back_at, machine.heard) = (true, true, None, self.now);
        machine.drained = false;
        let number = machine.number;
        if self.api.get(Kind::Node, name).is_none() {
            self.add_node(number);
        }
        let _ = self.api.edit(&(Kind::Node, name.to_owned()), &Expected::default(), |node| {
            node.fields.retain(|path, _| path != "spec.unschedulable" && path != "spec.taints");
        });
        self.mark(name, true);
    }

    /// Says of a node whether it is ready; Pods on one that is not are not ready either.
    fn mark(&mut self, name: &str, ready: bool) {
        let now = self.now.0;
        if !ready {
            let there = self.api.list(Kind::Pod).filter(|(_, pod)| pod.field("spec.node") == name);
            for pod in there.map(|(name, _)| name.to_owned()).collect::<Vec<_>>() {
                let _ = self.api.edit(&(Kind::Pod, pod), &Expected::default(), |pod| {
                    if pod.state("ready") == "true" {
                        pod.set_state("ready", false);
                    }
                });
            }
        }
        let _ = self.api.edit(&(Kind::Node, name.to_owned()), &Expected::default(), |node| {
            if node.state("ready") != ready.to_string() {
                node.set_state("ready", ready);
                node.set_state("since", now);
            }
        });
    }

    /// Nodes come back in their time, silent ones are said not to be ready, and drains of nodes go on.
    pub(super) fn run_nodes(&mut self) {
        for name in self.machines.keys().cloned().collect::<Vec<_>>() {
            let Some(machine) = self.machines.get_mut(&name) else { continue };
            if machine.reachable() {
                machine.heard = self.now;
            }
            let (silent, drained) = (self.now.since(machine.heard) >= SILENT_MS, machine.drained);
            if machine.back_at.is_some_and(|at| at <= self.now) {
                self.bring_back(&name);
            } else if silent {
                self.mark(&name, false);
            }
            if drained {
                self.evict_all(&name);
            }
        }
        self.collect_pods();
    }

    /// Pods on a node that is no more are taken away.
    fn collect_pods(&mut self) {
        let on = |pod: &Object| pod.field("spec.node").to_owned();
        let gone = self
            .api
            .list(Kind::Pod)
            .filter(|(_, pod)| !on(pod).is_empty() && self.api.get(Kind::Node, &on(pod)).is_none());
        for name in gone.map(|(name, _)| name.to_owned()).collect::<Vec<_>>() {
            let _ = self.api.delete(self.now, &(Kind::Pod, name), &Expected::default(), true);
        }
    }

    fn evict_all(&mut self, node: &str) {
        let there = self.api.list(Kind::Pod).filter(|(_, pod)| pod.field("spec.node") == node);
        let there = there.filter(|(_, pod)| pod.deleted_at.is_none()).map(|(name, _)| name.to_owned());
        for name in there.collect::<Vec<_>>() {
            if self.api.evict(self.now, &name).is_err() {
                self.count(Fault::EvictionRefused);
            }
        }
    }

    /// Pods without a node get one that takes Pods, of their zone if there is one.
    pub(super) fn schedule(&mut self) {
        let free = self.api.list(Kind::Pod).filter(|(_, pod)| pod.field("spec.node").is_empty());
        let free: Vec<(String, String)> =
            free.map(|(name, pod)| (name.to_owned(), pod.field("labels.zone").to_owned())).collect();
        for (name, zone) in free {
            let open = self.api.list(Kind::Node).filter(|(_, node)| {
                node.state("ready") == "true"
                    && node.field("spec.unschedulable") != "true"
                    && node.field("spec.taints") != spec::TAINT
            });
            let (preferred, others): (Vec<_>, Vec<_>) =
                open.partition(|(_, node)| zone.is_empty() || node.field("labels.zone") == zone);
            let best = if preferred.is_empty() { others } else { preferred };
            let best: Vec<String> = best.into_iter().map(|(name, _)| name.to_owned()).collect();
            let Some(node) = self.dice.pick(&best) else { continue };
            let _ = self.api.edit(&(Kind::Pod, name), &Expected::default(), |pod| {
                pod.fields.insert("spec.node".to_owned(), node);
            });
        }
    }
}
