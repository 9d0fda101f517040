//! Which piece is hit next.

use crate::stock::{Key, Shape};

/// Draws keys evenly, by xorshift. It is part of every hit that is measured, the floor's as well;
/// the contender "draw alone" says what it takes.
#[derive(Clone, Debug)]
pub struct Draw {
    state: u64,
    storages: u32,
    pieces: u32,
    step: u32,
}

impl Draw {
    /// From all pieces.
    #[must_use]
    pub fn all(shape: &Shape, seed: u64) -> Self {
        Self::spread(shape, shape.pieces, seed)
    }

    /// From `count` pieces of each storage, a power of two, which lie evenly among all of them.
    #[must_use]
    pub fn spread(shape: &Shape, count: u32, seed: u64) -> Self {
        assert!(shape.storages.is_power_of_two() && shape.pieces.is_power_of_two());
        assert!(count.is_power_of_two() && count <= shape.pieces);
        let step = (shape.pieces / count).trailing_zeros();
        // A few rounds, so that seeds which are alike draw different keys.
        let state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { state, storages: shape.storages - 1, pieces: count - 1, step }
    }

    /// The same kind of draw from another seed.
    #[must_use]
    pub fn reseeded(&self, seed: u64) -> Self {
        Self { state: (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15), ..self.clone() }
    }

    /// How many different keys can be drawn.
    #[must_use]
    pub fn count(&self) -> u64 {
        (u64::from(self.storages) + 1) * (u64::from(self.pieces) + 1)
    }

    /// The next one.
    #[inline(always)]
    pub fn key(&mut self) -> Key {
        let mut x = self.state;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.state = x;
        Key {
            storage: (x >> 40) as u32 & self.storages,
            piece: ((x >> 8) as u32 & self.pieces) << self.step,
        }
    }
}
