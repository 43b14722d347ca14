//! Weighted rendezvous hashing: every reader ranks the same Pods for the same key alike, and a Pod that comes or goes
//! disturbs only its own share (Thaler and Ravishankar 1998; weights after Schindelhauer and Schomaker 2005).
//!
//! [`Nodes`] ranks Pods for a key. [`Nodes::assign`] spreads all slots with a bound on the load of each Pod (Mirrokni,
//! Thorup and Zadimoghaddam 2018), [`relay`] picks the message Pod that a gateway asks for a room.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use smallvec::SmallVec;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::slot::SLOTS;
use crate::{RoomId, Slot};

/// No Pod gets more than this many hundredths of its fair share of slots.
pub const BOUND_PERCENT: u64 = 115;

/// So many of the best are found without a list, and kept of every slot.
const FEW: usize = 4;
/// No Pod, in a ranking.
const NOBODY: u16 = u16::MAX;

/// What is ranked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// The key of a slot, of either role.
    #[must_use]
    pub fn slot(slot: Slot) -> Self {
        Self(u64::from(slot.number()))
    }

    /// The key of a room as a gateway asks for it: gateways spread one hot room over the message Pods.
    #[must_use]
    pub fn relay(room: &RoomId, gateway: &str) -> Self {
        Self(xxh3_64_with_seed(gateway.as_bytes(), xxh3_64(room.as_str().as_bytes())))
    }
}

/// How well a Pod fits a key: larger is better, equal only by a collision of hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    fit: u64,
    seed: u64,
}

/// Pods that may be chosen, with weights. Places in the answers are those of the given order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Nodes {
    nodes: Vec<Node>,
    same_weights: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    seed: u64,
    weight: u32,
}

