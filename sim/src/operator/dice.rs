//! Randomness from a seed: the same seed, the same world, on every machine.

/// A stream of random numbers (splitmix64, Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number less than `bound`; zero if that is zero.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        let drawn = self.next();
        if bound == 0 { 0 } else { drawn % bound }
    }

    /// True so many times in a thousand.
    pub(crate) const fn permille(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }

    /// One of them, if there is one.
    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let place = usize::try_from(self.below(from.len() as u64)).unwrap_or(0);
        from.get(place).cloned()
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            let place = usize::try_from(self.below(end as u64 + 1)).unwrap_or(0);
            list.swap(end, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Part of what makes a seed a seed: other numbers, and no run of yesterday can be replayed.
    #[test]
    fn a_seed_draws_the_same_numbers_everywhere() {
        let mut dice = Dice::new(42);
        let drawn: Vec<u64> = (0..6).map(|_| dice.below(1000)).collect();
        assert_eq!(drawn, GOLDEN);
        assert_eq!(Dice::new(1).below(0), 0);
    }

    const GOLDEN: [u64; 6] = [433, 20, 409, 205, 876, 961];
}
