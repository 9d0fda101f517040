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
use crate::sync::{Mutex, lock};
use assembly::Assembly;

/// The open assemblies of one storage. Bound of the mutex: a map operation.
#[derive(Default)]
pub(crate) struct Assemblies(Mutex<HashMap<u32, Arc<Assembly>>>);

impl Assemblies {
    pub(crate) fn get(&self, piece: u32) -> Option<Arc<Assembly>> {
        lock(&self.0).get(&piece).cloned()
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.0).len()
    }

    /// All of them, with when each made progress last.
    pub(crate) fn list(&self) -> Vec<Arc<Assembly>> {
        lock(&self.0).values().cloned().collect()
    }

    /// Adds one unless there is one for its piece; the one that is in the map now.
    fn open(&self, new: Assembly) -> (Arc<Assembly>, bool) {
        let new = Arc::new(new);
        let mut map = lock(&self.0);
        if let Some(open) = map.get(&new.piece) {
            return (Arc::clone(open), false);
        }
        map.insert(new.piece, Arc::clone(&new));
        (new, true)
    }

    /// Takes this one out, unless somebody else did; its part of the half is free again.
    fn close(&self, assembly: &Arc<Assembly>, memory: &Memory) -> bool {
        let mut map = lock(&self.0);
        let here = map.get(&assembly.piece).is_some_and(|open| Arc::ptr_eq(open, assembly));
        if here {
            map.remove(&assembly.piece);
            memory.budget.close_assembly(assembly.size());
        }
        here
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

    pub(crate) fn clear(&self, memory: &Memory) {
        for assembly in self.list() {
            self.drop_one(&assembly, memory);
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
