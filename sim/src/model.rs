//! Faults in every order and at every step, explored by stateright.
//!
//! A [`Scenario`] says which faults may happen, how many, and within how many steps. Between two steps any fault that the
//! budget allows may happen and any that lasts may end; after the last step everything heals and [`World::settle`] asks
//! whether all is well. Times are real (the machine's own figures), so the space is bounded by the number of steps.

use stateright::{Model, Property};
use throng_core::ownership::{Input, Rules};

use crate::etcd::Fate;
use crate::process::the_slot;
use crate::promises::Violation;
use crate::world::World;

/// What may go wrong, or be asked for. Numbers are Pods, or message Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The process does not run until it is resumed (SIGSTOP).
    Pause(usize),
    /// The process is killed; it may be started again.
    Crash(usize),
    /// The process does not reach etcd.
    CutEtcd(usize),
    /// The process's watch stands still; requests are answered.
    CutWatch(usize),
    /// The process does not reach Redis.
    CutRedis(usize),
    /// etcd is down, and comes back with its data.
    EtcdDown,
    /// etcd comes back empty.
    EmptyEtcd,
    /// Redis is down, and comes back with its data.
    RedisDown,
    /// Redis comes back empty.
    EmptyRedis,
    /// A message Pod reaches nobody.
    CutRelay(usize),
    /// Segments to a message Pod stay on their way.
    Hold(usize),
    /// Answers to a process stay on their way for a step.
    Slow(usize),
    /// Processes run in the other order in the next step.
    Turn,
    /// The owner is asked to move the slot to this Pod.
    Move(usize),
    /// The answer to the next move is lost.
    MoveUnanswered,
    /// The next move is applied later, or never.
    MoveStraggles,
    /// The next hand-over is lost.
    LoseHandOver,
}

/// A bounded world of faults.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The rules in force.
    pub rules: Rules,
    /// Chatroom Pods.
    pub pods: usize,
    /// What happens before the search begins.
    pub prelude: Vec<Prelude>,
    /// What may happen in it.
    pub faults: Vec<Fault>,
    /// How many of them.
    pub budget: u8,
    /// For how many steps; then everything heals.
    pub steps: u32,
    /// Worlds in which nobody remembers the incarnation are not looked at any further.
    pub forgives: bool,
    /// How much likelier a step is than any one fault, in random walks.
    pub calm: usize,
}

/// What happens before a search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prelude {
    /// Something goes wrong.
    Fault(Fault),
    /// Something that lasted ends.
    Heal(Fault),
    /// So many steps.
    Steps(u32),
    /// Owners order messages, or do not. They do, at first.
    Talk(bool),
}

/// A world on its way through a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The world.
    pub world: World,
    steps: u32,
    budget: u8,
    /// Faults of one step are told in one order only.
    since_step: Option<usize>,
    turned: bool,
    settled: bool,
}

/// What the search does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Time passes.
    Step,
    /// Something goes wrong.
    Fault(Fault),
    /// Something that lasted ends.
    Heal(Fault),
    /// A straggling transaction arrives.
    Arrive,
    /// Everything heals, and must be well.
    Settle,
}

impl Scenario {
    /// Two Pods with all rules and no faults yet.
    #[must_use]
    pub const fn new(budget: u8, steps: u32) -> Self {
        Self {
            rules: Rules::ALL,
            pods: 2,
            prelude: Vec::new(),
            faults: Vec::new(),
            budget,
            steps,
            forgives: false,
            calm: 1,
        }
    }

    fn start(&self) -> State {
        let mut state = State {
            world: World::new(self.pods, self.rules),
            steps: 0,
            budget: self.budget,
            since_step: None,
            turned: false,
            settled: false,
        };
        state.world.talking = true;
        for prelude in &self.prelude {
            match *prelude {
                Prelude::Fault(fault) => state.inflict(fault),
                Prelude::Heal(fault) => state.heal(fault),
                Prelude::Talk(talking) => state.world.talking = talking,
                Prelude::Steps(steps) => (0..steps).for_each(|_| state.step()),
            }
        }
        state
    }
}

impl State {
    /// Does a fault; nothing if it makes no difference.
    pub fn inflict(&mut self, fault: Fault) {
        let world = &mut self.world;
        match fault {
            Fault::Crash(pod) => {
                if let Some(process) = world.processes.get_mut(pod) {
                    *process = None;
                }
            }
            Fault::EtcdDown => world.etcd.up = false,
            Fault::EmptyEtcd => world.etcd.empty(),
            Fault::RedisDown => world.redis.up = false,
            Fault::EmptyRedis => world.redis.empty(),
            Fault::CutRelay(relay) => world.relays.iter_mut().skip(relay).take(1).for_each(|r| r.reachable = false),
            Fault::Hold(relay) => drop(world.held.insert(relay)),
            Fault::Turn => self.turned = true,
            Fault::MoveUnanswered => world.etcd.next_move = Fate::Applied,
            Fault::MoveStraggles => world.etcd.next_move = Fate::Straggles,
            Fault::LoseHandOver => world.lose_hand_over = true,
            Fault::Move(pod) => {
                let Some(to) = world.processes.get(pod).and_then(Option::as_ref).map(|p| p.instance.clone()) else {
                    return;
                };
                let owners: Vec<usize> = world.owners().map(|(pod, _)| pod).collect();
                for owner in owners {
                    if let Some(process) = world.processes.get_mut(owner).and_then(Option::as_mut) {
                        process.inbox.push(Input::Move { slot: the_slot(), to: to.clone() });
                    }
                }
            }
            Fault::Pause(pod)
            | Fault::CutEtcd(pod)
            | Fault::CutWatch(pod)
            | Fault::CutRedis(pod)
            | Fault::Slow(pod) => {
                let Some(process) = world.processes.get_mut(pod).and_then(Option::as_mut) else { return };
                match fault {
                    Fault::Pause(_) => process.paused = true,
                    Fault::CutEtcd(_) => process.no_etcd = true,
                    Fault::CutWatch(_) => process.no_watch = true,
                    Fault::CutRedis(_) => process.no_redis = true,
                    _ => process.slow = true,
                }
            }
        }
    }

