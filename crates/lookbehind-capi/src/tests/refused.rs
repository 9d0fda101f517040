//! Handles that are none, pointers that are null, panics: for every function that there is.

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

use super::{cache, film, got, panicking};
use crate::cache::*;
use crate::handle::Kind;
use crate::ingest::*;
use crate::pin::*;
use crate::player::*;
use crate::prefer::*;
use crate::read::*;
use crate::status::lb_last_error;
use crate::status::lb_status::{self, *};
use crate::storage::*;
use crate::wanted::*;

/// One function, called with a handle and otherwise with what makes it succeed, or with null for
/// the results that it must be given.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) kind: Option<Kind>,
    pub(super) call: fn(u64) -> lb_status,
    null: Option<fn(u64) -> lb_status>,
}

unsafe extern "C" fn told(_: *mut c_void, _: lb_status, data: *const u8, _: usize) {
    lb_release(data.cast());
}

/// Good for writing any result.
fn any<T: Default>() -> *mut T {
    Box::leak(Box::default())
}

/// Good for writing a result that has no default value.
fn some<T>() -> *mut T {
    Box::leak(Box::<T>::new_uninit()).as_mut_ptr()
}

const PIECE: [u8; 100] = [7; 100];

macro_rules! functions {
    ($($name:ident: $kind:expr, |$handle:ident| ($($arg:expr),*) $(, ($($null:expr),*))?;)*) => {
        pub(super) fn functions() -> Vec<Function> {
            #[allow(unused_unsafe, unused_variables, reason = "some are safe, some take no handle")]
            Vec::from([$(Function {
                name: stringify!($name),
                kind: $kind,
                call: |$handle| {
                    // SAFETY: every pointer is good for ever, or null where that is fine.
                    unsafe { $name($($arg),*) }
                },
                null: None$(.or(Some(|$handle| {
                    // SAFETY: every pointer is good for ever, or null.
                    unsafe { $name($($null),*) }
                })))?,
            }),*])
        }
    };
}

const CACHE: Option<Kind> = Some(Kind::Cache);
const FILM: Option<Kind> = Some(Kind::Storage);
const PLAYER: Option<Kind> = Some(Kind::Player);
const READ: Option<Kind> = Some(Kind::Read);
const FETCH: Option<Kind> = Some(Kind::Fetch);

