//! How often everything happened: a fault that never comes proves nothing.

use std::collections::BTreeMap;
use std::fmt;

/// Words that can be counted, each with the sentence that explains it.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($word:ident => $sentence:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $(#[doc = $sentence] $word,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$word,)*];

            /// What it means.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$word => $sentence,)* }
            }
        }
    };
}

words! {
    /// What went wrong, or was done by somebody else.
    Fault {
        OperatorCrash => "The operator that leads dies between two requests.",
        OperatorPaused => "The operator that leads stands still for longer than it may lead.",
        OperatorReleased => "The operator that leads ends and lets another lead.",
        OldView => "A look sees one kind of object as it was up to 20 writes ago.",
        OldRegistry => "A look sees the registry as it was up to 20 writes ago.",
        MissedEvent => "A watch leaves one change out, until it lists again.",
        Gone => "A watch is refused with 410 and lists again.",
        RequestRefused => "A request is refused with 503.",
        RequestLost => "A request never arrives.",
        AnswerLost => "A request is done and its answer lost.",
        RequestSlow => "A request is done seconds after it was given up.",
        Interleaved => "A second passes between two requests of a plan.",
        RegistryDown => "The operator cannot reach etcd for a while.",
        ApiDown => "No operator can reach the API server for a while.",
        SampleSilent => "A Pod says nothing of its load for a while.",
        NodeCut => "A node is cut off from the network, and comes back.",
        NodeDied => "A node loses its power, and starts again.",
        NodeRemoved => "A dead node is taken out of the cluster, and comes back new.",
        NodeCordoned => "A node takes no new Pods for a while.",
        NodeDrained => "Somebody drains a node with evictions.",
        NodeTainted => "A node gets a taint that starts drains.",
        EvictionRefused => "An eviction is refused with 429: the budget is used up.",
        ProcessKilled => "A process is killed; its kubelet starts it again.",
        PodFailed => "A Pod is over for good.",
        PodDeleted => "Somebody deletes a Pod.",
        PodForced => "Somebody deletes a Pod without waiting for its end.",
        LabelEdited => "Somebody turns the serving label of a Pod over.",
        PodUnlabelled => "Somebody takes the label of its cluster off a Pod.",
        RevisionEdited => "Somebody edits a stored revision, or takes its label off.",
        ObjectEdited => "Somebody edits an owned object.",
        ObjectDeleted => "Somebody deletes an owned object.",
        DrainStuck => "No user leaves a draining Pod for a while.",
        ImageBroken => "A new shape whose image cannot be pulled.",
        ShapeStuck => "A new shape whose Pods run and are never ready.",
        ShapeSlow => "A new shape whose messages come late.",
        ShapeFails => "A new shape on which requests fail.",
        ShapeCrashes => "A new shape whose containers end again and again.",
        ShapeHealed => "What was wrong with a shape is mended outside.",
        SpecAppliedAgain => "The same spec is applied again, with another hot field.",
        AskedRollbackFast => "Somebody asks for a fast rollback.",
        AskedRollbackGentle => "Somebody asks for a gentle rollback.",
        AskedPause => "Somebody asks to hold the rollout.",
        AskedResume => "Somebody asks to go on with the rollout.",
        AskedPromote => "Somebody asks to end the canary.",
        AskedDrainPods => "Somebody asks to empty some Pods.",
        AskedDrainNodes => "Somebody asks to empty the nodes of a label.",
        AskedDrainZone => "Somebody asks to empty a zone.",
        AskedRebalance => "Somebody asks to place all slots anew.",
        OperationDeleted => "Somebody deletes an operation.",
        UsersCame => "Many users come.",
        UsersWent => "Many users go.",
        SizeChanged => "The spec asks for another size.",
        ShapeChanged => "The spec asks for another shape.",
        Paused => "The spec says to pause for a while.",
        ClusterDeleted => "The cluster is deleted.",
    }
}

