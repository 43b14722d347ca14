//! What people ask of the cluster: by flags or a file, and by the buttons of the page. Pure.
//!
//! Without a file the buttons say how many Pods there are: *add* makes a pool larger by one, *drain* and *kill* smaller. With
//! a file its numbers count: what is drained or killed is replaced, and what was added stays until the file changes.

use std::collections::{BTreeMap, BTreeSet};

use throng_core::Role;
use throng_plan::pools::Pools;
use throng_plan::spec::ClusterSpec;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Wishes {
    spec: ClusterSpec,
    /// Counts the specs.
    generation: i64,
    by_file: bool,
    /// Pods more than the spec asks for; fewer if negative.
    more: Pools<i64>,
    /// Pods that must go, and whether another need not take their place.
    leaving: BTreeMap<String, bool>,
}

impl Wishes {
    pub(super) fn new(spec: ClusterSpec, by_file: bool) -> Self {
        Self { spec, generation: 1, by_file, more: Pools::default(), leaving: BTreeMap::new() }
    }

    /// The file says something else.
    pub(super) fn replace(&mut self, spec: ClusterSpec) {
        self.spec = spec;
        self.generation += 1;
        self.more = Pools::default();
        self.leaving.values_mut().for_each(|lowered| *lowered = false);
    }

    pub(super) const fn generation(&self) -> i64 {
        self.generation
    }

    /// The spec with the wishes of the page in it.
    pub(super) fn spec(&self) -> ClusterSpec {
        let mut spec = self.spec.clone();
        for role in Role::ALL {
            let pool = spec.pools.of_mut(role);
            let fixed = pool.min == pool.max;
            let min = i64::from(pool.min) + self.more.of(role);
            pool.min = u32::try_from(min.max(1)).unwrap_or(1);
            pool.max = if fixed { pool.min } else { pool.max.max(pool.min) };
        }
        spec
    }

    /// Whether a Pod must go.
    pub(super) fn leaves(&self, name: &str) -> bool {
        self.leaving.contains_key(name)
    }

    /// One Pod more.
    pub(super) fn add(&mut self, role: Role) {
        *self.more.of_mut(role) += 1;
    }

    /// One Pod less, if the pool may become smaller by hand; whether it does.
    fn lower(&mut self, role: Role) -> bool {
        let least = if self.by_file { 0 } else { 1 - i64::from(self.spec.pools.of(role).min) };
        let more = self.more.of_mut(role);
        let lowers = *more > least;
        *more -= i64::from(lowers);
        lowers
    }

    /// This Pod is to be emptied and to go.
    pub(super) fn drain(&mut self, role: Role, name: &str) {
        if !self.leaves(name) {
            let lowered = self.lower(role);
            self.leaving.insert(name.to_owned(), lowered);
        }
    }

    /// It is to stay after all.
    pub(super) fn undrain(&mut self, role: Role, name: &str) {
        if let Some(lowered) = self.leaving.remove(name) {
            *self.more.of_mut(role) += i64::from(lowered);
        }
    }

    /// This Pod was killed by hand.
    pub(super) fn kill(&mut self, role: Role, name: &str) {
        // What was to go anyway is not counted twice.
        if !self.leaves(name) {
            self.lower(role);
        }
    }

    /// Forgets Pods that are gone: another of the same name is not meant.
    pub(super) fn keep(&mut self, names: &BTreeSet<String>) {
        self.leaving.retain(|name, _| names.contains(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::given;

    const ROLE: Role = Role::Message;

    fn wishes(min: u32, max: u32, by_file: bool) -> Wishes {
        let mut spec = given::by_flags([2, 2, 2]).unwrap().spec;
        (spec.pools.message.min, spec.pools.message.max) = (min, max);
        Wishes::new(spec, by_file)
    }

    fn size(wishes: &Wishes) -> (u32, u32) {
        let pool = wishes.spec().pools.message;
        (pool.min, pool.max)
    }

    #[test]
    fn by_hand_buttons_say_how_many_there_are_and_the_last_one_is_replaced() {
        let mut wishes = wishes(2, 2, false);
        wishes.add(ROLE);
        assert_eq!(size(&wishes), (3, 3));
        wishes.drain(ROLE, "a");
        wishes.drain(ROLE, "a");
        assert!(wishes.leaves("a"));
        assert_eq!(size(&wishes), (2, 2), "asked twice, it goes once");
        wishes.undrain(ROLE, "a");
        wishes.undrain(ROLE, "a");
        assert_eq!((size(&wishes), wishes.leaves("a")), ((3, 3), false));
        for name in ["a", "b", "c", "d"] {
            wishes.kill(ROLE, name);
        }
        assert_eq!(size(&wishes), (1, 1));
        wishes.drain(ROLE, "e");
        wishes.undrain(ROLE, "e");
        assert_eq!(size(&wishes), (1, 1), "the last one was to be replaced, so nothing is taken back");
    }

    #[test]
    fn with_a_file_what_goes_is_replaced_and_what_came_may_go_again() {
        let mut wishes = wishes(2, 5, true);
        wishes.drain(ROLE, "a");
        wishes.kill(ROLE, "b");
        assert_eq!(size(&wishes), (2, 5));
        (0..4).for_each(|_| wishes.add(ROLE));
        assert_eq!(size(&wishes), (6, 6));
        wishes.drain(ROLE, "c");
        assert_eq!(size(&wishes), (5, 5));
        let again = wishes.spec.clone();
        wishes.replace(again);
        assert_eq!((size(&wishes), wishes.generation(), wishes.leaves("c")), ((2, 5), 2, true));
        wishes.undrain(ROLE, "c");
        assert_eq!(size(&wishes), (2, 5), "the file has said how many since");
    }

    #[test]
    fn a_pod_that_is_gone_is_forgotten() {
        let mut wishes = wishes(2, 2, false);
        wishes.drain(ROLE, "a");
        wishes.keep(&["b".to_owned()].into());
        assert_eq!((size(&wishes), wishes.leaves("a")), ((1, 1), false));
    }
}
