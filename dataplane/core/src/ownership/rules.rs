//! The rules that the model checker takes away, one at a time, to show what each is for.
//!
//! Not among them are rules that keep the protocol short, not safe; without them the model breaks no promise. No move starts
//! while etcd or the store is in trouble (tried with a move and two more faults in any order of seven steps); after an etcd that
//! came back empty, incumbents may claim first, and who comes second takes the way of a crash; a new container revokes the lease
//! of the one before it, and would else wait until it ends.

/// Which rules are in force: all of them, outside the model. Each names the story that it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Rules {
    /// A right counts from when it was asked for, not from when the answer came.
    pub count_from_sending: bool,
    /// A lease is a right only for what was claimed under it.
    pub lease_of_the_claim: bool,
    /// Who does not reach the store leaves a slot to a live member that does.
    pub leave_it_to_who_reaches_the_store: bool,
    /// A taker whom the store does not answer waits before it goes on without: others may live by grace.
    pub wait_when_blind: bool,
    /// An owner that stepped down but still holds its claim writes it again before it opens.
    pub bump_before_reopening: bool,
    /// A taker revokes whoever the fence names, and waits for the rest of its grace.
    pub wait_for_grace: bool,
    /// A fence is raised only over the holder that was revoked; if there is another, it is named and nothing changes.
    pub fences_name_their_holder: bool,
    /// A mark revokes only epochs smaller than its own: a dead taker's mark does not outlive it.
    pub marks_compare_epochs: bool,
    /// A taker waits 1.5 s after the store was emptied: the mark that it would have found may be forgotten.
    pub wait_after_emptied: bool,
    /// An instance creates its grace only with all its fences written again: an emptied store has forgotten them.
    pub grace_needs_fences: bool,
    /// Between sending a move and reading its outcome the lease is no right.
    pub unknown_move_suspends: bool,
    /// After a move of unknown outcome, a claim that is still one's own is written again.
    pub unknown_move_bumps: bool,
    /// The store's incarnation is raised before etcd's is created.
    pub store_incarnation_first: bool,
    /// A new incarnation is larger than any that a reachable Pod knows.
    pub ask_pods_for_incarnation: bool,
    /// A taker asks message Pods to promise before it seals.
    pub gather_promises: bool,
    /// A subscriber that knows more of an older epoch than its `last` raises it.
    pub raise_last: bool,
}

impl Rules {
    /// All.
    pub const ALL: Self = Self {
        count_from_sending: true,
        lease_of_the_claim: true,
        leave_it_to_who_reaches_the_store: true,
        wait_when_blind: true,
        bump_before_reopening: true,
        wait_for_grace: true,
        fences_name_their_holder: true,
        marks_compare_epochs: true,
        wait_after_emptied: true,
        grace_needs_fences: true,
        unknown_move_suspends: true,
        unknown_move_bumps: true,
        store_incarnation_first: true,
        ask_pods_for_incarnation: true,
        gather_promises: true,
        raise_last: true,
    };
}

impl Default for Rules {
    fn default() -> Self {
        Self::ALL
    }
}