functions! {
    lb_cache_new: None, |h| (null(), any()), (null(), null_mut());
    lb_cache_close: CACHE, |h| (h);
    lb_cache_budget: CACHE, |h| (h, any()), (h, null_mut());
    lb_cache_set_budget: CACHE, |h| (h, 1 << 20);
    lb_cache_shrink: CACHE, |h| (h, 0);
    lb_cache_stats: CACHE, |h| (h, any()), (h, null_mut());
    lb_cache_abort: CACHE, |h| (h, 0, null_mut());
    lb_global_set: CACHE, |h| (h);
    lb_global_get: None, |h| (any()), (null_mut());
    lb_global_clear: None, |h| ();
    lb_storage_add: CACHE, |h| (h, 950, 100, null(), any()), (h, 950, 100, null(), null_mut());
    lb_storage_add_live: CACHE, |h| (h, null(), any()), (h, null(), null_mut());
    lb_storage_append: FILM, |h| (h, 10, null_mut());
    lb_storage_drop_before: FILM, |h| (h, 0);
    lb_storage_end: FILM, |h| (h);
    lb_storage_find: CACHE, |h| (h, 0, any()), (h, 0, null_mut());
    lb_storage_id: FILM, |h| (h, any()), (h, null_mut());
    lb_storage_cache: FILM, |h| (h, any()), (h, null_mut());
    lb_storage_close: FILM, |h| (h);
    lb_storage_remove: FILM, |h| (h);
    lb_storage_info: FILM, |h| (h, some()), (h, null_mut());
    lb_piece_len: FILM, |h| (h, 0, any()), (h, 0, null_mut());
    lb_storage_stats: FILM, |h| (h, some()), (h, null_mut());
    lb_storage_runs: FILM, |h| (h, null_mut(), 0, any()), (h, null_mut(), 1, any());
    lb_write: FILM, |h| (h, 0, 0, PIECE.as_ptr(), 1, null_mut(), null_mut()),
        (h, 0, 0, null(), 1, null_mut(), null_mut());
    lb_commit: FILM, |h| (h, 0);
    lb_abandon: FILM, |h| (h, 0, null_mut());
    lb_insert: FILM, |h| (h, 0, PIECE.as_ptr(), 100), (h, 0, null(), 100);
    lb_evict: FILM, |h| (h, 0, 1, null_mut());
    lb_contains: FILM, |h| (h, 0, any()), (h, 0, null_mut());
    lb_get: FILM, |h| (h, 0, 0, some(), any()), (h, 0, 0, null_mut(), any());
    lb_read_back: FILM, |h| (h, 0, 0, 1, some()), (h, 0, 0, 1, null_mut());
    lb_retain: None, |h| (null());
    lb_release: None, |h| (null());
    lb_pins: None, |h| (any()), (null_mut());
    lb_read_async: FILM, |h| (h, 1, 0, 0, Some(told), null_mut(), null_mut()),
        (h, 1, 0, 0, None, null_mut(), null_mut());
    lb_read_start: FILM, |h| (h, 1, 0, 0, any()), (h, 1, 0, 0, null_mut());
    lb_read_poll: READ, |h| (h, 0, some(), any()), (h, 0, some(), null_mut());
    lb_read_cancel: READ, |h| (h);
    lb_read_wait: FILM, |h| (h, 1, 0, 0, some(), any()), (h, 1, 0, 0, null_mut(), any());
    lb_player_open: FILM, |h| (h, null(), any()), (h, null(), null_mut());
    lb_player_read: PLAYER, |h| (h, any::<u8>(), 1, 0, any()), (h, null_mut(), 1, 0, any());
    lb_player_next: PLAYER, |h| (h, 0, some(), any()), (h, 0, null_mut(), any());
    lb_player_seek: PLAYER, |h| (h, 0);
    lb_player_position: PLAYER, |h| (h, any()), (h, null_mut());
    lb_player_limit: PLAYER, |h| (h, 10);
    lb_player_pause: PLAYER, |h| (h);
    lb_player_resume: PLAYER, |h| (h);
    lb_player_set_bitrate: PLAYER, |h| (h, 10);
    lb_player_close: PLAYER, |h| (h);
    lb_reserve: FILM, |h| (h, 0, 1);
    lb_unreserve: FILM, |h| (h);
    lb_lookbehind_set: FILM, |h| (h, null(), 0), (h, null(), 1);
    lb_lookbehind_clear: FILM, |h| (h);
    lb_lookbehind_available: FILM, |h| (h, 0, any()), (h, 0, null_mut());
    lb_lookbehind_stats: FILM, |h| (h, some()), (h, null_mut());
    lb_wanted_next: FILM, |h| (h, 0, any(), null_mut(), null_mut()),
        (h, 0, null_mut(), null_mut(), null_mut());
    lb_fetch_cancelled: FETCH, |h| (h, any()), (h, null_mut());
    lb_fetch_fail: FETCH, |h| (h, null());
    lb_fetch_close: FETCH, |h| (h);
}

/// A handle of that kind, and of what it needs.
fn live(kind: Kind) -> u64 {
    let cache = cache(1 << 20);
    live_in(kind, cache, film(cache))
}

/// The same, of that cache and film.
pub(super) fn live_in(kind: Kind, cache: lb_cache, film: lb_storage) -> u64 {
    // SAFETY: every pointer is good.
    unsafe {
        match kind {
            Kind::Cache => cache,
            Kind::Storage => film,
            Kind::Player => got(|out| lb_player_open(film, null(), out)),
            Kind::Read => got(|out| lb_read_start(film, 1, 0, -1, out)),
            Kind::Fetch => {
                assert_eq!(lb_read_start(film, 1, 0, -1, any()), LB_OK);
                got(|out| lb_wanted_next(film, 0, out, null_mut(), null_mut()))
            }
        }
    }
}

fn close(kind: Kind, handle: u64) -> lb_status {
    match kind {
        Kind::Cache => lb_cache_close(handle),
        Kind::Storage => lb_storage_close(handle),
        Kind::Player => lb_player_close(handle),
        Kind::Read => lb_read_cancel(handle),
        Kind::Fetch => lb_fetch_close(handle),
    }
}

