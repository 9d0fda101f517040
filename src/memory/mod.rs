//! A piece's bytes: where they come from, and where they go.
//!
//! Duty: invariant 1 (nothing is allocated that was not reserved) and the second half of
//! invariant 8 (the last drop of a handle frees nothing: it puts the buffer on a list that
//! writers take back).
//!
//! A buffer keeps the [`Memory`] alive that it is counted in, by one strong count from its
//! allocation to its free; so a handle is one pointer, and outlives cache and storage.
//!
//! Orderings: the return list is a stack that is pushed by many and only ever taken whole, so
//! it needs no guard against ABA. Closing (`closed` against a push) is settled by two SeqCst
//! fences: whoever comes second empties the list. Model: `held_against_evict`.

pub(crate) mod budget;
pub(crate) mod piece;
pub(crate) mod pool;
pub(crate) mod slab;
#[cfg(all(test, not(loom)))]
mod tests;

use std::sync::Arc;

use crate::sync::{AtomicBool, AtomicPtr, Ordering, fence};
use crate::wake::Wakers;
use budget::Budget;
use piece::{Header, PieceRef, size_for};
use pool::Shelf;
use slab::Slabs;

/// The six states of a byte; see [`States`](crate::States).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Assembling,
    Published,
    Limbo,
    Held,
    Pooled,
    Table,
}

/// What a table node is for: evictions may take the headroom, for they make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Publish,
    Evict,
}

/// Why no memory was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The budget has no room.
    Budget,
    /// The allocator returned null.
    Allocator,
}

/// All memory of one cache.
pub(crate) struct Memory {
    pub(crate) budget: Budget,
    slabs: Slabs,
    pool: Shelf<Header>,
    /// Buffers whose last handle was dropped after their grace period.
    returned: AtomicPtr<Header>,
    closed: AtomicBool,
    /// Writers that wait for memory.
    pub(crate) freed: Wakers,
    #[cfg(feature = "validate")]
    pub(crate) alive: crate::validate::Alive,
}

/// The owner's share of a buffer before publication. Dropping it recycles the buffer, once
/// nobody holds another share.
pub(crate) struct Buffer {
    piece: PieceRef,
    memory: Arc<Memory>,
}

impl Memory {
    /// With huge pages, if they are wanted and the system has them.
    pub(crate) fn new(limit: u64, huge_pages: bool) -> Arc<Self> {
        Arc::new(Self {
            budget: Budget::new(limit),
            slabs: Slabs::new(huge_pages),
            pool: Shelf::new(64),
            returned: AtomicPtr::new(std::ptr::null_mut()),
            closed: AtomicBool::new(false),
            freed: Wakers::default(),
            #[cfg(feature = "validate")]
            alive: Default::default(),
        })
    }

    /// A buffer for `len` bytes of piece `index`: a recycled one of the same size, or a new one if
    /// the budget has room. Its bytes are not initialised. `common` says that the film has many
    /// pieces of this length.
    pub(crate) fn buffer(
        self: &Arc<Self>,
        index: u32,
        len: u32,
        common: bool,
    ) -> Result<Buffer, Refused> {
        let size = size_for(len as usize);
        self.take_back_returned();
        // Above the limit, or in the headroom, what is pooled is freed and not used again.
        let usable = !self.budget.over();
        // SAFETY: what is on the shelf is alive, and `size` is never written after allocation.
        let fits = |piece: PieceRef| usable && unsafe { piece.size() } == size;
        let pooled = self.pool.take(|p| PieceRef::from_ptr(p).is_some_and(fits));
        let piece = match pooled.and_then(PieceRef::from_ptr) {
            Some(piece) => {
                self.budget.transfer(size, State::Pooled, State::Assembling);
                // SAFETY: taken off the shelf, so owned here alone.
                unsafe { piece.header().canary.rise() };
                piece
            }
            None => {
                if !self.budget.reserve(size, State::Assembling) {
                    return Err(Refused::Budget);
                }
                let slabs = common.then_some(&self.slabs);
                let Some(piece) = PieceRef::allocate(size, slabs) else {
                    self.budget.release(size, State::Assembling);
                    return Err(Refused::Allocator);
                };
                // The buffer's own share of the memory; given up in `destroy`.
                // SAFETY: fresh, so owned here alone.
                unsafe { piece.set_home(Arc::into_raw(Arc::clone(self))) };
                #[cfg(feature = "validate")]
                self.alive.buffer(piece);
                piece
            }
        };
        // SAFETY: owned here alone, and of the size for `len`.
        unsafe { piece.prepare(index, len) };
        Ok(Buffer { piece, memory: Arc::clone(self) })
    }

