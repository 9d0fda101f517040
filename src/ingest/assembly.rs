//! Blocks into a piece.
//!
//! Duty: invariant 5. A writer claims the byte ranges of its block that nobody has claimed, copies
//! into those, then marks them written; so the first writer wins, and a byte that was written is
//! never written again. What is written may be read while the rest still arrives.
//!
//! The first block reserves the whole piece (invariant 2), so later ones never fail for memory.
//! The maps of ranges have room for a number of disjoint claims, reserved with the piece.
//!
//! Hashing while bytes arrive: the hasher is a token. Who takes it hashes what is written in
//! order, without a lock, and puts it back; who finds it gone goes on. Who completes the piece
//! hashes the rest; should the token be out just then, it judges the whole piece anew.
//!
//! Bound: the mutex is held for operations on the map; never while copying, hashing or
//! allocating.

use std::ops::Range;
use std::sync::Arc;

use super::ranges::Ranges;
use super::verify::{PieceHasher, Verifier};
use crate::error::{Error, Result};
use crate::foreign::{self, Guest};
use crate::memory::piece::PieceRef;
use crate::memory::{Buffer, Memory, State};
use crate::read::held::Held;
use crate::sync::{AtomicBool, AtomicU32, Counter, Mutex, Ordering, Shadow, lock};

/// Disjoint byte ranges that an assembly of `len` bytes can remember: one for each 8 KiB, for
/// blocks are rarely smaller, but at least 128 and at most 1,024.
fn fragments(len: u32) -> usize {
    (len as usize / 8192).clamp(128, 1024)
}

/// Bytes that an assembly takes beside its piece: two maps of ranges, and what points to it.
pub(crate) fn overhead(len: u32) -> usize {
    let maps = (possible(len, 1) + possible(len, 2)) * size_of::<Range<u32>>();
    crate::memory::budget::rounded(maps + size_of::<Assembly>() + 512)
}

/// Disjoint ranges that are possible in a piece, up to so many times what is remembered.
fn possible(len: u32, times: usize) -> usize {
    (len as usize / 2 + 1).min(times * fragments(len))
}

struct Map {
    claimed: Ranges,
    written: Ranges,
}

enum Hashing {
    /// Nothing to hash before the piece is complete.
    Whole,
    /// The hasher, and how many bytes it has seen.
    Idle(Guest<Box<dyn PieceHasher>>, u32),
    /// Somebody is hashing, or it is done.
    Taken,
}

/// A piece on its way.
pub(crate) struct Assembly {
    pub(crate) piece: u32,
    len: u32,
    payload: PieceRef,
    shadow: Shadow,
    /// The owner's share, until the piece is published or the assembly dropped.
    buffer: Mutex<Option<Buffer>>,
    /// The share was dropped, and so will not be published.
    dropped: AtomicBool,
    /// Keeps the bytes alive for those who read what has arrived, whatever becomes of the piece.
    /// Never looked through: not all of its bytes are written.
    _share: Held,
    map: Mutex<Map>,
    /// The end of what is written from the start on without a gap. Release when it grows.
    prefix: AtomicU32,
    hashing: Mutex<Hashing>,
    /// Milliseconds on the cache's clock.
    pub(crate) progress: Counter,
    /// The last field, for it must be dropped after the maps that it stands for.
    charge: Charge,
}

/// What a block did to its piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes are written by now.
    Partial(u64),
    /// All bytes are written, and this call is the one that saw it first.
    Complete,
}

impl Assembly {
    /// Wraps a buffer; [`overhead`] bytes were reserved for it in state *assembling*, which it
    /// releases, also when it fails for want of memory for its maps.
    pub(crate) fn new(
        piece: u32,
        len: u32,
        buffer: Buffer,
        hasher: Option<Box<dyn PieceHasher>>,
        memory: &Arc<Memory>,
        now: u64,
    ) -> Result<Self> {
        let map = |times| Ranges::with_capacity(possible(len, times));
        let maps = map(1).and_then(|claimed| Ok((claimed, map(2)?)));
        let (claimed, written) = maps.inspect_err(|_| {
            memory.budget.release(overhead(len), State::Assembling);
        })?;
        let payload = buffer.piece();
        // SAFETY: the buffer's owner is right here; the share moves into the handle.
        let share = unsafe {
            payload.retain();
            Held::new(payload)
        };
        let progress = Counter::default();
        progress.set(now);
        Ok(Self {
            piece,
            len,
            payload,
            shadow: Shadow::new(len),
            buffer: Mutex::new(Some(buffer)),
            dropped: AtomicBool::new(false),
            _share: share,
            map: Mutex::new(Map { claimed, written }),
            prefix: AtomicU32::new(0),
            hashing: Mutex::new(match hasher {
                Some(hasher) => Hashing::Idle(Guest::new(hasher), 0),
                None => Hashing::Whole,
            }),
            progress,
            charge: Charge { memory: Arc::clone(memory), bytes: overhead(len) },
        })
    }

