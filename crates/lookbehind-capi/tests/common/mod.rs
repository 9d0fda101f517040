//! Short forms of the C functions, for tests in Rust.
#![allow(dead_code, reason = "each test uses some")]

use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use lookbehind_capi::cache::*;
pub use lookbehind_capi::ingest::*;
pub use lookbehind_capi::pin::*;
pub use lookbehind_capi::player::*;
pub use lookbehind_capi::read::*;
pub use lookbehind_capi::status::lb_last_error;
pub use lookbehind_capi::status::lb_status::{self, *};
pub use lookbehind_capi::storage::*;
pub use lookbehind_capi::wanted::*;

pub const PIECE: u32 = 100;
pub const PIECES: u32 = 10;
/// So long a wait is one that fails: see [`promptly`].
pub const LONG: i64 = 30_000;

/// The number of pins is one for the whole process: tests that look at it run one at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn ok(status: lb_status) {
    assert_eq!(status, LB_OK);
}

/// A value that a call that must succeed writes.
pub fn got<T: Default>(call: impl FnOnce(*mut T) -> lb_status) -> T {
    let mut value = T::default();
    ok(call(&mut value));
    value
}

pub fn cache() -> lb_cache {
    // SAFETY: the pointers are null where that is fine, and good elsewhere.
    got(|out| unsafe { lb_cache_new(null(), out) })
}

pub fn film(cache: lb_cache) -> lb_storage {
    let len = u64::from(PIECE * PIECES);
    // SAFETY: as above.
    got(|out| unsafe { lb_storage_add(cache, len, PIECE, null(), out) })
}

/// The piece is its number, over and over.
pub fn insert(film: lb_storage, piece: u32) -> lb_status {
    let bytes = [piece as u8; PIECE as usize];
    // SAFETY: the bytes are there.
    unsafe { lb_insert(film, piece, bytes.as_ptr(), bytes.len()) }
}

/// A block of the piece that `insert` would insert.
pub fn write(film: lb_storage, piece: u32, offset: u32, len: usize) {
    let bytes = vec![piece as u8; len];
    // SAFETY: the bytes are there, and null is fine.
    ok(unsafe { lb_write(film, piece, offset, bytes.as_ptr(), len, null_mut(), null_mut()) });
}

pub fn pins() -> usize {
    // SAFETY: the pointer is good.
    got(|out| unsafe { lb_pins(out) })
}

/// Calls what may wait for [`LONG`]. Who is not told of what he waits for would find it then.
pub fn promptly<T>(call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = call();
    assert!(start.elapsed().as_millis() < LONG as u128 / 2, "nobody told of it");
    result
}

/// What a call that pins gives: the address as a number, for other threads, and the bytes.
pub fn pinned(
    call: impl FnOnce(*mut *const u8, *mut usize) -> lb_status,
) -> Result<Pinned, lb_status> {
    let (mut data, mut len) = (null(), 0);
    match call(&mut data, &mut len) {
        LB_OK => Ok(Pinned { at: data.expose_provenance(), len }),
        failure => {
            assert!(data.is_null() && len == 0, "written in spite of {failure:?}");
            Err(failure)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned {
    pub at: usize,
    pub len: usize,
}

impl Pinned {
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the test has not released it.
        unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(self.at), self.len) }
    }

    pub fn release(&self) -> lb_status {
        lb_release(std::ptr::with_exposed_provenance(self.at))
    }

    pub fn retain(&self) -> lb_status {
        lb_retain(std::ptr::with_exposed_provenance(self.at))
    }
}

pub fn get(film: lb_storage, piece: u32, offset: u32) -> Result<Pinned, lb_status> {
    // SAFETY: the pointers are good.
    pinned(|data, len| unsafe { lb_get(film, piece, offset, data, len) })
}

/// What the callback of a read was told.
#[derive(Default)]
pub struct Told {
    pub times: AtomicUsize,
    pub status: Mutex<Option<lb_status>>,
    pub bytes: Mutex<Vec<u8>>,
    pub words: Mutex<String>,
}