impl Nodes {
    /// Takes names, unique among them, and weights. A Pod of weight 2 gets twice the keys of one of weight 1, a Pod of
    /// weight 0 none.
    pub fn new<'a>(nodes: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        let nodes: Vec<Node> =
            nodes.into_iter().map(|(name, weight)| Node { seed: xxh3_64(name.as_bytes()), weight }).collect();
        let mut weights = nodes.iter().map(|node| node.weight).filter(|&weight| weight > 0);
        let first = weights.next();
        let same_weights = weights.all(|weight| Some(weight) == first);
        Self { nodes, same_weights }
    }

    /// The best `k` places for a key, best first; fewer if there are fewer Pods. O(n k).
    #[must_use]
    pub fn top(&self, key: Key, k: usize) -> SmallVec<[usize; 4]> {
        let place = |(_, place)| place;
        if k <= FEW {
            self.few(key, k).into_iter().flatten().map(place).collect()
        } else {
            self.many(key, k).into_iter().map(place).collect()
        }
    }

    /// The best `k` of at most [`FEW`], with their scores: without a list, for a placement asks for them 4,096 times.
    fn few(&self, key: Key, k: usize) -> [Option<(Score, usize)>; FEW] {
        let mut best = [None; FEW];
        for (place, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.weight > 0) {
            let mut falls = (self.score(key, *node), place);
            for entry in best.iter_mut().take(k) {
                match entry {
                    None => {
                        *entry = Some(falls);
                        break;
                    }
                    Some(better) if falls.0 > better.0 => std::mem::swap(better, &mut falls),
                    Some(_) => {}
                }
            }
        }
        best
    }

    fn many(&self, key: Key, k: usize) -> Vec<(Score, usize)> {
        let mut best: Vec<(Score, usize)> = Vec::new();
        for (place, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.weight > 0) {
            let score = self.score(key, *node);
            if best.len() == k && best.last().is_none_or(|(worst, _)| *worst >= score) {
                continue;
            }
            let at = best.partition_point(|(better, _)| *better > score);
            best.insert(at, (score, place));
            best.truncate(k);
        }
        best
    }

    fn score(&self, key: Key, node: Node) -> Score {
        let hash = xxh3_64_with_seed(&key.0.to_le_bytes(), node.seed);
        // Among equals the larger hash wins by either formula; the short one is five times faster.
        let fit = if self.same_weights { hash } else { weighted(hash, node.weight) };
        Score { fit, seed: node.seed }
    }

    /// The best Pods of every slot. O(slots x Pods): whoever asks for more than a few slots asks once.
    #[must_use]
    pub fn firsts(&self) -> Firsts {
        let place =
            |found: Option<(Score, usize)>| found.map_or(NOBODY, |(_, place)| place.try_into().unwrap_or(NOBODY));
        Firsts(Slot::all().map(|slot| self.few(Key::slot(slot), FEW).map(place)).collect())
    }

    /// Gives every slot to a Pod so that none gets more than `ceil(1.15 x its fair share)`: each slot asks its Pods in
    /// order of rank, a full Pod keeps the slots that fit it best (deferred acceptance, so the outcome does not depend
    /// on any order). `None` everywhere if there is no Pod with a weight. `firsts` are those of the same Pods.
    #[must_use]
    pub fn assign(&self, firsts: &Firsts) -> Vec<Option<usize>> {
        let bounds = self.bounds();
        let mut owners: Vec<Option<usize>> = vec![None; usize::from(SLOTS)];
        if bounds.iter().all(|&bound| bound == 0) {
            return owners;
        }
        let mut held: Vec<BinaryHeap<Reverse<(Score, Slot)>>> = vec![BinaryHeap::new(); self.nodes.len()];
        let mut asking: Vec<Asking> = Slot::all().map(|slot| Asking { slot, ranked: Vec::new(), next: 0 }).collect();
        for start in Slot::all() {
            let mut turn = Some(start);
            while let Some(slot) = turn {
                let Some((score, place)) = asking.get_mut(slot.index()).and_then(|asking| asking.next(self, firsts))
                else {
                    break;
                };
                let (Some(heap), Some(&bound)) = (held.get_mut(place), bounds.get(place)) else { break };
                heap.push(Reverse((score, slot)));
                turn = if heap.len() > bound { heap.pop().map(|Reverse((_, worst))| worst) } else { None };
            }
        }
        for (place, heap) in held.into_iter().enumerate() {
            for Reverse((_, slot)) in heap {
                if let Some(owner) = owners.get_mut(slot.index()) {
                    *owner = Some(place);
                }
            }
        }
        owners
    }

    /// Most slots that each Pod may get: `ceil(1.15 x 4,096 x weight / sum of weights)`.
    #[must_use]
    pub fn bounds(&self) -> Vec<usize> {
        let total: u64 = self.nodes.iter().map(|node| u64::from(node.weight)).sum();
        let bound = |node: &Node| {
            let share = BOUND_PERCENT * u64::from(SLOTS) * u64::from(node.weight);
            usize::try_from(share.div_ceil((100 * total).max(1))).unwrap_or(usize::MAX)
        };
        self.nodes.iter().map(bound).collect()
    }
}

/// The best few Pods of every slot, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firsts(Vec<[u16; FEW]>);

impl Firsts {
    /// Places of the best Pods for a slot: four, or as many as have a weight.
    pub fn of(&self, slot: Slot) -> impl Iterator<Item = usize> {
        let places = self.0.get(slot.index()).copied().unwrap_or([NOBODY; FEW]);
        places.into_iter().filter(|place| *place != NOBODY).map(usize::from)
    }
}

/// A slot on its way down its ranking. Most never get past the first few places.
struct Asking {
    slot: Slot,
    ranked: Vec<(Score, usize)>,
    next: usize,
}

impl Asking {
    fn next(&mut self, nodes: &Nodes, firsts: &Firsts) -> Option<(Score, usize)> {
        let (at, key) = (self.next, Key::slot(self.slot));
        self.next += 1;
        if at < FEW {
            let place = firsts.of(self.slot).nth(at)?;
            return nodes.nodes.get(place).map(|node| (nodes.score(key, *node), place));
        }
        if at >= self.ranked.len() {
            self.ranked = nodes.many(key, at * 4);
        }
        self.ranked.get(at).copied()
    }
}

