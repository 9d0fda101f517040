//! Buffers on huge pages.
//!
//! Where a page is 4 KiB, a hit that no cache holds waits for a walk of the page table about as
//! long as for the piece. Linux maps 2 MiB at a time if a mapping asks for it and is as large; buffers
//! that an allocator places one by one never are. So buffers of one size come in slabs: 64 MiB of
//! addresses, or less for small buffers, and more for one that is larger. (Slab: Bonwick 1994; here
//! without construction.) Only a length that a whole film is made of gets them: what is as long as it
//! is, a film's last piece or a live film's segment, would leave a slab behind for each length.
//!
//! A buffer that is freed gives its pages back to the system, and keeps its place in the slab for
//! the next one of its size; the slab lives as long as the cache's memory does. What the budget
//! does not count: the rest of the huge page that the newest buffer lies on, and what the system
//! fills up again of huge pages that were given back in part.

use crate::sync::{AtomicU64, Ordering};

const WORDS: usize = if cfg!(loom) { 1 } else { 8 };
const MOST_PLACES: usize = WORDS * 64;

/// The places of a slab, one bit for each that is free. Lock-free: a step is repeated only if
/// another thread took a place.
pub(crate) struct Places([AtomicU64; WORDS]);

impl Places {
    /// All of them free.
    pub(crate) fn new(count: usize) -> Self {
        let bits = |word: usize| match count.saturating_sub(word * 64) {
            0 => 0,
            count @ 1..64 => (1 << count) - 1,
            _ => u64::MAX,
        };
        Self(std::array::from_fn(|word| AtomicU64::new(bits(word))))
    }

    /// Takes one for the caller alone.
    pub(crate) fn take(&self) -> Option<usize> {
        for (number, word) in self.0.iter().enumerate() {
            let mut free = word.load(Ordering::Relaxed);
            while free != 0 {
                let bit = free & free.wrapping_neg();
                // Acquire: pairs with the Release in `put`, so that the last owner's look comes
                // before this one's write. Model: `recycling_and_aba`, places.
                free = word.fetch_and(!bit, Ordering::Acquire);
                if free & bit != 0 {
                    return Some(number * 64 + bit.trailing_zeros() as usize);
                }
            }
        }
        None
    }

    /// Takes this one, if it is free.
    pub(crate) fn take_this(&self, place: usize) -> bool {
        let bit = 1 << (place % 64);
        // Acquire: as in `take`. Model: `recycling_and_aba`, places.
        place < MOST_PLACES && self.0[place / 64].fetch_and(!bit, Ordering::Acquire) & bit != 0
    }

    /// Gives one back.
    pub(crate) fn put(&self, place: usize) {
        // Release: pairs with the Acquire in `take`.
        self.0[place / 64].fetch_or(1 << (place % 64), Ordering::Release);
    }
}

#[cfg(all(target_os = "linux", not(any(loom, shuttle, asan, tsan))))]
pub(crate) use mapped::{Slab, Slabs};
#[cfg(any(not(target_os = "linux"), loom, shuttle, asan, tsan))]
pub(crate) use none::{Slab, Slabs};

/// Where the system has no huge pages that one could ask for, and under checkers, which know what
/// comes from the allocator.
#[cfg(any(not(target_os = "linux"), loom, shuttle, asan, tsan))]
mod none {
    use std::ptr::NonNull;

    pub(crate) struct Slabs;
    pub(crate) enum Slab {}

    impl Slabs {
        pub(crate) fn new(_wanted: bool) -> Self {
            Self
        }

        pub(crate) fn allocate(&self, _size: usize) -> Option<(NonNull<u8>, &Slab)> {
            None
        }
    }

    impl Slab {
        pub(crate) unsafe fn free(&self, _buffer: NonNull<u8>) {
            match *self {}
        }
    }
}

#[cfg(all(target_os = "linux", not(any(loom, shuttle, asan, tsan))))]
mod mapped {
    use std::ffi::c_void;
    use std::ptr::NonNull;

    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
    use rustix::param::page_size;

    use super::{MOST_PLACES, Places};
    use crate::grown::Grown;
    use crate::sync::{AtomicBool, Ordering};

    const HUGE: usize = 2 << 20;
    /// Addresses that a slab takes, unless one buffer takes more.
    const LARGEST: usize = 64 << 20;
    /// Shorter buffers would not fill a slab of huge pages.
    const LEAST: usize = 4 * HUGE / MOST_PLACES;

    /// All slabs of a cache.
    pub(crate) struct Slabs {
        list: Grown<Slab>,
        wanted: AtomicBool,
    }

    pub(crate) struct Slab {
        /// What was mapped; buffers begin at its first huge page.
        mapping: NonNull<c_void>,
        mapped: usize,
        first: NonNull<u8>,
        size: usize,
        places: Places,
    }

    // SAFETY: what the pointers name is not looked into.
    unsafe impl Sync for Slab {}
    // SAFETY: as above; a mapping belongs to no thread.
    unsafe impl Send for Slab {}

