//! Chance that can be had again: the same seed, the same throws.

/// A generator of numbers that need not be good, only the same each time (xorshift64*).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn of_seed(seed: u64) -> Self {
        // Never zero, and unlike its neighbours'.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A seed that no one chose, to be printed.
    pub fn any_seed() -> u64 {
        uuid::Uuid::now_v7().as_u128() as u64
    }

    fn throw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    /// From zero up to, and not including, `sides`.
    pub fn below(&mut self, sides: u64) -> u64 {
        self.throw() % sides
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len() as u64) as usize]
    }
}
