//! A handle on one piece that outlives snapshot and eviction.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use crate::memory::Memory;
use crate::memory::piece::PieceRef;

/// A handle on one piece: owned, clonable, sendable; the bytes stay as they are while it lives.
///
/// Taking one copies nothing: it raises a counter. A piece that is evicted while handles exist
/// leaves the table at once and its memory when the last handle is dropped; until then it counts
/// against the budget as *held*. So do not hoard handles: writers wait for what they keep. The
/// last drop frees nothing either: it puts the buffer where the next writer finds it.
///
/// A handle may outlive its storage and its cache.
///
/// ```
/// # use lookbehind::{Cache, Layout};
/// # let cache = Cache::builder().budget(1 << 20).build()?;
/// # let film = cache.add_storage(Layout::fixed(100, 100)?)?;
/// film.insert(0, &[7; 100])?;
/// let held = film.get(0)?;
/// film.evict(0..1)?;
/// assert_eq!(held.len(), 100);
/// let bytes: bytes::Bytes = held.into();
/// assert_eq!(bytes[99], 7);
/// # Ok::<(), lookbehind::Error>(())
/// ```
pub struct Held {
    /// One of the piece's references is this handle's.
    piece: PieceRef,
}

// SAFETY: the bytes are immutable, and the counter is atomic.
unsafe impl Send for Held {}
// SAFETY: as above.
unsafe impl Sync for Held {}

impl Held {
    /// # Safety
    /// One reference of the published piece moves into the handle.
    pub(crate) unsafe fn new(piece: PieceRef) -> Self {
        Self { piece }
    }

    /// The number of the piece within its storage.
    #[must_use]
    pub fn piece(&self) -> u32 {
        // SAFETY: this handle's reference keeps the piece alive.
        unsafe { self.piece.header() }.index()
    }

    /// The version of its storage that first showed the piece.
    #[must_use]
    pub fn version(&self) -> u64 {
        // SAFETY: as above.
        unsafe { self.piece.header() }.born()
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        // SAFETY: this handle's reference cannot go meanwhile; the new one moves into the clone.
        unsafe {
            self.piece.retain();
            Self::new(self.piece)
        }
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: a published piece was written whole and is immutable (invariants 4 and 5);
        // this handle's reference keeps it alive.
        unsafe {
            self.piece.header().canary.sing();
            self.piece.bytes()
        }
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Held> for Bytes {
    /// No copy: the bytes keep the piece as the handle did.
    fn from(held: Held) -> Self {
        Bytes::from_owner(held)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("piece", &self.piece()).field("len", &self.len()).finish()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the reference is this handle's. `home` is read before it is given up; the
        // memory behind it lives, for the buffer has a count of it.
        unsafe {
            let home = self.piece.header().counts.home;
            // While the reference is ours the buffer, and so its memory, cannot go; afterwards
            // only the last one may look, and it owns the buffer.
            if self.piece.release() {
                let memory = ManuallyDrop::new(Arc::from_raw(home));
                // A count of our own: handing back may give up the buffer's.
                Memory::hand_back(&Arc::clone(&memory), self.piece);
            }
        }
    }
}
