//! A plan while it is being made: actions by the part of a look that they belong to.

use super::waiting::Waiting;
use super::{Action, Reason};

/// Actions in the order of their parts. What adds capacity comes before what takes it away.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The finalizer, and objects that Pods need.
    pub(super) first: Vec<Action>,
    /// Pods that come back into service, and new ones.
    pub(super) gains: Vec<Action>,
    /// Placements: slots leave a Pod before it drains, so that it knows where they go.
    pub(super) documents: Vec<Action>,
    /// Pods that leave service, and drains.
    pub(super) leaves: Vec<Action>,
    /// Budgets that become smaller: after the labels that they count.
    pub(super) budgets: Vec<Action>,
    /// Pods that are deleted.
    pub(super) deletes: Vec<Action>,
    /// What became of operations: everything else comes first.
    pub(super) operations: Vec<Action>,
    /// The finalizer goes.
    pub(super) last: Vec<Action>,
    /// One line for each decision.
    pub(super) why: Vec<String>,
    /// What cannot be made or placed now, and why; drains for which there is no room in the status.
    pub(super) blocked: Vec<(Reason, String)>,
    /// Pods that should go and stay for now.
    pub(super) waiting: Waiting,
    /// Slots of rooms and of users that are not where they should be; none where nothing says where that is: without a registry,
    /// and while a pool has no Pod to place.
    pub(super) slots_away: (Option<u32>, Option<u32>),
}

impl Draft {
    /// Takes every action back, and what was said about them.
    pub(super) fn forget(&mut self) {
        *self = Self { slots_away: self.slots_away, ..Self::default() };
    }

    /// Slots of rooms and of users that are known not to be where they should be.
    pub(super) fn known_away(&self) -> (u32, u32) {
        (self.slots_away.0.unwrap_or(0), self.slots_away.1.unwrap_or(0))
    }

    /// All actions, in order.
    pub(super) fn actions(&mut self) -> Vec<Action> {
        let mut all = std::mem::take(&mut self.first);
        for part in [
            &mut self.gains,
            &mut self.documents,
            &mut self.leaves,
            &mut self.budgets,
            &mut self.deletes,
            &mut self.operations,
            &mut self.last,
        ] {
            all.append(part);
        }
        all
    }
}