    /// Copies the bytes of `block` that nobody wrote before.
    pub(crate) fn write(&self, offset: u32, block: &[u8]) -> Result<Step> {
        // The caller has checked the block against the piece.
        let end = offset + block.len() as u32;
        let mut step = Step::Partial(0);
        let mut from = offset;
        loop {
            let claim = {
                let mut map = lock(&self.map);
                let gap = map.claimed.first_gap(from..end);
                match gap {
                    Some(gap) => {
                        let claimed = map.claimed.insert(gap.clone());
                        claimed.map_err(|_| Error::TooFragmented {
                            piece: self.piece,
                            limit: possible(self.len, 1) as u32,
                        })?;
                        gap
                    }
                    None => {
                        if step == Step::Partial(0) {
                            step = Step::Partial(map.written.covered());
                        }
                        return Ok(step);
                    }
                }
            };
            let bytes = &block[(claim.start - offset) as usize..(claim.end - offset) as usize];
            self.shadow.write(claim.clone());
            // SAFETY: the range lies within the piece and was claimed by this call alone
            // (invariant 5); the buffer is alive by this assembly's share.
            unsafe {
                let to = self.payload.payload().as_ptr().add(claim.start as usize);
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            }
            from = claim.end;
            let mut map = lock(&self.map);
            // Never full: there are at most as many written ranges as claimed ones, plus one for
            // each thread that is copying, for which there is as much room again.
            let _ = map.written.insert(claim);
            // Release: pairs with the Acquire in `prefix`; the mutex orders the other writers'
            // bytes before this store.
            self.prefix.store(map.written.prefix(), Ordering::Release);
            let covered = map.written.covered();
            step = if covered == u64::from(self.len) {
                Step::Complete
            } else {
                Step::Partial(covered)
            };
        }
    }

    /// Hashes what has arrived in order, if there is a hasher and nobody else is at it.
    pub(crate) fn hash(&self) {
        loop {
            let mut hashing = lock(&self.hashing);
            let Hashing::Idle(mut hasher, seen) = std::mem::replace(&mut *hashing, Hashing::Taken)
            else {
                // Somebody is at it; or there is none, and the piece is judged as a whole.
                return;
            };
            drop(hashing);
            let ready = self.prefix();
            // SAFETY: written up to `prefix`, and never again.
            let bytes = unsafe { self.bytes(seen..ready) };
            let outcome = foreign::call(|| hasher.update(bytes));
            let mut hashing = lock(&self.hashing);
            *hashing = match outcome {
                Some(()) => Hashing::Idle(hasher, ready),
                // A hasher that panics is out; the piece will be judged as a whole.
                None => Hashing::Whole,
            };
            drop(hashing);
            if self.prefix() == ready {
                return;
            }
        }
    }

    /// Judges the complete piece. A verifier that panics has not approved it.
    pub(crate) fn verify(&self, verifier: &dyn Verifier) -> bool {
        let hashing = std::mem::replace(&mut *lock(&self.hashing), Hashing::Whole);
        // SAFETY: the caller saw the piece complete.
        let all = unsafe { self.bytes(0..self.len) };
        let judge = || match hashing {
            Hashing::Idle(mut hasher, seen) => {
                hasher.update(&all[seen as usize..]);
                hasher.into_inner().matches()
            }
            _ => verifier.verify(self.piece, all),
        };
        foreign::call(judge).unwrap_or(false)
    }

    /// The end of what is written from the start on without a gap.
    pub(crate) fn prefix(&self) -> u32 {
        self.prefix.load(Ordering::Acquire)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.prefix() == self.len
    }

    pub(crate) fn written(&self) -> u64 {
        lock(&self.map).written.covered()
    }

    /// Whether every byte of the range is written.
    pub(crate) fn has(&self, range: Range<u32>) -> bool {
        lock(&self.map).written.contains(range)
    }

    /// # Safety
    /// The range lies within the piece and was found written, by `prefix` or `has`.
    pub(crate) unsafe fn bytes(&self, range: Range<u32>) -> &[u8] {
        self.shadow.read(range.clone());
        // SAFETY: written bytes are never written again; alive by this assembly's share.
        unsafe {
            let from = self.payload.payload().as_ptr().add(range.start as usize);
            std::slice::from_raw_parts(from, range.len())
        }
    }