    fn step(&mut self) {
        let turned = std::mem::take(&mut self.turned);
        self.world.step(turned);
    }

    /// Ends a fault that lasts.
    fn heal(&mut self, fault: Fault) {
        let world = &mut self.world;
        match fault {
            Fault::Crash(pod) => world.start(pod),
            Fault::EtcdDown => world.etcd.restart(world.now),
            Fault::Hold(relay) => drop(world.held.remove(&relay)),
            Fault::RedisDown => world.redis.up = true,
            Fault::CutRelay(relay) => world.relays.iter_mut().skip(relay).take(1).for_each(|r| r.reachable = true),
            Fault::Pause(pod) | Fault::CutEtcd(pod) | Fault::CutWatch(pod) | Fault::CutRedis(pod) => {
                let Some(process) = world.processes.get_mut(pod).and_then(Option::as_mut) else { return };
                match fault {
                    Fault::Pause(_) => process.paused = false,
                    Fault::CutEtcd(_) => process.no_etcd = false,
                    Fault::CutWatch(_) => process.no_watch = false,
                    _ => process.no_redis = false,
                }
            }
            _ => {}
        }
    }

    /// Whether a fault is there and can end.
    fn lasts(&self, fault: Fault) -> bool {
        let world = &self.world;
        let process = |pod: usize| world.processes.get(pod).and_then(Option::as_ref);
        match fault {
            Fault::Crash(pod) => world.processes.get(pod).is_some_and(Option::is_none),
            Fault::EtcdDown => !world.etcd.up,
            Fault::Hold(relay) => world.held.contains(&relay),
            Fault::RedisDown => !world.redis.up,
            Fault::CutRelay(relay) => world.relays.get(relay).is_some_and(|relay| !relay.reachable),
            Fault::Pause(pod) => process(pod).is_some_and(|process| process.paused),
            Fault::CutEtcd(pod) => process(pod).is_some_and(|process| process.no_etcd),
            Fault::CutWatch(pod) => process(pod).is_some_and(|process| process.no_watch),
            Fault::CutRedis(pod) => process(pod).is_some_and(|process| process.no_redis),
            _ => false,
        }
    }
}

impl Model for Scenario {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.settled || !state.world.violations.is_empty() {
            return;
        }
        if state.steps >= self.steps {
            actions.push(Action::Settle);
            return;
        }
        actions.extend(std::iter::repeat_n(Action::Step, self.calm));
        for (at, fault) in self.faults.iter().enumerate() {
            if state.since_step.is_some_and(|last| at <= last) {
                continue;
            }
            if state.budget > 0 {
                actions.push(Action::Fault(*fault));
            }
            if state.lasts(*fault) {
                actions.push(Action::Heal(*fault));
            }
        }
        if state.world.etcd.has_straggler() {
            actions.push(Action::Arrive);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        let order = |fault: &Fault| self.faults.iter().position(|other| other == fault);
        match action {
            Action::Step => {
                next.step();
                next.steps += 1;
                next.since_step = None;
                if self.forgives && next.world.forgot {
                    next.settled = true;
                    next.world.violations.clear();
                }
            }
            Action::Fault(fault) => {
                next.inflict(fault);
                // It was so already.
                if next == *state {
                    return None;
                }
                next.budget -= 1;
                next.since_step = order(&fault);
            }
            Action::Heal(fault) => {
                next.heal(fault);
                next.since_step = order(&fault);
            }
            Action::Arrive => next.world.arrive(),
            Action::Settle => {
                next.world.settle();
                next.settled = true;
                if self.forgives && next.world.forgot {
                    next.world.violations.clear();
                }
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn never(violation: Violation) -> fn(&Scenario, &State) -> bool {
            match violation {
                Violation::TwoOwners => |_, state| !state.world.violations.contains(&Violation::TwoOwners),
                Violation::StampTwice => |_, state| !state.world.violations.contains(&Violation::StampTwice),
                Violation::LawBroken => |_, state| !state.world.violations.contains(&Violation::LawBroken),
                Violation::EpochNotLarger => |_, state| !state.world.violations.contains(&Violation::EpochNotLarger),
                Violation::NotServed => |_, state| !state.world.violations.contains(&Violation::NotServed),
                Violation::MoveNotEnded => |_, state| !state.world.violations.contains(&Violation::MoveNotEnded),
                Violation::EndsDiffer => |_, state| !state.world.violations.contains(&Violation::EndsDiffer),
                Violation::Restless => |_, state| !state.world.violations.contains(&Violation::Restless),
            }
        }
        Violation::ALL.iter().map(|&violation| Property::always(violation.promise(), never(violation))).collect()
    }
}
