//! What may happen to what an operator sees and sends.

use throng_core::Millis;

use super::api::Kind;
use super::ground::Ground;
use super::replica::Replica;
use super::tally::Fault;

/// Views may be older by so many writes.
const BEHIND: u64 = 20;

/// How often each thing happens, in a thousand; all zero: fair weather.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// A kind of object is seen as it was.
    pub(crate) old_view: u64,
    /// By how many writes, the registry too; drawn anew each time if zero.
    pub(crate) behind: u64,
    /// A Pod's sample does not come in time.
    pub(crate) late_samples: u64,
    /// The write that every watch misses.
    pub(crate) missed_write: Option<u64>,
    /// The registry is seen as it was.
    pub(crate) old_registry: u64,
    /// A watch misses a change.
    pub(crate) missed: u64,
    /// A watch is refused and lists again.
    pub(crate) gone: u64,
    /// Something happens to a request.
    pub(crate) requests: u64,
    /// The operator dies at a request.
    pub(crate) crash: u64,
    /// etcd cannot be reached until then.
    pub(crate) registry_down_until: Millis,
    /// No operator can reach the API server until then: nobody renews the Lease, and views stay as they are.
    pub(crate) api_down_until: Millis,
}

impl Weather {
    /// A day of its own for each seed: some things often, some never.
    pub(crate) fn of(ground: &mut Ground) -> Self {
        let mut often = |most: u64| ground.dice.pick(&[0, most / 4, most]).unwrap_or(0);
        let old_view = often(300);
        Self {
            old_view,
            // What is seen late is heard late.
            late_samples: old_view,
            old_registry: often(300),
            missed: often(60),
            gone: often(30),
            requests: often(120),
            crash: often(30),
            ..Self::default()
        }
    }

    /// Whether the API server answers.
    pub(crate) fn api_answers(&self, now: Millis) -> bool {
        self.api_down_until <= now
    }

    /// Lets a process see what is new, as far as the weather allows.
    pub(crate) fn see(&self, ground: &mut Ground, replica: &mut Replica, list_ms: u64) {
        if self.api_answers(ground.now) {
            self.watch(ground, replica, list_ms);
        }
        let pods = replica.informer.view(Kind::Pod);
        // Who has no address is heard of no more.
        replica.heard.retain(|uid, _| pods.values().any(|pod| pod.uid == *uid && pod.state("phase") == "Running"));
        for pod in pods.values() {
            // A stream is up to a second late; in bad weather it may be later.
            let late = ground.dice.permille(self.late_samples);
            let sample = ground.sample(&pod.uid).filter(|_| !late);
            replica.heard.extend(sample.map(|sample| (pod.uid.clone(), sample)));
        }
    }

    fn watch(&self, ground: &mut Ground, replica: &mut Replica, list_ms: u64) {
        let list = replica.listed_at.is_none_or(|at| ground.now.since(at) >= list_ms);
        for kind in Kind::ALL {
            let mut behind = 0;
            if ground.dice.permille(self.old_view) {
                behind = self.writes_behind(ground);
                ground.count(Fault::OldView);
            }
            if list {
                replica.informer.list(&ground.api, kind, behind);
                continue;
            }
            let missed = ground.dice.permille(self.missed) && replica.informer.miss(&ground.api, kind, None);
            if missed || self.missed_write.is_some() && replica.informer.miss(&ground.api, kind, self.missed_write) {
                ground.count(Fault::MissedEvent);
            }
            let refused = ground.dice.permille(self.gone);
            if refused || replica.informer.follow(&ground.api, kind, behind).is_err() {
                ground.count(Fault::Gone);
                replica.informer.list(&ground.api, kind, behind);
            }
        }
        if list {
            replica.listed_at = Some(ground.now);
        }
    }

    /// How many writes the registry is seen behind.
    pub(crate) fn registry_behind(&self, ground: &mut Ground) -> u64 {
        if !ground.dice.permille(self.old_registry) {
            return 0;
        }
        ground.count(Fault::OldRegistry);
        self.writes_behind(ground)
    }

    fn writes_behind(&self, ground: &mut Ground) -> u64 {
        if self.behind > 0 { self.behind } else { 1 + ground.dice.below(BEHIND) }
    }

    /// What a request meets.
    pub(crate) fn meets(&self, ground: &mut Ground) -> Option<Fault> {
        if ground.dice.permille(self.crash) {
            return Some(Fault::OperatorCrash);
        }
        let faults = [
            Fault::RequestRefused,
            Fault::RequestLost,
            Fault::AnswerLost,
            Fault::RequestSlow,
            Fault::Interleaved,
            Fault::OperatorPaused,
        ];
        if ground.dice.permille(self.requests) { ground.dice.pick(&faults) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_registry_is_as_old_as_it_is_said_to_be() {
        let mut ground = Ground::new(1, [1, 1, 1]);
        let weather = Weather { old_registry: 1000, behind: 7, ..Weather::default() };
        assert!((0..50).all(|_| weather.registry_behind(&mut ground) == 7));
        let any = Weather { behind: 0, ..weather };
        let drawn: BTreeSet<u64> = (0..500).map(|_| any.registry_behind(&mut ground)).collect();
        assert!(drawn.into_iter().eq(1..=BEHIND));
        assert_eq!(Weather::default().registry_behind(&mut ground), 0);
    }

    #[test]
    fn samples_come_late_in_some_random_worlds() {
        let drawn = (0..20).map(|seed| Weather::of(&mut Ground::new(seed, [1, 1, 1])).late_samples);
        assert_eq!(drawn.collect::<BTreeSet<_>>(), [0, 75, 300].into());
    }
}
