//! How much memory the process has, by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Counts the bytes that were allocated and not freed.
pub struct Counting;

static LIVE: AtomicI64 = AtomicI64::new(0);

// SAFETY: the system's allocator does the work; counting touches nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            LIVE.fetch_add(layout.size() as i64, Ordering::Relaxed);
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

pub fn bytes() -> i64 {
    LIVE.load(Ordering::Relaxed)
}

/// Bytes above `before` once threads that are about to end have ended.
pub fn settle(before: i64, patience: Duration) -> i64 {
    let deadline = Instant::now() + patience;
    while bytes() > before && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    (bytes() - before).max(0)
}
