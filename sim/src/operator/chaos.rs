//! What happens to a cluster from outside: to its nodes, its Pods, its users and its spec.

use throng_core::{Millis, Role};

use super::api::{Expected, Key, Kind};
use super::ground::spec::{CLUSTER, MAX, PER_POD, SHAPE, TAINT, WINDOW, path};
use super::see::{NUMBER, WATCHED};
use super::sim::Sim;
use super::tally::Fault;

/// Where there is nothing for what was drawn, something else is, so many times.
const DRAWS: u32 = 3;

/// What may happen, with how often each is drawn: in most worlds, and in those that are about releases.
const HAPPENINGS: [(Fault, u64, u64); 44] = [
    (Fault::OperatorCrash, 3, 2),
    (Fault::OperatorPaused, 3, 1),
    (Fault::OperatorReleased, 3, 1),
    (Fault::RegistryDown, 3, 1),
    (Fault::ApiDown, 2, 1),
    (Fault::SampleSilent, 4, 1),
    (Fault::NodeCut, 3, 1),
    (Fault::NodeDied, 3, 1),
    (Fault::NodeRemoved, 2, 1),
    (Fault::NodeCordoned, 3, 1),
    (Fault::NodeDrained, 3, 1),
    (Fault::NodeTainted, 2, 1),
    (Fault::ProcessKilled, 4, 1),
    (Fault::PodFailed, 3, 1),
    (Fault::PodDeleted, 4, 1),
    (Fault::PodForced, 2, 1),
    (Fault::LabelEdited, 3, 1),
    (Fault::PodUnlabelled, 3, 1),
    (Fault::RevisionEdited, 2, 2),
    (Fault::ObjectEdited, 4, 1),
    (Fault::ObjectDeleted, 4, 1),
    (Fault::DrainStuck, 3, 1),
    (Fault::UsersCame, 8, 3),
    (Fault::UsersWent, 5, 1),
    (Fault::SizeChanged, 8, 2),
    (Fault::Paused, 2, 1),
    (Fault::ShapeChanged, 4, 6),
    (Fault::ImageBroken, 1, 2),
    (Fault::ShapeStuck, 1, 2),
    (Fault::ShapeSlow, 1, 7),
    (Fault::ShapeFails, 1, 6),
    (Fault::ShapeCrashes, 1, 4),
    (Fault::ShapeHealed, 1, 2),
    (Fault::SpecAppliedAgain, 1, 3),
    (Fault::AskedRollbackFast, 1, 3),
    (Fault::AskedRollbackGentle, 1, 4),
    (Fault::AskedPause, 1, 7),
    (Fault::AskedResume, 1, 6),
    (Fault::AskedPromote, 1, 3),
    (Fault::AskedDrainPods, 2, 1),
    (Fault::AskedDrainNodes, 1, 1),
    (Fault::AskedDrainZone, 1, 1),
    (Fault::AskedRebalance, 1, 1),
    (Fault::OperationDeleted, 2, 3),
];

impl Sim {
    /// What a person wrote into this cluster beside sizes: how soon a pool shrinks, and how far it may grow.
    pub(crate) fn draw_spec(&mut self) {
        let (window, max) = (self.ground.dice.pick(&[0, 10, 40]), self.ground.dice.pick(&[6, 1000]));
        let key = (Kind::Cluster, CLUSTER.to_owned());
        let _ = self.ground.api.edit(&key, &Expected::default(), |cluster| {
            cluster.set_field(WINDOW, window.unwrap_or(10));
            cluster.set_field(MAX, max.unwrap_or(1000));
        });
    }

    /// Somebody thinks better of a size, once a Pod of the pool is emptying itself.
    pub(crate) fn think_better(&mut self) {
        let ground = &self.ground;
        let drains = |of: Role| ground.processes.values().any(|process| process.role == of && process.draining);
        if let Some((_, role, size)) = self.regret.take_if(|(at, role, _)| *at <= ground.now || drains(*role)) {
            let key = (Kind::Cluster, CLUSTER.to_owned());
            let _ = self.ground.api.edit(&key, &Expected::default(), |cluster| cluster.set_field(&path(role), size));
            self.ground.count(Fault::SizeChanged);
            self.say(|| format!("SizeChanged: {role} {size} again"));
        }
    }

    /// Something happens: the first that there is something for.
    pub(crate) fn happen(&mut self) {
        for _ in 0..DRAWS {
            if self.draw().is_some_and(|fault| self.strike(fault)) {
                return;
            }
        }
    }

