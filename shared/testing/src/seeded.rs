//! Randomness that can be repeated: the same seed yields the same numbers (SplitMix64,
//! <https://doi.org/10.1145/2714064.2660195>).

/// A generator of numbers.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// The generator of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator of this seed and this text, so that what has different names gets different numbers.
    pub fn named(seed: u64, name: &str) -> Self {
        // FNV-1a.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(seed ^ hash)
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap();
        usize::try_from(self.number() % end).unwrap()
    }

    /// True once in `one_in` times.
    pub fn hits(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    /// One of these, if there is one.
    pub fn one_of<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// Puts these into another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.below(end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_a_name_makes_a_difference() {
        let numbers = |mut from: Seeded| (0..10).map(|_| from.below(1_000)).collect::<Vec<_>>();
        assert_eq!(numbers(Seeded::named(7, "a")), numbers(Seeded::named(7, "a")));
        assert_ne!(numbers(Seeded::named(7, "a")), numbers(Seeded::named(7, "b")));
        assert_ne!(numbers(Seeded::named(7, "a")), numbers(Seeded::named(8, "a")));
    }
}