    /// The owner's share, once, of a complete piece: for its publication.
    pub(crate) fn take_buffer(&self) -> Option<Buffer> {
        // Who shows the bytes has seen them all: so will who sees the version.
        self.shadow.read(0..self.len);
        lock(&self.buffer).take()
    }

    /// Drops the owner's share, unless it is being published; whether it was there.
    pub(crate) fn drop_buffer(&self) -> bool {
        let mut place = lock(&self.buffer);
        let buffer = place.take();
        let here = buffer.is_some();
        // Under the lock: who finds the buffer gone finds out why. Relaxed, for the lock orders.
        self.dropped.fetch_or(here, Ordering::Relaxed);
        drop(place);
        drop(buffer);
        here
    }

    /// Whether it was dropped unpublished.
    pub(crate) fn dropped(&self) -> bool {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Puts the owner's share back, for a publication that found no memory.
    pub(crate) fn put_back(&self, buffer: Buffer) {
        *lock(&self.buffer) = Some(buffer);
    }

    /// What stands in the ledger for it beside its piece; and the piece, while it is its own.
    #[cfg(feature = "validate")]
    pub(crate) fn charged(&self) -> (usize, Option<PieceRef>) {
        (self.charge.bytes, lock(&self.buffer).as_ref().map(Buffer::piece))
    }

    /// What is wrong with the maps of an open assembly while nobody writes to it.
    #[cfg(feature = "validate")]
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        let map = lock(&self.map);
        let (claimed, written) = (&map.claimed, &map.written);
        if claimed.covered() != written.covered() || claimed.prefix() != written.prefix() {
            return Some("not all that is claimed is written");
        }
        if self.prefix() != written.prefix() {
            return Some("the prefix is not that of the map");
        }
        if written.covered() > u64::from(self.len) || self.dropped() {
            return Some("too much is written, or it was dropped");
        }
        None
    }

    /// Notes that it is alive, for `validate`.
    #[cfg(feature = "validate")]
    pub(crate) fn register(self: &Arc<Self>) {
        self.charge.memory.alive.assembly(self);
    }

    /// Bytes that the budget counts for it.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: alive by this assembly's share.
        unsafe { self.payload.size() + self.charge.bytes }
    }
}

/// Gives back what was reserved beside the piece.
struct Charge {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.budget.release(self.bytes, State::Assembling);
    }
}

/// The written prefix of a piece that is still arriving.
///
/// Its bytes are not verified. They stay as they are while the handle lives, whatever becomes of
/// the piece; a longer prefix needs a new handle.
pub struct Arriving {
    assembly: Arc<Assembly>,
    len: u32,
}

impl Arriving {
    pub(crate) fn new(assembly: Arc<Assembly>) -> Self {
        let len = assembly.prefix();
        Self { assembly, len }
    }

    /// The piece.
    #[must_use]
    pub fn piece(&self) -> u32 {
        self.assembly.piece
    }
}

impl std::ops::Deref for Arriving {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` was the prefix.
        unsafe { self.assembly.bytes(0..self.len) }
    }
}

impl std::fmt::Debug for Arriving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arriving").field("piece", &self.piece()).field("len", &self.len).finish()
    }
}

/// A range of a piece that is still arriving, of which every byte is written.
pub(crate) struct Written {
    assembly: Arc<Assembly>,
    range: Range<u32>,
}

impl Written {
    /// `None` unless every byte of the range, which lies within the piece, is written.
    pub(crate) fn new(assembly: Arc<Assembly>, range: Range<u32>) -> Option<Self> {
        assembly.has(range.clone()).then_some(Self { assembly, range })
    }
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: found written, within the piece.
        unsafe { self.assembly.bytes(self.range.clone()) }
    }
}

#[cfg(test)]
#[cfg(not(any(loom, shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn as_many_parts_are_remembered_as_are_possible_or_likely() {
        let parts = |len| (possible(len, 1), possible(len, 2));
        assert_eq!(parts(1), (1, 1));
        assert_eq!(parts(9), (5, 5), "every other byte");
        assert_eq!(parts(400), (128, 201));
        assert_eq!(parts(1 << 20), (128, 256));
        assert_eq!(parts(4 << 20), (512, 1024));
        assert_eq!(parts(u32::MAX), (1024, 2048));
    }

    #[test]
    fn what_stands_beside_a_piece_is_counted_and_little_more() {
        for len in [1, 400, 64 << 10, 4 << 20] {
            let maps: usize = [1, 2].map(|times| 8 * possible(len, times)).iter().sum();
            let least = maps + size_of::<Assembly>();
            assert!((least..least + 1024).contains(&overhead(len)), "{len}");
        }
    }
}
