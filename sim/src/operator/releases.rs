//! Releases, ill ones among them, and what people ask for beside the spec.

use throng_core::Role;
use throng_plan::spec::operation::{Action, Pace, Whom};
use throng_plan::status::RolloutPhase;

use super::api::{Expected, Kind, Object};
use super::ground::shapes::Ills;
use super::ground::spec::{CANARY, CLUSTER, HALT, HOLD, PACE, PROGRESS, SHAPE, WARM};
use super::sim::Sim;
use super::tally::Fault;

/// Whoever asks for a Pod, a zone or nodes mistypes so often, in a thousand.
const TYPOS: u64 = 100;
/// An ill befalls the release that is on its way so often; else it comes with a new one.
const LATER: u64 = 600;
/// Whoever asks to hold, go on or end a rollout looks so often whether there is one.
const LOOKS: u64 = 800;

impl Sim {
    /// How new revisions take over in this cluster.
    pub(crate) fn draw_rollout(&mut self) {
        let dice = &mut self.ground.dice;
        let canaries = if self.releases { &["10", "5,25", "50", "25", ""][..] } else { &["", "", "25"][..] };
        let drawn = [
            (CANARY, dice.pick(canaries)),
            (HOLD, dice.pick(&["0", "3", "10"])),
            (WARM, dice.pick(&["0", "20", "40"])),
            (PROGRESS, dice.pick(&["15", "30", "600"])),
            (HALT, dice.pick(&["", "1", "1", "3"])),
            (PACE, dice.pick(&["", "", "40"])),
        ];
        if self.releases {
            for role in Role::ALL {
                *self.ground.crowd.wanted.of_mut(role) = 20 + self.ground.dice.below(130);
            }
        }
        let _ = self.edit_cluster(|cluster| {
            for (path, value) in drawn {
                cluster.set_field(path, value.unwrap_or_default());
            }
        });
    }

    /// Somebody edits the cluster; none if it is not there.
    pub(crate) fn edit_cluster(&mut self, change: impl FnOnce(&mut Object)) -> Option<()> {
        let key = (Kind::Cluster, CLUSTER.to_owned());
        self.ground.api.edit(&key, &Expected::default(), change).ok().map(drop)
    }

    /// A release, or something about one.
    pub(super) fn strike_release(&mut self, fault: Fault) -> Option<String> {
        let dice = &mut self.ground.dice;
        let (number, pace) = (dice.below(4), 20 + dice.below(100));
        if fault == Fault::ShapeHealed {
            let ills = std::mem::take(&mut self.ground.ills);
            return (ills != Ills::default()).then(String::new);
        }
        if fault == Fault::SpecAppliedAgain {
            self.edit_cluster(|cluster| cluster.set_field(PACE, pace))?;
            return Some(format!("{pace} users a second"));
        }
        let later = self.on_its_way().filter(|_| self.ground.dice.permille(LATER));
        let ills = &mut self.ground.ills;
        let (word, ill) = match fault {
            Fault::ImageBroken => ("broken", Some(&mut ills.broken)),
            Fault::ShapeStuck => ("stuck", Some(&mut ills.stuck)),
            Fault::ShapeSlow => ("slow", Some(&mut ills.slow)),
            Fault::ShapeFails => ("failing", Some(&mut ills.failing)),
            Fault::ShapeCrashes => ("crashing", Some(&mut ills.crashing)),
            _ => ("shape", None),
        };
        let shape = format!("{word}-{}", 1 + number);
        if let Some(ill) = ill {
            let runs = matches!(fault, Fault::ShapeSlow | Fault::ShapeFails | Fault::ShapeCrashes);
            if let Some(shape) = later.filter(|_| runs) {
                ill.insert(shape.clone());
                return Some(format!("{shape}, on its way"));
            }
            ill.insert(shape.clone());
        }
        self.edit_cluster(|cluster| cluster.set_field(SHAPE, &shape))?;
        Some(shape)
    }

    /// Somebody asks for something, or takes an operation away.
    pub(super) fn strike_operation(&mut self, fault: Fault) -> Option<String> {
        if fault == Fault::OperationDeleted {
            let all: Vec<String> = self.ground.api.list(Kind::Operation).map(|(name, _)| name.to_owned()).collect();
            let name = self.ground.dice.pick(&all)?;
            let key = (Kind::Operation, name.clone());
            let _ = self.ground.api.delete(self.ground.now, &key, &Expected::default(), false);
            return Some(name);
        }
        let about = matches!(fault, Fault::AskedPause | Fault::AskedResume | Fault::AskedPromote);
        if about && self.on_its_way().is_none() && self.ground.dice.permille(LOOKS) {
            return None;
        }
        let action = self.draw_action(fault)?;
        let name = self.ground.ask(&action);
        Some(format!("{name}: {action:?}"))
    }

    /// The shape of the release that is on its way.
    fn on_its_way(&self) -> Option<String> {
        self.ground.status()?.rollout.as_ref()?;
        let cluster = self.ground.api.get(Kind::Cluster, CLUSTER)?;
        Some(cluster.field(SHAPE).to_owned())
    }

    fn draw_action(&mut self, fault: Fault) -> Option<Action> {
        let pods = self.ground.pods();
        let dice = &mut self.ground.dice;
        let typo = dice.permille(TYPOS);
        let to = if dice.permille(300) { Some(1 + dice.below(4)) } else { None };
        let text = |right: &str, wrong: &str| if typo { wrong.to_owned() } else { right.to_owned() };
        Some(match fault {
            Fault::AskedRollbackFast => Action::Rollback { to, pace: Pace::Fast },
            Fault::AskedRollbackGentle => Action::Rollback { to, pace: Pace::Gentle },
            Fault::AskedPause => Action::Pause,
            Fault::AskedResume => Action::Resume,
            Fault::AskedPromote => Action::Promote,
            Fault::AskedRebalance => Action::Rebalance,
            Fault::AskedDrainPods => {
                let (first, second) = (dice.pick(&pods)?.0, dice.pick(&pods)?.0);
                let names = if first == second { vec![first] } else { vec![first, text(&second, "lvie-gateway-1-0")] };
                Action::Drain(Whom::Pods(names))
            }
            Fault::AskedDrainNodes => {
                let pool = dice.pick(&["even", "odd"])?;
                Action::Drain(Whom::Nodes(vec![("pool".to_owned(), text(pool, "old"))]))
            }
            _ => {
                let zone = dice.pick(&["a", "b", "c"])?;
                Action::Drain(Whom::Zone(text(zone, "z")))
            }
        })
    }

    /// A person goes on with a rollout that is held or has halted, once nothing is asked for any more. It is no fault that was
    /// drawn, so it does not count as one.
    pub(crate) fn help(&mut self) {
        let status = self.ground.status();
        let phase = status.and_then(|status| status.rollout.as_ref().map(|rollout| rollout.phase));
        if matches!(phase, Some(RolloutPhase::Halted | RolloutPhase::Paused)) && self.ground.open_operations() == 0 {
            let name = self.ground.ask(&Action::Resume);
            self.say(|| format!("{name}: somebody asks to go on, for nothing else is asked for"));
        }
    }
}