    /// Frees one pooled buffer; whether there was one.
    pub(crate) fn free_one_pooled(&self) -> bool {
        match self.pool.take(|_| true).and_then(PieceRef::from_ptr) {
            Some(piece) => {
                // SAFETY: taken off the shelf, so owned here alone.
                unsafe { self.destroy(piece, State::Pooled) };
                true
            }
            None => false,
        }
    }

    /// Takes back what handles have returned; whether there was anything.
    pub(crate) fn take_back_returned(&self) -> bool {
        if self.returned.load(Ordering::Relaxed).is_null() {
            return false;
        }
        // Acquire: pairs with the Release push in `hand_back`, which wrote the link.
        let mut next = self.returned.swap(std::ptr::null_mut(), Ordering::Acquire);
        let any = !next.is_null();
        while let Some(piece) = PieceRef::from_ptr(next) {
            // SAFETY: on the list, so nobody else owns the buffer; the link was written before
            // the push.
            unsafe {
                next = piece.header().counts.returned.load(Ordering::Relaxed);
                self.recycle(piece, State::Held);
            }
        }
        any
    }

    /// The buffers in the pool, and those that handles have returned, while nobody else uses the
    /// cache; `None` if the shelf is not as it should be.
    #[cfg(feature = "validate")]
    pub(crate) fn free_buffers(&self) -> Option<(Vec<PieceRef>, Vec<PieceRef>)> {
        let pooled = self.pool.things()?.into_iter().map(PieceRef::from_ptr);
        let pooled: Option<Vec<_>> = pooled.collect();
        let mut returned = Vec::new();
        let mut next = self.returned.load(Ordering::Relaxed);
        while let Some(piece) = PieceRef::from_ptr(next) {
            returned.push(piece);
            // SAFETY: on the list, so alive.
            next = unsafe { piece.header() }.counts.returned.load(Ordering::Relaxed);
        }
        Some((pooled?, returned))
    }

    /// Puts a buffer that nobody can reach any more into the pool, or frees it. Wakes nobody:
    /// the caller does, where it may run a user's code.
    ///
    /// # Safety
    /// The caller owns the buffer alone, and nobody uses it afterwards.
    pub(crate) unsafe fn recycle(&self, piece: PieceRef, from: State) {
        // SAFETY: owned by the caller.
        let size = unsafe {
            piece.header().canary.fall();
            piece.size()
        };
        if self.budget.over() || self.closed.load(Ordering::Relaxed) {
            // SAFETY: the caller's contract.
            unsafe { self.destroy(piece, from) };
            return;
        }
        self.budget.transfer(size, from, State::Pooled);
        if let Err(pointer) = self.pool.put(piece.as_ptr()) {
            if let Some(piece) = PieceRef::from_ptr(pointer) {
                // SAFETY: not put, so still owned by the caller.
                unsafe { self.destroy(piece, State::Pooled) };
            }
            return;
        }
        // Pairs with the fence in `close`: the put is seen there, or `closed` is seen here.
        fence(Ordering::SeqCst);
        if self.closed.load(Ordering::Relaxed) {
            while self.free_one_pooled() {}
        }
    }

    /// # Safety
    /// As for [`Memory::recycle`].
    unsafe fn destroy(&self, piece: PieceRef, from: State) {
        // SAFETY: the caller's contract; `home` was set when the buffer was allocated, and this
        // gives up its count once.
        unsafe {
            let size = piece.size();
            let home = piece.header().counts.home;
            #[cfg(feature = "validate")]
            self.alive.no_buffer(piece);
            piece.free();
            self.budget.release(size, from);
            // `self` may only be alive by this count; nothing touches it afterwards.
            Arc::decrement_strong_count(home);
        }
    }