impl Told {
    pub fn context(&self) -> *mut c_void {
        (&raw const *self).cast_mut().cast()
    }

    pub fn times(&self) -> usize {
        self.times.load(Ordering::Acquire)
    }

    pub fn status(&self) -> Option<lb_status> {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The callback: keeps what it is told, and releases the pin.
pub unsafe extern "C" fn told(
    context: *mut c_void,
    status: lb_status,
    data: *const u8,
    len: usize,
) {
    // SAFETY: the test keeps it until the callback was called.
    let told = unsafe { &*context.cast::<Told>() };
    if !data.is_null() {
        // SAFETY: pinned.
        let bytes = unsafe { std::slice::from_raw_parts(data, len) };
        *told.bytes.lock().unwrap_or_else(PoisonError::into_inner) = bytes.to_vec();
        ok(lb_release(data.cast()));
    }
    *told.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    *told.words.lock().unwrap_or_else(PoisonError::into_inner) = words();
    told.times.fetch_add(1, Ordering::AcqRel);
}

/// The last failure of this thread.
pub fn words() -> String {
    let mut buffer = [0; 200];
    // SAFETY: the buffer is as long as is said.
    unsafe {
        lb_last_error(buffer.as_mut_ptr(), buffer.len());
        CStr::from_ptr(buffer.as_ptr()).to_string_lossy().into_owned()
    }
}

pub fn read_async(film: lb_storage, piece: u32, timeout: i64, to: &Told) -> lb_read {
    // SAFETY: the test keeps the context until the callback was called.
    got(|read| unsafe { lb_read_async(film, piece, 0, timeout, Some(told), to.context(), read) })
}

pub fn read_start(film: lb_storage, piece: u32, timeout: i64) -> lb_read {
    // SAFETY: the pointer is good.
    got(|read| unsafe { lb_read_start(film, piece, 0, timeout, read) })
}

pub fn poll(read: lb_read, timeout: i64) -> Result<Pinned, lb_status> {
    // SAFETY: the pointers are good.
    promptly(|| pinned(|data, len| unsafe { lb_read_poll(read, timeout, data, len) }))
}

pub fn play(film: lb_storage) -> lb_player {
    // SAFETY: null is fine, and the other pointer good.
    got(|out| unsafe { lb_player_open(film, null(), out) })
}

/// Copies what is at the playhead.
pub fn player_read(player: lb_player, timeout: i64) -> Result<Vec<u8>, lb_status> {
    let (mut buffer, mut count) = (vec![0; 2 * PIECE as usize], 0);
    // SAFETY: the buffer is as long as is said.
    let status = promptly(|| unsafe {
        lb_player_read(player, buffer.as_mut_ptr(), buffer.len(), timeout, &mut count)
    });
    buffer.truncate(count);
    if status == LB_OK { Ok(buffer) } else { Err(status) }
}

pub fn wanted(film: lb_storage, timeout: i64) -> Result<(lb_fetch, u32), lb_status> {
    let (mut fetch, mut piece) = (0, 0);
    // SAFETY: the pointers are good, or null where that is fine.
    let next = || unsafe { lb_wanted_next(film, timeout, &mut fetch, &mut piece, null_mut()) };
    match promptly(next) {
        LB_OK => Ok((fetch, piece)),
        failure => Err(failure),
    }
}

pub fn abort(cache: lb_cache) {
    // SAFETY: null is fine.
    ok(unsafe { lb_cache_abort(cache, 0, null_mut()) });
}

/// Waits until something is so that another thread brings about, and then a moment longer: who has
/// begun to wait may be asleep by then. The tests hold either way; so they see more.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed().as_secs() < 30, "{what}");
        thread::yield_now();
    }
    thread::sleep(Duration::from_millis(2));
}

/// Reads that wait in the storage.
pub fn waits(film: lb_storage) -> u64 {
    let mut stats = std::mem::MaybeUninit::<lb_storage_statistics>::uninit();
    // SAFETY: written, for the call succeeds.
    unsafe {
        ok(lb_storage_stats(film, stats.as_mut_ptr()));
        stats.assume_init().waits
    }
}