words! {
    /// What the operator did.
    Transition {
        FinalizerSet => "The finalizer was put on the cluster.",
        FinalizerRemoved => "The finalizer was taken off the cluster.",
        ObjectWritten => "An owned object was written.",
        RevisionWritten => "A revision was stored.",
        RevisionForgotten => "A revision that nobody needs was forgotten.",
        BudgetWritten => "A budget was written.",
        PodRestored => "A Pod that had lost its label got it back.",
        RevisionRestored => "A revision that had been edited was written as it was made.",
        PodCreated => "A Pod was made.",
        PodNotCreated => "A Pod was asked for that was there already.",
        DeletedEmptied => "A Pod was deleted once its drain had emptied it.",
        DeletedDeadline => "A Pod was deleted at the deadline of its drain.",
        DeletedUnused => "A Pod that nobody used was deleted.",
        DeletedFailed => "A Pod that was over was deleted.",
        DeletedWithCluster => "A Pod was deleted with its cluster.",
        DrainStarted => "A Pod was told to empty itself.",
        DrainForSize => "A drain began: its pool is too large.",
        DrainForCordon => "A drain began: its node is cordoned.",
        DrainForTaint => "A drain began: its node is tainted.",
        DrainForRollout => "A drain began: its revision goes.",
        DrainForRollback => "A drain began: its revision is blocked.",
        DrainForOperation => "A drain began: somebody asked for it.",
        DrainForEviction => "A Pod was evicted or deleted with users on it.",
        DrainForDeletion => "A drain began: the cluster is deleted.",
        DrainTakenBack => "A Pod was told to stay.",
        LabelOn => "A Pod came into service.",
        LabelOff => "A Pod was taken out of service.",
        TargetWritten => "A target of placements was written.",
        PlacementWritten => "A placement was written.",
        PolicyWritten => "The policy of rooms was written.",
        KeysForgotten => "The keys of a deleted cluster were removed.",
        EpochTaken => "A leader took its epoch.",
        EpochRefused => "A document of a deposed leader was refused.",
        StatusWritten => "The status was written.",
        StatusRefused => "A status was refused: somebody else had written the cluster.",
        RolloutBegun => "A rollout began.",
        CanaryBegun => "A canary was to get a share of the users.",
        UsersShed => "Users of a gateway were asked to connect anew.",
        ShareReached => "A canary had its share.",
        PromoteBegun => "Everybody was to move to a new revision.",
        RolloutDone => "Everybody was on a new revision.",
        RolloutReplaced => "Another rollout took the place of one.",
        RolloutDropped => "A rollout was given up: the spec went back, or a rollback began.",
        RolloutHeld => "A rollout was held by an operation.",
        HoldLeft => "A rollout that was held went on.",
        HaltedNotStarting => "A rollout halted: Pods did not start.",
        HaltedRestarts => "A rollout halted: containers ended.",
        HaltedErrors => "A rollout halted: requests failed.",
        HaltedSlow => "A rollout halted: messages came late.",
        HaltLeft => "A rollout that had halted went on.",
        RollbackBegun => "A revision was blocked.",
        RollbackDone => "Everybody was back from a blocked revision.",
        BlockLifted => "A revision was blocked no more: the spec asks for another.",
        WarmBegun => "The revision before was kept warm.",
        WarmEnded => "A revision was warm no more.",
        OperationWritten => "It was written how far an operation is.",
        OperationSucceeded => "An operation succeeded.",
        OperationFailed => "An operation failed.",
        OperationSuperseded => "Something later took the place of an operation.",
        OperationForgotten => "An operation was deleted when its time to live was over.",
        DeleteRefused => "A deletion was refused: the Pod was not as it was seen, or had more users.",
    }
}

/// The counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Faults.
    pub faults: BTreeMap<Fault, u64>,
    /// Transitions.
    pub transitions: BTreeMap<Transition, u64>,
    /// Plans that were made.
    pub plans: u64,
    /// Requests that were sent.
    pub requests: u64,
}

impl Tally {
    pub(crate) fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub(crate) fn transition(&mut self, transition: Transition) {
        *self.transitions.entry(transition).or_default() += 1;
    }

    /// How many faults there were.
    pub(crate) fn all_faults(&self) -> u64 {
        self.faults.values().sum()
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        for (transition, count) in &other.transitions {
            *self.transitions.entry(*transition).or_default() += count;
        }
        self.plans += other.plans;
        self.requests += other.requests;
    }

    /// Those that happened less often than `least`, in a word each.
    #[must_use]
    pub fn rarer_than(&self, least: u64) -> Vec<String> {
        let faults = Fault::ALL.iter().map(|word| (format!("{word:?}"), self.faults.get(word)));
        let transitions = Transition::ALL.iter().map(|word| (format!("{word:?}"), self.transitions.get(word)));
        faults.chain(transitions).filter(|(_, n)| n.copied().unwrap_or(0) < least).map(|(word, _)| word).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} plans, {} requests", self.plans, self.requests)?;
        writeln!(f, "faults:")?;
        for word in Fault::ALL {
            let name = format!("{word:?}");
            writeln!(f, "  {name:<20}{:>10}  {}", self.faults.get(word).unwrap_or(&0), word.sentence())?;
        }
        writeln!(f, "transitions:")?;
        for word in Transition::ALL {
            let name = format!("{word:?}");
            writeln!(f, "  {name:<20}{:>10}  {}", self.transitions.get(word).unwrap_or(&0), word.sentence())?;
        }
        Ok(())
    }
}
