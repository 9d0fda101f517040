//! Arrives: blocks become pieces, and pieces are verified.

pub(crate) mod assembly;
pub(crate) mod ranges;
pub(crate) mod verify;
mod wait;
mod write;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::sync::{AtomicUsize, Mutex, Ordering, fence, lock, try_lock};
use assembly::Assembly;

/// The open assemblies of one storage.
///
/// Bound of the mutex: a map operation, and a look whether the piece is published. Where nothing
/// is open nobody takes it but removal, so that publishing whole pieces and making room stay
/// lock-free. The count is changed under the mutex; a look at it that is ordered after an opening
/// sees that one, or what came of it.
#[derive(Default)]
pub(crate) struct Assemblies {
    count: AtomicUsize,
    open: Mutex<HashMap<u32, Arc<Assembly>>>,
}

impl Assemblies {
    pub(crate) fn get(&self, piece: u32) -> Option<Arc<Assembly>> {
        if self.count() == 0 {
            return None;
        }
        lock(&self.open).get(&piece).cloned()
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// All of them.
    pub(crate) fn list(&self) -> Vec<Arc<Assembly>> {
        if self.count() == 0 {
            return Vec::new();
        }
        lock(&self.open).values().cloned().collect()
    }

    /// As `list`, or none while another thread is at the map: for who only looks whether there is
    /// something to drop, and must not wait.
    fn try_list(&self) -> Vec<Arc<Assembly>> {
        if self.count() == 0 {
            return Vec::new();
        }
        try_lock(&self.open).map_or(Vec::new(), |open| open.values().cloned().collect())
    }

    /// Adds one unless there is one for its piece; the one that is in the map now. The caller
    /// must look again whether the piece was published meanwhile: see the fence.
    fn open(&self, new: Assembly) -> (Arc<Assembly>, bool) {
        let new = Arc::new(new);
        #[cfg(feature = "validate")]
        new.register();
        let mut map = lock(&self.open);
        if let Some(open) = map.get(&new.piece) {
            return (Arc::clone(open), false);
        }
        map.insert(new.piece, Arc::clone(&new));
        self.count.store(map.len(), Ordering::Relaxed);
        drop(map);
        // Pairs with the fence in `Waits::end`, which stands between a publication and the look for
        // an assembly: who published the piece sees the assembly there, or who opened it finds the
        // piece published. Model: `blocks_against_insert`. Also with the one in
        // `drop_segments_before`.
        // The announcements of the schemes that ship have a fence of their own, but the contract
        // promises none.
        fence(Ordering::SeqCst);
        (new, true)
    }

    /// Takes this one out, unless somebody else did; its part of the half is free again.
    fn close(&self, assembly: &Arc<Assembly>, memory: &Memory) -> bool {
        let this = |open: &Arc<Assembly>| Arc::ptr_eq(open, assembly);
        self.take_if(assembly.piece, memory, this).is_some()
    }

    /// Takes the assembly of that piece out if it is the right one, by a look under the mutex.
    fn take_if(
        &self,
        piece: u32,
        memory: &Memory,
        right: impl FnOnce(&Arc<Assembly>) -> bool,
    ) -> Option<Arc<Assembly>> {
        if self.count() == 0 {
            return None;
        }
        let mut map = lock(&self.open);
        let open = map.get(&piece).filter(|open| right(open))?;
        memory.budget.close_assembly(open.size());
        let taken = map.remove(&piece);
        self.count.store(map.len(), Ordering::Relaxed);
        taken
    }

    /// Drops the assembly of that piece: it is retired like a piece, for somebody may be reading
    /// its prefix. Whether there was one.
    pub(crate) fn abandon(&self, piece: u32, memory: &Memory) -> bool {
        self.get(piece).is_some_and(|assembly| self.drop_one(&assembly, memory))
    }

    pub(crate) fn drop_one(&self, assembly: &Arc<Assembly>, memory: &Memory) -> bool {
        // Only who takes it out may take its buffer, unless it is being published already.
        self.close(assembly, memory) && assembly.drop_buffer()
    }

    /// Drops all of them. Takes the mutex even if nothing is open: it orders removal, which
    /// raised its flag before, and who opens one and looks at the flag afterwards.
    pub(crate) fn clear(&self, memory: &Memory) {
        let all: Vec<_> = lock(&self.open).values().cloned().collect();
        for assembly in &all {
            self.drop_one(assembly, memory);
        }
    }
}

/// The range of a block within its piece.
pub(crate) fn block_range(
    piece: u32,
    offset: u32,
    len: usize,
    piece_len: u32,
) -> Result<Range<u32>> {
    let end = u32::try_from(len).ok().and_then(|len| offset.checked_add(len));
    match end {
        Some(end) if end <= piece_len => Ok(offset..end),
        _ => Err(Error::BlockOutOfRange { piece, offset, len: len as u64, piece_len }),
    }
}
