//! Which films have something that is worth a visit, so that who looks for it need not visit all.
//!
//! A bit for each of the first 4,096 slots of the directory; beyond that several share one. Who leaves
//! something in a film marks it afterwards; who finds nothing there any more takes the mark away, and
//! looks again: what was left before that is seen then, and what is left later marks again. So a
//! film that has something is marked, or somebody is about to see it.
//!
//! Orderings: marking is Release and taking the mark away Acquire. Model: `marks`.

use crate::sync::{AtomicU64, Ordering};

const WORDS: usize = if cfg!(any(loom, shuttle)) { 1 } else { 64 };
/// Slots whose numbers are so far apart share a mark.
pub(crate) const STRIDE: usize = 64 * WORDS;

pub(crate) struct Marks([AtomicU64; WORDS]);

impl Marks {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    fn place(&self, slot: usize) -> (&AtomicU64, u64) {
        (&self.0[slot / 64 % WORDS], 1 << (slot % 64))
    }

    /// Marks a slot in which something was left.
    pub(crate) fn mark(&self, slot: usize) {
        let (word, bit) = self.place(slot);
        // Not only if the bit is not there: it may be on its way out. Release: pairs with the Acquire
        // in `unless`. Model: `marks`.
        word.fetch_or(bit, Ordering::Release);
    }

    /// The first slots of those that share a mark which is there.
    pub(crate) fn marked(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(number, word)| {
            let mut bits = word.load(Ordering::Relaxed);
            std::iter::from_fn(move || {
                let bit = bits.trailing_zeros();
                bits &= bits.wrapping_sub(1);
                (bit < 64).then_some(number * 64 + bit as usize)
            })
        })
    }

    /// Takes a mark away unless there is a reason for it, also by a second look.
    pub(crate) fn unless(&self, slot: usize, reason: impl Fn() -> bool) {
        if reason() {
            return;
        }
        let (word, bit) = self.place(slot);
        // Acquire: pairs with the Release in `mark`.
        word.fetch_and(!bit, Ordering::Acquire);
        if reason() {
            self.mark(slot);
        }
    }

    #[cfg(feature = "validate")]
    pub(crate) fn has(&self, slot: usize) -> bool {
        let (word, bit) = self.place(slot);
        word.load(Ordering::Relaxed) & bit != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn marks_stay_for_as_long_as_there_is_a_reason() {
        let marks = Marks::new();
        let slots = [0, 1, 63, STRIDE - 1];
        slots.iter().for_each(|slot| marks.mark(*slot));
        marks.mark(STRIDE + 1);
        assert_eq!(marks.marked().collect::<Vec<_>>(), slots);
        marks.unless(63, || true);
        marks.unless(2 * STRIDE, || false);
        assert_eq!(marks.marked().collect::<Vec<_>>(), slots[1..]);
        // Left behind while the mark went.
        let looks = std::cell::Cell::new(0);
        marks.unless(1, || looks.replace(looks.get() + 1) > 0);
        assert_eq!(marks.marked().collect::<Vec<_>>(), slots[1..]);
    }
}