/// `weight / -ln(u)` for the hash as a fraction `u` in (0, 1), as bits that order like the number. Only the four basic
/// operations are used: they give the same bits on every machine, which a library's logarithm does not promise.
fn weighted(hash: u64, weight: u32) -> u64 {
    let numerator = (hash >> 11) as f64 + 0.5;
    let u = numerator / (1u64 << 53) as f64;
    (f64::from(weight) / -ln(u)).to_bits()
}

/// Natural logarithm of a positive normal number, by `ln m = 2 artanh((m - 1) / (m + 1))` for the mantissa.
fn ln(x: f64) -> f64 {
    const LN_2: f64 = std::f64::consts::LN_2;
    let bits = x.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0) - 1023;
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for odd in [23.0, 21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = sum * square + 1.0 / odd;
    }
    f64::from(exponent) * LN_2 + 2.0 * s * sum
}

/// The message Pods that a gateway asks for a room, best first: the next one is taken when the first is silent or has
/// lost the owner. `pods` are names and weights; the answer holds at most `k` places among them.
#[must_use]
pub fn relay<'a>(
    room: &RoomId,
    gateway: &str,
    pods: impl IntoIterator<Item = (&'a str, u32)>,
    k: usize,
) -> SmallVec<[usize; 4]> {
    Nodes::new(pods).top(Key::relay(room, gateway), k)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("live-chatroom-a-{i}")).collect()
    }

    fn equal(names: &[String]) -> Nodes {
        Nodes::new(names.iter().map(|name| (name.as_str(), 1)))
    }

    fn assigned(nodes: &Nodes) -> Vec<Option<usize>> {
        nodes.assign(&nodes.firsts())
    }

    fn loads(owners: &[Option<usize>], n: usize) -> Vec<usize> {
        let mut loads = vec![0; n];
        for owner in owners.iter().flatten() {
            loads[*owner] += 1;
        }
        loads
    }

    /// Part of the contract between versions: a Pod of an older one must rank alike. Made with another implementation
    /// (the Python package `xxhash` and the C library's logarithm).
    #[test]
    fn golden_vectors() {
        let equal = Nodes::new([("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
        let weighted = Nodes::new([("a", 1), ("b", 2), ("c", 3), ("d", 4)]);
        let vectors = [
            (0, [3, 0, 1, 2], [3, 1, 0, 2]),
            (1, [2, 1, 3, 0], [2, 1, 3, 0]),
            (2, [1, 2, 3, 0], [1, 2, 3, 0]),
            (3, [3, 1, 2, 0], [3, 1, 2, 0]),
            (1764, [1, 0, 3, 2], [1, 3, 2, 0]),
            (4095, [2, 1, 3, 0], [2, 3, 1, 0]),
        ];
        for (number, by_hash, by_weight) in vectors {
            let key = Key::slot(Slot::new(number).unwrap());
            assert_eq!(equal.top(key, 4).to_vec(), by_hash, "{number}");
            assert_eq!(weighted.top(key, 4).to_vec(), by_weight, "{number}");
        }
        let room = RoomId::new("final").unwrap();
        let pods = ["m-0", "m-1", "m-2", "m-3"].map(|pod| (pod, 1));
        assert_eq!(relay(&room, "g-0", pods, 4).to_vec(), [2, 0, 1, 3]);
        assert_eq!(relay(&room, "g-1", pods, 4).to_vec(), [2, 0, 1, 3]);
    }

    #[test]
    fn the_logarithm_is_the_logarithm() {
        for x in [1e-300, 1e-9, 0.1, 0.25, 0.5, 0.75, 0.999_999, 1.0, 2.0, 12_345.678] {
            assert!((ln(x) - f64::ln(x)).abs() <= 1e-10 * f64::ln(x).abs().max(1.0), "{x}");
        }
    }

    #[test]
    fn equal_weights_rank_as_the_general_formula_does() {
        let names = names(9);
        let fast = equal(&names);
        let slow = Nodes { same_weights: false, ..fast.clone() };
        for slot in Slot::all() {
            assert_eq!(fast.top(Key::slot(slot), 9), slow.top(Key::slot(slot), 9), "{slot}");
        }
    }

    #[test]
    fn the_first_few_are_those_of_the_whole_ranking() {
        for n in [0, 1, 3, 4, 9] {
            let nodes = equal(&names(n));
            for slot in Slot::all().step_by(7) {
                let all = nodes.top(Key::slot(slot), n.max(5));
                for k in 0..=FEW {
                    assert_eq!(nodes.top(Key::slot(slot), k)[..], all[..k.min(n)], "{slot}: {k} of {n}");
                }
            }
        }
    }

    #[test]
    fn weights_share_the_keys() {
        let nodes = Nodes::new([("a", 1), ("b", 3), ("none", 0)]);
        let firsts: Vec<_> = Slot::all().map(|slot| nodes.top(Key::slot(slot), 1).first().copied()).collect();
        let loads = loads(&firsts, 3);
        assert!((924..1124).contains(&loads[0]), "a quarter of 4,096 is 1,024, found {}", loads[0]);
        assert_eq!(loads[2], 0);
    }

    #[test]
    fn without_pods_nothing_is_assigned() {
        assert!(assigned(&Nodes::default()).iter().all(Option::is_none));
        assert!(assigned(&Nodes::new([("a", 0)])).iter().all(Option::is_none));
    }

    #[test]
    fn a_new_pod_takes_about_its_share_and_little_else_moves() {
        for n in [2, 3, 5, 10, 40] {
            let names = names(n + 1);
            let before = assigned(&equal(&names[..n]));
            let after = assigned(&equal(&names));
            let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
            let to_others = before.iter().zip(&after).filter(|(a, b)| a != b && **b != Some(n)).count();
            let share = usize::from(SLOTS) / (n + 1);
            assert!(moved <= share * 3 / 2 + 16, "{n}: {moved} moved, {share} is fair");
            assert!(to_others <= share / 2 + 16, "{n}: {to_others} moved between Pods that stayed");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn no_pod_gets_more_than_its_bound_and_every_slot_has_one(weights in prop::collection::vec(1u32..8, 1..60)) {
            let names = names(weights.len());
            let nodes = Nodes::new(names.iter().map(String::as_str).zip(weights.iter().copied()));
            let owners = assigned(&nodes);
            prop_assert!(owners.iter().all(Option::is_some));
            let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
            for (load, weight) in loads(&owners, weights.len()).into_iter().zip(&weights) {
                let fair = 4096.0 * f64::from(*weight) / total as f64;
                prop_assert!(load as f64 <= (1.15 * fair).ceil(), "{load} of fair {fair}");
            }
        }

        #[test]
        fn the_order_in_which_pods_are_listed_never_matters(n in 1usize..30, turn in 0usize..30) {
            let names = names(n);
            let mut turned = names.clone();
            turned.rotate_left(turn % n);
            let by_name = |names: &[String]| -> Vec<_> {
                assigned(&equal(names)).into_iter().map(|owner| names[owner.unwrap()].clone()).collect()
            };
            prop_assert_eq!(by_name(&names), by_name(&turned));
        }

        /// A slot of a Pod that stays moves only where the bound was in play: it was displaced from a better Pod before,
        /// or it is displaced from its own now.
        #[test]
        fn removing_a_pod_moves_its_slots_and_what_the_bound_forces(n in 2usize..40, gone in 0usize..40) {
            let names = names(n);
            let gone = gone % n;
            let rest: Vec<String> = names.iter().enumerate().filter(|(i, _)| *i != gone).map(|(_, name)| name.clone()).collect();
            let (all, fewer) = (equal(&names), equal(&rest));
            let (before, after) = (assigned(&all), assigned(&fewer));
            let full = loads(&after, n - 1);
            let bounds = fewer.bounds();
            let mut others = 0;
            for slot in Slot::all() {
                let (was, is) = (before[slot.index()].unwrap(), after[slot.index()].unwrap());
                if was == gone || names[was] == rest[is] {
                    continue;
                }
                others += 1;
                let first = all.top(Key::slot(slot), 1)[0];
                let displaced_before = first != was;
                let old_place = rest.iter().position(|name| *name == names[was]).unwrap();
                prop_assert!(displaced_before || full[old_place] == bounds[old_place], "{slot} moved for no reason");
            }
            prop_assert!(others <= 4096 / 8, "{others} slots of Pods that stay moved");
        }
    }
}
