//! How much memory something takes at most, counted by thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

thread_local! {
    /// Bytes that this thread has allocated and not freed; what it frees of others counts as well.
    static HERE: Cell<isize> = const { Cell::new(0) };
    /// The most that there were.
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(by: isize) {
    // A thread that ends has no counter any more, and nobody who asks for it.
    let _ = HERE.try_with(|here| {
        here.set(here.get() + by);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(here.get())));
    });
}

// SAFETY: all is passed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as promised to this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as promised to this function.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there for a moment.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: as promised to this function.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as promised to this function.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Does it; also the bytes that it took at most, beyond those that were there before.
pub(crate) fn peak<T>(doing: impl FnOnce() -> T) -> (T, u64) {
    let before = HERE.get();
    PEAK.set(before);
    let result = doing();
    (result, PEAK.get().saturating_sub(before).max(0) as u64)
}
