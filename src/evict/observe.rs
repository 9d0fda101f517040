//! Who is told of evictions.

use crate::foreign;
use crate::id::StorageId;

/// Why a piece was unpublished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Another piece needed the room, in the budget or in its storage's share.
    Room,
    /// `evict` was called.
    Requested,
    /// Its storage was removed.
    Removed,
    /// `shrink` made room under a lowered budget.
    Shrink,
    /// Its segment fell out of a live film's window.
    Window,
}

/// A piece that is about to be unpublished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Eviction {
    /// The film.
    pub storage: StorageId,
    /// The piece.
    pub piece: u32,
    /// Bytes of memory that it takes, header and padding included.
    pub size: usize,
    /// Why it goes.
    pub reason: Reason,
}

/// Is told of every eviction, exactly once, before the piece is unpublished.
///
/// Called on the evicting thread, outside every lock; readers may still find the piece meanwhile
/// and shortly after. It may call methods that do not wait. A panic in it is caught. It cannot
/// prevent the eviction. Closures are observers:
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use std::sync::Arc;
/// use lookbehind::{Cache, Eviction, Layout};
///
/// let count = Arc::new(AtomicU32::new(0));
/// let seen = Arc::clone(&count);
/// let cache = Cache::builder()
///     .budget(1 << 20)
///     .observer(move |_: &Eviction| { seen.fetch_add(1, Ordering::Relaxed); })
///     .build()?;
/// let film = cache.add_storage(Layout::fixed(100, 100)?)?;
/// film.insert(0, &[0; 100])?;
/// film.remove()?;
/// assert_eq!(count.load(Ordering::Relaxed), 1);
/// # Ok::<(), lookbehind::Error>(())
/// ```
pub trait Observer: Send + Sync {
    /// The piece is claimed and will be unpublished.
    fn evicted(&self, eviction: &Eviction);
}

impl<F: Fn(&Eviction) + Send + Sync> Observer for F {
    fn evicted(&self, eviction: &Eviction) {
        self(eviction);
    }
}

/// Tells an observer, whatever it does.
pub(crate) fn tell(observer: &dyn Observer, eviction: &Eviction) {
    // Should it panic, the eviction goes on.
    foreign::call(|| observer.evicted(eviction));
}
