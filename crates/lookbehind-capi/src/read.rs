//! Reads that wait: by a callback, by a handle that is polled, or on the thread that calls.
//!
//! A read is a task that polls a wait for its piece. It runs on the thread that starts it, and then
//! on each that wakes it: one that publishes, removes, aborts, or the timer's. One at a time: who
//! finds another one at it leaves a count, and that one looks again. So a wake in the middle of a
//! look neither waits nor is lost.
//!
//! The outcome is decided once, under a mutex: by the piece, by what ends the wait, or by a
//! cancellation. Who has decided tells it, outside of the mutex.

use std::ffi::c_void;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use lookbehind::{Error, Held, Storage, WaitPiece};

use crate::call::{
    Failure, Out, Result, deadline, guard, guarded, lock, tell, timeout, wait_while,
};
use crate::handle::{Kind, Table};
use crate::pin::{PinOut, Pinned, pin_piece};
use crate::status::lb_status;
use crate::storage::{lb_storage, piece_len, storage_of};

/// A read that waits for its piece.
pub type lb_read = u64;

/// Is told how a read went, once, on the thread that ended it: `data` is a pin, to be released by
/// lb_release, of `len` bytes if `status` is LB_OK, and null otherwise.
pub type lb_read_fn = Option<
    unsafe extern "C" fn(context: *mut c_void, status: lb_status, data: *const u8, len: usize),
>;

pub(crate) struct Read {
    handle: lb_read,
    offset: u32,
    callback: Option<Callback>,
    outcome: Mutex<Outcome>,
    /// The outcome is there, for who polls with a timeout.
    decided: Condvar,
    /// Taken out by the one thread that runs the task.
    wait: Mutex<Option<WaitPiece>>,
    /// Reasons to look that have come up since the task last stood still.
    wakes: AtomicUsize,
}

enum Outcome {
    Pending,
    /// To be polled for.
    There(Result<Held>),
    /// The callback has it, or whoever polled.
    Taken,
    Cancelled,
}

struct Callback {
    function: unsafe extern "C" fn(*mut c_void, lb_status, *const u8, usize),
    context: *mut c_void,
}

// SAFETY: the interface says that the callback comes on any thread.
unsafe impl Send for Callback {}
// SAFETY: as above.
unsafe impl Sync for Callback {}

static READS: Table<Read> = Table::new(Kind::Read);

impl Read {
    fn new(storage: &Storage, place: Place, callback: Option<Callback>) -> (lb_read, Arc<Self>) {
        READS.add_with(|handle| {
            Arc::new(Self {
                handle,
                offset: place.offset,
                callback,
                outcome: Mutex::new(Outcome::Pending),
                decided: Condvar::new(),
                wait: Mutex::new(Some(place.wait(storage))),
                wakes: AtomicUsize::new(0),
            })
        })
    }

    /// Looks whether the piece is there, unless another thread is looking: it will look again.
    fn run(self: &Arc<Self>) {
        if self.wakes.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        loop {
            let seen = self.wakes.load(Ordering::Acquire);
            self.look();
            if self.wakes.fetch_sub(seen, Ordering::AcqRel) == seen {
                return;
            }
        }
    }

    fn look(self: &Arc<Self>) {
        let Some(mut wait) = lock(&self.wait).take() else { return };
        if !matches!(*lock(&self.outcome), Outcome::Pending) {
            return;
        }
        let waker = Waker::from(Arc::clone(self));
        let mut cx = Context::from_waker(&waker);
        let polled = guarded(|| match Pin::new(&mut wait).poll(&mut cx) {
            Poll::Ready(result) => Ok(Some(result?)),
            Poll::Pending => Ok(None),
        });
        match polled {
            Ok(None) => *lock(&self.wait) = Some(wait),
            Ok(Some(held)) => self.end(Ok(held)),
            Err(failure) => self.end(Err(failure)),
        }
    }

    fn end(&self, result: Result<Held>) {
        let mut outcome = lock(&self.outcome);
        if !matches!(*outcome, Outcome::Pending) {
            // The piece is let go outside the lock.
            drop(outcome);
            return;
        }
        match &self.callback {
            None => {
                *outcome = Outcome::There(result);
                drop(outcome);
                self.decided.notify_all();
            }
            Some(callback) => {
                *outcome = Outcome::Taken;
                drop(outcome);
                drop(READS.remove(self.handle));
                callback.tell(result.and_then(|held| pin_piece(held, self.offset)));
            }
        }
    }

    /// The outcome, when it is there; the read is over then.
    fn poll(&self, timeout: Option<Duration>) -> Result<Held> {
        let deadline = deadline(timeout);
        let pending = |outcome: &mut Outcome| matches!(outcome, Outcome::Pending);
        let mut outcome = wait_while(&self.decided, lock(&self.outcome), deadline, pending);
        match *outcome {
            Outcome::Pending => return Err(Failure::Pending),
            Outcome::Cancelled => return Err(Failure::Cancelled),
            Outcome::Taken => {
                return Err(Failure::InvalidHandle { handle: self.handle, kind: Kind::Read });
            }
            Outcome::There(_) => {}
        }
        let taken = std::mem::replace(&mut *outcome, Outcome::Taken);
        drop(outcome);
        drop(READS.remove(self.handle));
        match taken {
            Outcome::There(result) => result,
            _ => Err(Failure::Pending), // seen to be there above
        }
    }