    fn draw(&mut self) -> Option<Fault> {
        let releases = self.releases;
        let often = |usual, released| if releases { released } else { usual };
        let all = HAPPENINGS.iter().map(|(_, usual, released)| often(*usual, *released)).sum();
        let mut drawn = self.ground.dice.below(all);
        for (fault, usual, released) in HAPPENINGS {
            let often = often(usual, released);
            if drawn < often {
                return Some(fault);
            }
            drawn -= often;
        }
        None
    }

    /// One thing happens, if there is something that it can happen to; whether it did.
    pub(crate) fn strike(&mut self, fault: Fault) -> bool {
        let name = format!("{fault:?}");
        let struck = match name {
            _ if name.starts_with("Operator") || matches!(fault, Fault::RegistryDown | Fault::ApiDown) => {
                self.strike_operator(fault)
            }
            _ if name.starts_with("Node") => self.strike_node(fault),
            _ if matches!(fault, Fault::ObjectEdited | Fault::ObjectDeleted) => self.strike_object(fault),
            _ if fault == Fault::RevisionEdited => self.strike_revision(),
            _ if name.starts_with("Asked") || fault == Fault::OperationDeleted => self.strike_operation(fault),
            _ if name.starts_with("Shape") || matches!(fault, Fault::ImageBroken | Fault::SpecAppliedAgain) => {
                self.strike_release(fault)
            }
            _ if matches!(fault, Fault::SizeChanged | Fault::Paused | Fault::ClusterDeleted) => self.strike_spec(fault),
            _ if matches!(fault, Fault::UsersCame | Fault::UsersWent | Fault::DrainStuck) => self.strike_users(fault),
            _ => self.strike_pod(fault),
        };
        if let Some(what) = &struck {
            self.ground.count(fault);
            self.say(|| format!("{name}: {what}"));
        }
        struck.is_some()
    }

    fn later(&mut self, least_s: u64, spread_s: u64) -> Millis {
        Millis(self.ground.now.0 + 1000 * (least_s + self.ground.dice.below(spread_s)))
    }

    fn strike_operator(&mut self, fault: Fault) -> Option<String> {
        let until = self.later(3, 20);
        if fault == Fault::RegistryDown {
            self.weather.registry_down_until = until;
            return Some(format!("until {}", until.0));
        }
        if fault == Fault::ApiDown {
            self.weather.api_down_until = until;
            return Some(format!("until {}", until.0));
        }
        let who = self.lease.holder()?;
        match fault {
            Fault::OperatorPaused => self.replicas.get_mut(who)?.away_until = self.later(11, 20),
            Fault::OperatorReleased => {
                self.lease.release();
                self.crash(who, 3000);
            }
            _ => self.crash(who, until.since(self.ground.now)),
        }
        Some(format!("operator {who}"))
    }

    fn strike_node(&mut self, fault: Fault) -> Option<String> {
        let name = format!("node-{}", self.ground.dice.below(6));
        let until = self.later(3, 40);
        let machine = self.ground.machines.get_mut(&name).filter(|machine| machine.back_at.is_none())?;
        machine.back_at = Some(until);
        let key = (Kind::Node, name.clone());
        let any = Expected::default();
        match fault {
            Fault::NodeCut => machine.network = false,
            Fault::NodeDied => self.ground.power_off(&name),
            Fault::NodeRemoved => {
                self.ground.power_off(&name);
                let _ = self.ground.api.delete(self.ground.now, &key, &any, true);
            }
            Fault::NodeTainted => drop(self.ground.api.edit(&key, &any, |node| node.set_field("spec.taints", TAINT))),
            _ => {
                machine.drained = fault == Fault::NodeDrained;
                let _ = self.ground.api.edit(&key, &any, |node| node.set_field("spec.unschedulable", true));
            }
        }
        Some(name)
    }

    fn strike_object(&mut self, fault: Fault) -> Option<String> {
        let kinds = [Kind::Service, Kind::Policy, Kind::Budget];
        let all: Vec<Key> = kinds
            .into_iter()
            .flat_map(|kind| self.ground.api.list(kind).map(move |(name, _)| (kind, name.to_owned())))
            .collect();
        let key = self.ground.dice.pick(&all)?;
        let any = Expected::default();
        if fault == Fault::ObjectDeleted {
            let _ = self.ground.api.delete(self.ground.now, &key, &any, false);
        } else {
            let field = if key.0 == Kind::Budget { "spec.min" } else { "spec.content" };
            let _ = self.ground.api.edit(&key, &any, |object| object.set_field(field, 7));
        }
        Some(format!("{key:?}"))
    }

