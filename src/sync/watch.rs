//! A word that a sanitizer watches: looking at it is an error between `forbid` and `allow`.

use std::cell::UnsafeCell;

#[derive(Debug, Default)]
pub(super) struct Watched(UnsafeCell<u64>);

#[cfg(asan)]
unsafe extern "C" {
    fn __asan_poison_memory_region(start: *const u64, bytes: usize);
    fn __asan_unpoison_memory_region(start: *const u64, bytes: usize);
}

impl Watched {
    #[inline(always)]
    pub(super) fn look(&self) {
        // SAFETY: the word is initialised. If somebody forbids it meanwhile, that is a fault, which
        // the sanitizer reports. Volatile, lest the look be left out.
        unsafe { self.0.get().read_volatile() };
    }

    #[inline(always)]
    pub(super) fn forbid(&self) {
        #[cfg(asan)]
        // SAFETY: the word's own eight bytes.
        unsafe {
            __asan_poison_memory_region(self.0.get(), size_of::<u64>());
        }
        // ThreadSanitizer finds this write and a look that it does not come after.
        #[cfg(not(asan))]
        // SAFETY: the caller owns the node alone, or the sanitizer reports it.
        unsafe {
            self.0.get().write_volatile(0);
        }
    }

    #[inline(always)]
    pub(super) fn allow(&self) {
        #[cfg(asan)]
        // SAFETY: as for `forbid`.
        unsafe {
            __asan_unpoison_memory_region(self.0.get(), size_of::<u64>());
        }
    }
}