    impl Slabs {
        pub(crate) fn new(wanted: bool) -> Self {
            // With longer pages huge ones are longer as well, and a buffer may have none to itself.
            let wanted = wanted && page_size() == 4096;
            Self { list: Grown::new(), wanted: AtomicBool::new(wanted) }
        }

        /// Memory for a buffer of `size` bytes, and the slab that it goes back to; `None` if the
        /// allocator is to be asked.
        pub(crate) fn allocate(&self, size: usize) -> Option<(NonNull<u8>, &Slab)> {
            if size < LEAST {
                return None;
            }
            let with_room = self.list.iter().find_map(|slab| slab.allocate(size));
            with_room.or_else(|| self.another(size))
        }

        #[cold]
        fn another(&self, size: usize) -> Option<(NonNull<u8>, &Slab)> {
            if !self.wanted.load(Ordering::Relaxed) {
                return None;
            }
            let Some(slab) = Slab::map(size) else {
                // Not to be asked for again with each buffer.
                self.wanted.store(false, Ordering::Relaxed);
                return None;
            };
            // Another thread's buffers may fill it first.
            self.list.append(slab).allocate(size)
        }
    }

    impl Slab {
        /// A slab for buffers of this size; `None` if the system has no addresses left, or no huge
        /// pages.
        fn map(size: usize) -> Option<Self> {
            let count = (LARGEST / size).clamp(1, MOST_PLACES);
            let used = size.checked_mul(count)?;
            let mapped = used.checked_next_multiple_of(HUGE)?.checked_add(HUGE)?;
            let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
            // SAFETY: a new mapping, at an address that the system chooses.
            let mapping = unsafe {
                let flags = flags | MapFlags::NORESERVE;
                mmap_anonymous(std::ptr::null_mut(), mapped, protection, flags)
            };
            let mapping = NonNull::new(mapping.ok()?)?;
            let start = mapping.cast::<u8>();
            // SAFETY: less than HUGE, by which the mapping is longer than its buffers.
            let first = unsafe { start.add(start.align_offset(HUGE)) };
            let slab = Self { mapping, mapped, first, size, places: Places::new(count) };
            // Of a huge page at the end that buffers fill in part the rest would be nobody's.
            let whole = used / HUGE * HUGE;
            // SAFETY: both lie within the mapping, whose content this does not change.
            let advised = unsafe {
                let rest = first.add(whole).as_ptr().cast();
                madvise(rest, used - whole, Advice::LinuxNoHugepage)
                    .and_then(|()| madvise(first.as_ptr().cast(), whole, Advice::LinuxHugepage))
            };
            advised.is_ok().then_some(slab)
        }

        fn allocate(&self, size: usize) -> Option<(NonNull<u8>, &Slab)> {
            if self.size != size {
                return None;
            }
            let place = self.places.take()?;
            // SAFETY: the mapping has room for all places.
            Some((unsafe { self.first.add(place * size) }, self))
        }

        /// Gives a buffer's pages back to the system, and its place to the next one.
        ///
        /// # Safety
        /// It came from this slab, and nobody uses it any more.
        pub(crate) unsafe fn free(&self, buffer: NonNull<u8>) {
            // The pages at its ends are its neighbours' as well, unless these are free: then they
            // are kept from others for that long.
            let page = page_size();
            let at = buffer.addr().get();
            let place = (at - self.first.addr().get()) / self.size;
            // A page longer than a buffer may be more than two buffers'.
            let alone = |place: &usize| page <= self.size && self.places.take_this(*place);
            let before = place.checked_sub(1).filter(alone);
            let after = Some(place + 1).filter(alone);
            let start = if before.is_some() { at / page * page } else { at.next_multiple_of(page) };
            let end = at + self.size;
            let end = if after.is_some() { end.next_multiple_of(page) } else { end / page * page };
            if start < end {
                let start = buffer.as_ptr().with_addr(start);
                // An error leaves the pages where they are: in the next buffer's place.
                // SAFETY: the caller's contract; what lies outside of the buffer is in places
                // that were free, and are nobody else's until they are put back.
                let _ = unsafe { madvise(start.cast(), end - start.addr(), Advice::LinuxDontNeed) };
            }
            self.places.put(place);
            before.into_iter().chain(after).for_each(|place| self.places.put(place));
        }
    }

    impl Drop for Slab {
        fn drop(&mut self) {
            // SAFETY: mapped in `map` with this length; no buffer is in use, for each keeps alive
            // the memory that slabs belong to.
            let unmapped = unsafe { munmap(self.mapping.as_ptr(), self.mapped) };
            debug_assert!(unmapped.is_ok());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_taken_once_until_it_is_put_back() {
        for count in [1, 63, 64, 65, MOST_PLACES] {
            let places = Places::new(count);
            let taken: Vec<_> = std::iter::from_fn(|| places.take()).collect();
            assert_eq!(taken, (0..count).collect::<Vec<_>>());
            places.put(count - 1);
            assert_eq!((places.take(), places.take()), (Some(count - 1), None));
        }
    }
}