    fn strike_revision(&mut self) -> Option<String> {
        let stored: Vec<String> = self.ground.api.list(Kind::Revision).map(|(name, _)| name.to_owned()).collect();
        let name = self.ground.dice.pick(&stored)?;
        let (field, value) = self.ground.dice.pick(&[(WATCHED, ""), (SHAPE, "edited"), (NUMBER, "999")])?;
        let key = (Kind::Revision, name.clone());
        let _ = self.ground.api.edit(&key, &Expected::default(), |stored| stored.set_field(field, value));
        Some(format!("{name} {field}"))
    }

    fn strike_spec(&mut self, fault: Fault) -> Option<String> {
        let key = (Kind::Cluster, CLUSTER.to_owned());
        let dice = &mut self.ground.dice;
        let (role, size) = (dice.pick(&Role::ALL)?, 1 + dice.below(5));
        if fault == Fault::ClusterDeleted {
            let _ = self.ground.api.delete(self.ground.now, &key, &Expected::default(), false);
            return Some(String::new());
        }
        let cluster = self.ground.api.get(Kind::Cluster, CLUSTER)?;
        let before = u64::from(super::ground::spec::size(cluster, role));
        if fault == Fault::SizeChanged && size < before && self.ground.dice.permille(500) {
            let at = self.later(50, 10);
            self.regret = Some((at, role, before));
        }
        self.edit_cluster(|cluster| match fault {
            Fault::SizeChanged => cluster.set_field(&path(role), size),
            _ => cluster.set_field("spec.paused", cluster.field("spec.paused") != "true"),
        })?;
        Some(format!("{role} {size}"))
    }

    fn strike_users(&mut self, fault: Fault) -> Option<String> {
        let role = self.ground.dice.pick(&Role::ALL)?;
        let drawn = self.ground.dice.below(4 * PER_POD);
        match fault {
            Fault::UsersCame => *self.ground.crowd.wanted.of_mut(role) = drawn,
            Fault::UsersWent => *self.ground.crowd.wanted.of_mut(role) /= 4,
            _ => self.ground.stuck_until = self.later(10, 40),
        }
        Some(format!("{role} {}", self.ground.crowd.wanted.of(role)))
    }

    fn strike_pod(&mut self, fault: Fault) -> Option<String> {
        let (name, uid) = {
            let pods = self.ground.pods();
            self.ground.dice.pick(&pods)?
        };
        let (key, any, until) = ((Kind::Pod, name.clone()), Expected::default(), self.later(3, 40));
        let ground = &mut self.ground;
        match fault {
            Fault::SampleSilent => drop(ground.silent.insert(uid, until)),
            Fault::ProcessKilled => ground.kill(&name, &uid),
            Fault::PodFailed => ground.fail(&name, &uid),
            Fault::LabelEdited => {
                let _ = ground.api.edit(&key, &any, |pod| {
                    pod.set_field("labels.serving", pod.field("labels.serving") != "true");
                });
            }
            Fault::PodUnlabelled => drop(ground.api.edit(&key, &any, |pod| pod.set_field(WATCHED, ""))),
            _ => drop(ground.api.delete(ground.now, &key, &any, fault == Fault::PodForced)),
        }
        Some(name)
    }

    /// Everything that was broken is whole again; what a person asked for stays.
    pub(crate) fn heal(&mut self) {
        self.say(|| "faults end".to_owned());
        self.weather = super::weather::Weather::default();
        self.regret = None;
        let ground = &mut self.ground;
        (ground.stuck_until, ground.silent) = (ground.now, std::collections::BTreeMap::new());
        ground.ills = super::ground::shapes::Ills::default();
        for name in ground.machines.keys().cloned().collect::<Vec<_>>() {
            ground.bring_back(&name);
        }
        let key = (Kind::Cluster, CLUSTER.to_owned());
        let _ = ground.api.edit(&key, &Expected::default(), |cluster| cluster.set_field("spec.paused", false));
        let cluster = ground.api.get(Kind::Cluster, CLUSTER).cloned();
        for role in Role::ALL {
            let size = cluster.as_ref().map_or(0, |cluster| super::ground::spec::size(cluster, role));
            let wanted = ground.crowd.wanted.of_mut(role);
            *wanted = (*wanted).min(u64::from(size) * PER_POD / 2);
        }
    }
}