    /// Drops the share of a piece's owner, which is the table (the piece is in limbo and its
    /// grace period has passed) or the assembly. The buffer is recycled if nobody holds another.
    ///
    /// # Safety
    /// The share is the caller's, nobody can take another from it any more, and `from` is the
    /// state that the piece is counted in.
    pub(crate) unsafe fn drop_share(&self, piece: PieceRef, from: State) {
        // SAFETY: the share keeps the buffer alive until it is dropped below.
        unsafe {
            let size = piece.size();
            // First the account, then the share: whoever drops the last one finds it held.
            self.budget.transfer(size, from, State::Held);
            if piece.release() {
                self.recycle(piece, State::Held);
            }
        }
    }

    /// The last handle of an unpublished piece was dropped: put the buffer where the next writer
    /// finds it, and wake those who wait for memory. Frees nothing (invariant 8).
    ///
    /// # Safety
    /// The caller dropped the last share of `piece`, which is counted in this memory.
    pub(crate) unsafe fn hand_back(self: &Arc<Self>, piece: PieceRef) {
        let mut head = self.returned.load(Ordering::Relaxed);
        loop {
            // SAFETY: the last share was the caller's, so it owns the buffer alone.
            unsafe { piece.header().counts.returned.store(head, Ordering::Relaxed) };
            // Release: pairs with the Acquire swap in `take_back_returned`. Relaxed on failure:
            // the head is not looked into.
            let pushed = self.returned.compare_exchange_weak(
                head,
                piece.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            match pushed {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        // Pairs with the fence in `close`: the push is seen there, or `closed` is seen here.
        fence(Ordering::SeqCst);
        if self.closed.load(Ordering::Relaxed) {
            self.take_back_returned();
        }
        self.freed.wake_all();
    }

    /// Frees what is pooled, and has everything that comes back from now on freed at once.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        // Pairs with the fences in `hand_back` and `recycle`.
        fence(Ordering::SeqCst);
        self.take_back_returned();
        while self.free_one_pooled() {}
    }

    /// Reserves memory for a table node.
    pub(crate) fn reserve_node(&self, bytes: usize, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Publish => self.budget.reserve(bytes, State::Table),
            Purpose::Evict => self.budget.reserve_to_evict(bytes, State::Table),
        }
    }

    pub(crate) fn release_node(&self, bytes: usize) {
        self.budget.release(bytes, State::Table);
    }
}

impl Buffer {
    pub(crate) fn piece(&self) -> PieceRef {
        self.piece
    }

    /// Bytes that the budget counts for it.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: owned, so alive.
        unsafe { self.piece.size() }
    }

    /// Notes the seat that the piece has in the roster.
    pub(crate) fn set_seat(&self, seat: u32) {
        // SAFETY: owned, so alive.
        unsafe { self.piece.header() }.set_seat(seat);
    }

    /// Copies `bytes` to the payload at `offset`.
    ///
    /// # Safety
    /// The range lies within the piece's length, and no other thread reads or writes it: it was
    /// claimed (invariant 5), or the buffer is not shared.
    pub(crate) unsafe fn fill(&self, offset: u32, bytes: &[u8]) {
        // SAFETY: the caller's contract.
        unsafe {
            let to = self.piece.payload().as_ptr().add(offset as usize);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
    }

    /// Drops the buffer without waking anyone: for one that was taken in vain, whose taker waits
    /// himself.
    pub(crate) fn drop_quietly(self) {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never used again, so share and count move out once.
        unsafe {
            let memory = std::ptr::read(&this.memory);
            memory.drop_share(this.piece, State::Assembling);
        }
    }

    /// Gives the owner's share away, to the table.
    pub(crate) fn into_piece(self) -> PieceRef {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never used again, so its count of the memory moves out once.
        drop(unsafe { std::ptr::read(&this.memory) });
        this.piece
    }

    /// Takes the owner's share back from a publication that did not happen.
    ///
    /// # Safety
    /// `piece` came out of [`Buffer::into_piece`] and was not published.
    pub(crate) unsafe fn from_piece(piece: PieceRef, memory: &Arc<Memory>) -> Self {
        Self { piece, memory: Arc::clone(memory) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the owner's share, dropped once. An assembly's readers may hold others.
        unsafe { self.memory.drop_share(self.piece, State::Assembling) };
        self.memory.freed.wake_all();
    }
}