const KINDS: [Kind; 5] = [Kind::Cache, Kind::Storage, Kind::Player, Kind::Read, Kind::Fetch];

#[test]
fn the_table_has_every_function_of_the_header_that_can_fail() {
    let header = include_str!("../../include/lookbehind.h");
    let declared = header.lines().filter_map(|line| line.strip_prefix("lb_status lb_"));
    let declared: BTreeSet<_> =
        declared.map(|rest| format!("lb_{}", rest.split('(').next().unwrap_or(""))).collect();
    let tested: BTreeSet<_> = functions().iter().map(|f| f.name.to_owned()).collect();
    assert_eq!(declared, tested);
}

#[test]
fn a_handle_that_is_none_is_refused_by_every_function() {
    for function in functions() {
        let Some(kind) = function.kind else { continue };
        let closed = live(kind);
        assert_eq!(close(kind, closed), LB_OK);
        let foreign = KINDS.into_iter().filter(|other| *other != kind).map(live);
        let invented = [0, 1, u64::MAX, (kind as u64) << 56, (kind as u64) << 56 | 1 << 55];
        for handle in foreign.chain(invented).chain([closed, closed]) {
            let status = (function.call)(handle);
            assert_eq!(status, LB_INVALID_HANDLE, "{} {handle:#x}", function.name);
        }
    }
}

#[test]
fn a_live_handle_is_not_refused() {
    for function in functions() {
        let Some(kind) = function.kind else { continue };
        let status = (function.call)(live(kind));
        assert_ne!(status, LB_INVALID_HANDLE, "{}", function.name);
        assert_ne!(status, LB_PANICKED, "{}", function.name);
    }
}

#[test]
fn a_result_that_has_no_place_is_refused_before_anything_is_done() {
    for function in functions() {
        let Some(call) = function.null else { continue };
        let handle = function.kind.map_or(0, live);
        assert_eq!(call(handle), LB_NULL_POINTER, "{}", function.name);
    }
}

#[test]
fn a_panic_becomes_a_status_in_every_function() {
    for function in functions() {
        let handle = function.kind.map_or(0, live);
        let status = panicking(|| (function.call)(handle));
        // Everything can be used on.
        let still = function.kind.map_or(LB_OK, |kind| close(kind, handle));
        assert_eq!((status, still), (LB_PANICKED, LB_OK), "{}", function.name);
    }
    let mut words = [0; 64];
    // SAFETY: the buffer is as long as is said.
    let len = unsafe { lb_last_error(words.as_mut_ptr(), words.len()) };
    let words: Vec<_> = words[..len].iter().map(|c| c.cast_unsigned()).collect();
    assert_eq!(words, b"a fault of the library: a test asked for it");
}

#[test]
fn a_read_that_has_ended_is_kept_nowhere() {
    let film = live(Kind::Storage);
    let start = || {
        // SAFETY: the pointers are good.
        let polled = got(|out| unsafe { lb_read_start(film, 0, 0, -1, out) });
        // SAFETY: as above.
        let told = got(|out| unsafe { lb_read_async(film, 0, 0, -1, Some(told), null_mut(), out) });
        [polled, told]
    };
    let (cancelled, ended) = (start(), start());
    assert!(cancelled.iter().chain(&ended).all(|read| is_kept(*read)));
    cancelled.iter().for_each(|read| assert_eq!(lb_read_cancel(*read), LB_OK));
    assert_eq!(lb_storage_remove(film), LB_OK);
    // SAFETY: the pointers are good.
    assert_eq!(unsafe { lb_read_poll(ended[0], 0, some(), any()) }, LB_REMOVED);
    assert!(!cancelled.iter().chain(&ended).any(|read| is_kept(*read)));
}

#[test]
fn lengths_beyond_all_memory_are_refused() {
    let handle = live(Kind::Storage);
    // SAFETY: what is said to be there is not looked at.
    let status =
        unsafe { lb_write(handle, 0, 0, PIECE.as_ptr(), usize::MAX, null_mut(), null_mut()) };
    assert_eq!(status, LB_INVALID_ARGUMENT);
    // SAFETY: as above.
    let status = unsafe { lb_lookbehind_set(handle, PIECE.as_ptr().cast(), usize::MAX / 4) };
    assert_eq!(status, LB_INVALID_ARGUMENT);
}
