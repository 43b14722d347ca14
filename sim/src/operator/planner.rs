//! The planner, and planners that are broken on purpose: whoever does not catch these catches nothing.

use throng_plan::status::DrainStatus;
use throng_plan::{Plan, World, plan};

/// A planner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Planner {
    /// The one that clusters run.
    #[default]
    Real,
    /// Its drains end at once, users or not.
    IgnoresDeadlines,
    /// It gives an index away while a process of it lives.
    UsesIndexTwice,
    /// It keeps its drains in memory.
    Remembers,
    /// It takes away what is too much before it looks who needs it.
    IgnoresUsers,
    /// It believes every sample, however old.
    BelievesOldSamples,
    /// It forgets which revision is blocked.
    UsesBlocked,
}

impl Planner {
    /// Plans. `memory` is what a process of it remembers, until it dies.
    pub(crate) fn plan(self, world: &World, memory: &mut Vec<DrainStatus>) -> Plan {
        let mut wrong = world.clone();
        match self {
            Self::Real => return plan(world),
            Self::IgnoresDeadlines => wrong.spec.drain.deadline_ms = 0,
            Self::UsesIndexTwice => {
                let pods = &world.pods;
                if let Some(registry) = &mut wrong.registry {
                    registry.members.retain(|_, member| pods.contains_key(&member.pod));
                }
            }
            Self::Remembers => {
                wrong.status.drains.clone_from(memory);
                let mut plan = plan(&wrong);
                *memory = std::mem::take(&mut plan.status.drains);
                return plan;
            }
            Self::UsesBlocked => {
                let rollback = plan(world).status.rollback;
                wrong.status.rollback = None;
                wrong.operations.clear();
                let mut plan = plan(&wrong);
                plan.status.rollback = rollback;
                return plan;
            }
            Self::BelievesOldSamples => wrong.samples.values_mut().for_each(|sample| sample.at = world.now),
            Self::IgnoresUsers => {
                for sample in wrong.samples.values_mut() {
                    sample.load.values_mut().for_each(|users| *users = 0.0);
                }
            }
        }
        plan(&wrong)
    }
}
