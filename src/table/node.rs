//! The memory of roots and leaves: each one allocation, a head and the pointers behind it.
//!
//! Both are plain memory: the writer owns them alone until its compare-and-swap, nobody writes to
//! them after it but the reclaimer, to their [`Link`](crate::retire::Link). They are aligned no
//! further than any allocation is: one that is asked for a line's alignment takes several times as
//! long, for each version.

use std::alloc::Layout;
use std::ptr::NonNull;

use crate::memory::budget::rounded;
use crate::memory::{Memory, Purpose, Refused};

/// Bytes that the budget counts for a head with `count` pointers behind it.
pub(super) const fn size_of_node<Head>(count: u32) -> usize {
    rounded(size_of::<Head>() + count as usize * size_of::<*mut u8>())
}

/// Allocates a head with `count` pointers behind it, of which nothing is initialised.
pub(super) fn allocate<Head>(
    memory: &Memory,
    count: u32,
    purpose: Purpose,
) -> Result<(NonNull<Head>, usize), Refused> {
    let size = size_of_node::<Head>(count);
    if !memory.reserve_node(size, purpose) {
        return Err(Refused::Budget);
    }
    let refuse = || {
        memory.release_node(size);
        Refused::Allocator
    };
    let layout = Layout::from_size_align(size, align_of::<Head>()).map_err(|_| refuse())?;
    // SAFETY: the size is not zero.
    let node = NonNull::new(unsafe { std::alloc::alloc(layout) }).ok_or_else(refuse)?;
    Ok((node.cast(), size))
}

/// # Safety
/// `node` came from `allocate` with this `size`, its head was initialised, it is owned by the
/// caller alone and not used afterwards.
pub(super) unsafe fn free<Head>(memory: &Memory, node: NonNull<Head>, size: usize) {
    let layout = Layout::from_size_align(size, align_of::<Head>());
    #[cfg(loom)] // A late reader shall find the fallen canary instead of reused memory.
    if let Ok(layout) = layout {
        crate::sync::quarantine::keep(node.as_ptr().cast(), layout);
    }
    #[cfg(not(loom))]
    // SAFETY: the caller's contract.
    unsafe {
        std::ptr::drop_in_place(node.as_ptr());
        if let Ok(layout) = layout {
            std::alloc::dealloc(node.as_ptr().cast(), layout);
        }
    }
    memory.release_node(size);
}
