//! The runners-up of the last sample, which the next eviction looks at once more: so of a few dozen
//! candidates each eviction knows the best of the samples before, as Redis does with its pool of
//! candidates (`evict.c`).
//!
//! Each place is a word of its own, as a seat is, written and read without regard to the others: what
//! two evictions at once leave is a mixture, and all of it are hints.

use crate::sync::Counter;

/// Candidates that are remembered.
pub(crate) const LEN: usize = 16;

#[derive(Default)]
pub(crate) struct Shortlist([Counter; LEN]);

impl Shortlist {
    /// Packed, as a seat has them.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(Counter::get).filter(|word| *word != 0)
    }

    /// Remembers these, and forgets the others.
    pub(crate) fn set(&self, words: impl Iterator<Item = u64>) {
        let words = words.chain(std::iter::repeat(0));
        self.0.iter().zip(words).for_each(|(place, word)| place.set(word));
    }
}
