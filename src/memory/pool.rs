//! A shelf of free things that several threads take from and put on.
//!
//! A stack that several threads pop needs a guard against ABA; a shelf does not. It has 64
//! places and two words of bits: which places are full, and which are empty. Taking and putting
//! first clear a bit, which makes the place theirs alone, then move the pointer, then set the
//! bit of the other word. A thread that is parked in between keeps one place from the others,
//! and nothing else: lock-free.
//!
//! Orderings: the bit that is set last is set with Release and cleared with Acquire by the next
//! owner of that place, so that the place's content, and what was written to the thing on it,
//! comes along. Model: `recycling_and_aba`.

use crate::sync::{AtomicPtr, AtomicU64, Ordering};

const PLACES: usize = if cfg!(loom) { 2 } else { 64 };

pub(crate) struct Shelf<T> {
    full: AtomicU64,
    empty: AtomicU64,
    places: Box<[AtomicPtr<T>]>,
}

impl<T> Shelf<T> {
    /// A shelf of at most `places` (64 or fewer).
    pub(crate) fn new(places: usize) -> Self {
        let places = places.clamp(1, PLACES);
        Self {
            full: AtomicU64::new(0),
            empty: AtomicU64::new(u64::MAX >> (64 - places)),
            places: (0..places).map(|_| AtomicPtr::new(std::ptr::null_mut())).collect(),
        }
    }

    /// Takes one thing for which `fits` holds, if there is one.
    ///
    /// # Safety
    /// Things on the shelf are alive while they are there; `fits` may look into them.
    pub(crate) fn take(&self, fits: impl Fn(*mut T) -> bool) -> Option<*mut T> {
        let mut unseen = self.full.load(Ordering::Relaxed);
        while unseen != 0 {
            let place = unseen.trailing_zeros() as usize;
            let bit = 1 << place;
            unseen &= !bit;
            // Acquire: pairs with the Release in `put` that set the bit.
            if self.full.fetch_and(!bit, Ordering::Acquire) & bit == 0 {
                continue;
            }
            let thing = self.places[place].load(Ordering::Relaxed);
            if fits(thing) {
                // Release: the load above comes before the next owner's store to the place.
                self.empty.fetch_or(bit, Ordering::Release);
                return Some(thing);
            }
            self.full.fetch_or(bit, Ordering::Release);
        }
        None
    }

    /// The things on the shelf, while nobody else uses it; `None` if its two words disagree.
    #[cfg(feature = "validate")]
    pub(crate) fn things(&self) -> Option<Vec<*mut T>> {
        let (full, empty) = (self.full.load(Ordering::Relaxed), self.empty.load(Ordering::Relaxed));
        let all = u64::MAX >> (64 - self.places.len());
        let at = |place: &usize| full & (1 << place) != 0;
        let things = (0..self.places.len()).filter(at);
        let things = things.map(|place| self.places[place].load(Ordering::Relaxed)).collect();
        (full ^ empty == all && full & empty == 0).then_some(things)
    }

    /// Puts a thing on the shelf, or gives it back if there is no empty place.
    pub(crate) fn put(&self, thing: *mut T) -> Result<(), *mut T> {
        loop {
            let empty = self.empty.load(Ordering::Relaxed);
            if empty == 0 {
                return Err(thing);
            }
            let place = empty.trailing_zeros() as usize;
            let bit = 1 << place;
            // Acquire: pairs with the Release in `take` that set the bit.
            if self.empty.fetch_and(!bit, Ordering::Acquire) & bit != 0 {
                self.places[place].store(thing, Ordering::Relaxed);
                // Release: pairs with the Acquire in `take`.
                self.full.fetch_or(bit, Ordering::Release);
                return Ok(());
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken_once() {
        let shelf = Shelf::<u8>::new(2);
        let (mut a, mut b, mut c) = (1, 2, 3);
        assert!(shelf.put(&mut a).is_ok());
        assert!(shelf.put(&raw mut b).is_ok());
        assert_eq!(shelf.put(&mut c), Err(&raw mut c));
        let second = &raw mut b;
        assert_eq!(shelf.take(|p| p == second), Some(second));
        assert_eq!(shelf.take(|p| p == second), None);
        assert_eq!(shelf.take(|_| true), Some(&raw mut a));
        assert_eq!(shelf.take(|_| true), None);
    }

    #[test]
    fn what_another_takes_meanwhile_is_not_taken_again() {
        let shelf = Shelf::<u8>::new(2);
        let (mut a, mut b) = (1, 2);
        let (a, b) = (&raw mut a, &raw mut b);
        assert!(shelf.put(a).is_ok() && shelf.put(b).is_ok());
        // While this one looks at `a`, the other one takes `b`.
        let taken = shelf.take(|thing| {
            assert_eq!((thing, shelf.take(|_| true)), (a, Some(b)));
            false
        });
        assert_eq!((taken, shelf.take(|_| true)), (None, Some(a)));
    }

    #[test]
    fn threads_that_take_and_put_never_share_a_thing() {
        let shelf = Shelf::<std::sync::atomic::AtomicU32>::new(8);
        let things: Vec<_> = (0..8).map(|_| std::sync::atomic::AtomicU32::new(0)).collect();
        for thing in &things {
            shelf.put(std::ptr::from_ref(thing).cast_mut()).unwrap();
        }
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let Some(thing) = shelf.take(|_| true) else { continue };
                        // SAFETY: `things` outlives the scope.
                        let users = unsafe { &*thing };
                        assert_eq!(users.fetch_add(1, Ordering::Relaxed), 0);
                        users.fetch_sub(1, Ordering::Relaxed);
                        shelf.put(thing).unwrap();
                    }
                });
            }
        });
        let left = std::iter::from_fn(|| shelf.take(|_| true)).count();
        assert_eq!(left, things.len(), "none is lost");
    }
}
