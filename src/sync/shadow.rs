//! The bytes of a piece that is being written, as loom sees them: it does not see plain memory.

use std::ops::Range;

/// A loom cell for each byte: who copies into bytes writes their cells, who reads them reads the
/// cells. A read that is not ordered after the copy, or two copies to one byte that are not
/// ordered, fail the model. Costs nothing elsewhere.
pub(crate) struct Shadow {
    #[cfg(loom)]
    cells: Box<[loom::cell::UnsafeCell<()>]>,
}

/// Bytes that have a cell. The models about blocks write short pieces; others need none.
#[cfg(loom)]
const MOST: u32 = 16;

// SAFETY: the cells hold nothing; loom reports races on them instead of having them.
#[cfg(loom)]
unsafe impl Sync for Shadow {}

#[cfg_attr(not(loom), expect(clippy::unused_self, reason = "there is nothing to do"))]
impl Shadow {
    #[cfg_attr(not(loom), expect(unused_variables, reason = "as above"))]
    pub(crate) fn new(len: u32) -> Self {
        Self {
            #[cfg(loom)]
            cells: (0..len.min(MOST)).map(|_| loom::cell::UnsafeCell::new(())).collect(),
        }
    }

    /// The bytes are being written.
    #[inline(always)]
    #[cfg_attr(not(loom), expect(unused_variables, reason = "as above"))]
    pub(crate) fn write(&self, bytes: Range<u32>) {
        #[cfg(loom)]
        self.of(bytes).iter().for_each(|cell| cell.with_mut(|_| ()));
    }

    /// The bytes are being read.
    #[inline(always)]
    #[cfg_attr(not(loom), expect(unused_variables, reason = "as above"))]
    pub(crate) fn read(&self, bytes: Range<u32>) {
        #[cfg(loom)]
        self.of(bytes).iter().for_each(|cell| cell.with(|_| ()));
    }

    #[cfg(loom)]
    fn of(&self, bytes: Range<u32>) -> &[loom::cell::UnsafeCell<()>] {
        let most = self.cells.len();
        &self.cells[(bytes.start as usize).min(most)..(bytes.end as usize).min(most)]
    }
}