    /// Ends the read, unless it has an end.
    fn cancel(self: &Arc<Self>) -> Result<()> {
        let mut outcome = lock(&self.outcome);
        if matches!(*outcome, Outcome::Taken | Outcome::Cancelled) {
            return Err(Failure::InvalidHandle { handle: self.handle, kind: Kind::Read });
        }
        let before = std::mem::replace(&mut *outcome, Outcome::Cancelled);
        drop(outcome);
        drop(before);
        drop(READS.remove(self.handle));
        self.decided.notify_all();
        // Lets the wait go.
        self.run();
        if let Some(callback) = &self.callback {
            callback.tell(Err(Failure::Cancelled));
        }
        Ok(())
    }
}

impl Wake for Read {
    fn wake(self: Arc<Self>) {
        self.run();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.run();
    }
}

impl Callback {
    fn tell(&self, result: Result<Pinned>) {
        let call = |status, data, len| {
            // SAFETY: the function and its context were given together, for this one call.
            unsafe { (self.function)(self.context, status, data, len) }
        };
        match result {
            Ok(pinned) => call(lb_status::LB_OK, pinned.data, pinned.len),
            Err(failure) => tell(failure, |status| call(status, std::ptr::null(), 0)),
        }
    }
}

/// What is read, and for how long it may wait.
struct Place {
    piece: u32,
    offset: u32,
    timeout: Option<Duration>,
}

impl Place {
    /// A place that the film has.
    fn new(storage: &Storage, piece: u32, offset: u32, timeout_ms: i64) -> Result<Self> {
        let piece_len = piece_len(storage, piece)?;
        if offset >= piece_len {
            return Err(Error::BlockOutOfRange { piece, offset, len: 1, piece_len }.into());
        }
        Ok(Self { piece, offset, timeout: timeout(timeout_ms) })
    }

    fn wait(&self, storage: &Storage) -> WaitPiece {
        let wait = storage.wait(self.piece);
        match self.timeout {
            Some(time) => wait.deadline(time),
            None => wait,
        }
    }
}

/// Reads a piece from `offset` on, waiting for it if it is not there: the piece becomes wanted. The
/// callback is told, once, how it went: before this returns if the piece is there, and otherwise
/// on the thread that ends the wait, which is one that publishes, cancels, fails the fetch, drops
/// segments, removes or aborts, closes the last handle, or the timer's (LB_TIMED_OUT). A callback that
/// starts the next read may therefore find itself called within itself.
///
/// LB_NULL_POINTER, LB_INVALID_HANDLE, LB_PIECE_OUT_OF_RANGE and LB_BLOCK_OUT_OF_RANGE are returned,
/// and the callback is not called then. All else the callback is told. `read`, unless null, is for
/// lb_read_cancel; it is written before the callback is called, whose call ends the handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_read_async(
    storage: lb_storage,
    piece: u32,
    offset: u32,
    timeout_ms: i64,
    callback: lb_read_fn,
    context: *mut c_void,
    read: *mut lb_read,
) -> lb_status {
    guard(|| {
        let function = callback.ok_or(Failure::NullPointer("callback"))?;
        let storage = storage_of(storage)?;
        let place = Place::new(&storage, piece, offset, timeout_ms)?;
        let (handle, task) = Read::new(&storage, place, Some(Callback { function, context }));
        // SAFETY: null or writable, by contract.
        if let Some(out) = unsafe { Out::optional(read) } {
            out.set(handle);
        }
        task.run();
        Ok(())
    })
}

/// Starts to read a piece from `offset` on, as lb_read_async does, for lb_read_poll.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_read_start(
    storage: lb_storage,
    piece: u32,
    offset: u32,
    timeout_ms: i64,
    read: *mut lb_read,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(read, "read")? };
        let storage = storage_of(storage)?;
        let place = Place::new(&storage, piece, offset, timeout_ms)?;
        let (handle, task) = Read::new(&storage, place, None);
        task.run();
        out.set(handle);
        Ok(())
    })
}

/// How a read of lb_read_start went: LB_PENDING if it still waits after `timeout_ms`. Any other
/// status is its outcome, with which the handle ends: a pin if LB_OK. LB_INVALID_ARGUMENT for a read
/// that has a callback. Who does not ask must call lb_read_cancel: until then the piece is kept.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_read_poll(
    read: lb_read,
    timeout_ms: i64,
    data: *mut *const u8,
    len: *mut usize,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { PinOut::new(data, len)? };
        let read = READS.get(read)?;
        if read.callback.is_some() {
            return Err(Failure::InvalidArgument("the read has a callback, and is not polled"));
        }
        let held = read.poll(timeout(timeout_ms))?;
        out.set(pin_piece(held, read.offset)?);
        Ok(())
    })
}

#[cfg(test)]
pub(crate) fn is_kept(read: lb_read) -> bool {
    READS.get(read).is_ok()
}

/// Ends a read. If it has a callback, that was called with LB_CANCELLED when this returns LB_OK;
/// who polls it meanwhile gets LB_CANCELLED. LB_INVALID_HANDLE if the read had ended before: its
/// callback was called with what it ended with, or another thread is calling it, or about to.
#[unsafe(no_mangle)]
pub extern "C" fn lb_read_cancel(read: lb_read) -> lb_status {
    guard(|| READS.get(read)?.cancel())
}

/// Reads a piece from `offset` on, and waits for it on this thread: a pin. LB_TIMED_OUT,
/// LB_REMOVED or LB_UNKNOWN_STORAGE, LB_ABORTED, LB_FETCH_FAILED if it does not come.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_read_wait(
    storage: lb_storage,
    piece: u32,
    offset: u32,
    timeout_ms: i64,
    data: *mut *const u8,
    len: *mut usize,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { PinOut::new(data, len)? };
        let storage = storage_of(storage)?;
        let place = Place::new(&storage, piece, offset, timeout_ms)?;
        let held = place.wait(&storage).blocking()?;
        out.set(pin_piece(held, offset)?);
        Ok(())
    })
}
