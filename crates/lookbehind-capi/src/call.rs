//! How every function of the interface is called: what it is given is looked at, failures become
//! a status, and a panic ends here.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lookbehind::Error;

use crate::handle::Kind;
use crate::status::{lb_drop_fn, lb_status};

/// Why a call gives no result.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Cache(#[from] Error),
    #[error("not yet")]
    Pending,
    #[error("nothing more will come")]
    End,
    #[error("the read was cancelled")]
    Cancelled,
    #[error("there is no global cache")]
    NoGlobal,
    #[error("{handle:#018x} is no handle of a {kind}: it was closed, or never was one")]
    InvalidHandle { handle: u64, kind: Kind },
    #[error("`{0}` is null")]
    NullPointer(&'static str),
    #[error("{0}")]
    InvalidArgument(&'static str),
    #[error("{address:#x} is not pinned")]
    NotPinned { address: usize },
    #[error("a fault of the library: {0}")]
    Panicked(String),
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

thread_local! {
    /// Put into words only when somebody asks: misses are frequent.
    static LAST: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// Keeps a failure for this thread's `lb_last_error`, and says which it is.
pub(crate) fn remember(failure: Failure) -> lb_status {
    let status = failure.status();
    if !matches!(failure, Failure::Pending | Failure::End) {
        // Not while the thread is being torn down.
        let _ = LAST.try_with(|last| last.replace(Some(failure)));
    }
    status
}

/// Tells somebody of a failure, with its words at hand; afterwards the thread's last failure is
/// the one before again, for this one belongs to no call of the thread's own.
pub(crate) fn tell(failure: Failure, told: impl FnOnce(lb_status)) {
    let before = LAST.try_with(|last| last.borrow_mut().take()).ok().flatten();
    told(remember(failure));
    let _ = LAST.try_with(|last| last.replace(before));
}

/// This thread's last failure in words.
pub(crate) fn last_failure() -> String {
    let words = || LAST.try_with(|last| last.borrow().as_ref().map(ToString::to_string));
    guarded(|| Ok(words().ok().flatten())).ok().flatten().unwrap_or_default()
}

/// Runs the body of a function.
pub(crate) fn guard(body: impl FnOnce() -> Result<()>) -> lb_status {
    match guarded(body) {
        Ok(()) => lb_status::LB_OK,
        Err(failure) => remember(failure),
    }
}

/// Runs what may panic; a panic is a failure.
pub(crate) fn guarded<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    #[cfg(test)]
    let body = || {
        crate::tests::panic_if_asked();
        body()
    };
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|thrown| Err(panicked(thrown)))
}

fn panicked(thrown: Box<dyn Any + Send>) -> Failure {
    let said = thrown.downcast_ref::<&str>().map(|words| (*words).to_owned());
    let said = said.or_else(|| thrown.downcast_ref::<String>().cloned());
    if said.is_none() {
        // Dropping what is thrown could panic again.
        std::mem::forget(thrown);
    }
    Failure::Panicked(said.unwrap_or_else(|| "it does not say which".to_owned()))
}

/// A place for a result. It is written only by [`set`](Self::set).
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// The pointer is null, or good for writing a `T` until the call returns.
    pub(crate) unsafe fn new(pointer: *mut T, name: &'static str) -> Result<Self> {
        if pointer.is_null() { Err(Failure::NullPointer(name)) } else { Ok(Self(pointer)) }
    }

    /// As `new`, for a result that the caller need not want.
    ///
    /// # Safety
    /// As for `new`.
    pub(crate) unsafe fn optional(pointer: *mut T) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(pointer))
    }

    pub(crate) fn set(self, value: T) {
        // SAFETY: by contract of `new`.
        unsafe { self.0.write(value) }
    }
}

/// What a caller gave as an address and a length.
///
/// # Safety
/// Unless null or of no length, there are `len` initialised values which stay as they are for
/// as long as the slice is used.
pub(crate) unsafe fn slice<'a, T>(
    data: *const T,
    len: usize,
    name: &'static str,
) -> Result<&'a [T]> {
    match len {
        0 => Ok(&[]),
        _ if data.is_null() => Err(Failure::NullPointer(name)),
        // More does not exist.
        _ if len > isize::MAX as usize / size_of::<T>() => {
            Err(Failure::InvalidArgument("the length exceeds what memory there can be"))
        }
        // SAFETY: by contract.
        _ => Ok(unsafe { std::slice::from_raw_parts(data, len) }),
    }
}

/// A panic under a mutex leaves what it guards usable: each is changed in one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits while that is so; until the deadline at most, if there is one.
pub(crate) fn wait_while<'a, T>(
    changed: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
    so: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    match deadline {
        None => changed.wait_while(guard, so).unwrap_or_else(PoisonError::into_inner),
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            let waited = changed.wait_timeout_while(guard, left, so);
            waited.unwrap_or_else(PoisonError::into_inner).0
        }
    }
}

/// When a wait of so long ends. One beyond what the clock can count has no end.
pub(crate) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|time| Instant::now().checked_add(time))
}

/// Milliseconds to wait; `None` is for ever.
pub(crate) fn timeout(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

/// What a callback is given, for as long as the library keeps it: dropped once.
pub(crate) struct Context {
    pointer: *mut c_void,
    drop: lb_drop_fn,
}

// SAFETY: the interface says that callbacks come on any thread, and several at once.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    pub(crate) fn new(pointer: *mut c_void, drop: lb_drop_fn) -> Self {
        Self { pointer, drop }
    }

    /// By a method, so that a closure which calls it captures the whole context.
    pub(crate) fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: the function and its context were given together, and this is the only call.
            unsafe { drop(self.pointer) }
        }
    }
}
