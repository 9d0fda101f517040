//! Every status is given by some call, and has a name and words.

use std::collections::HashSet;
use std::ffi::CStr;
use std::ptr::{null, null_mut};

use lookbehind::{Error, StorageId};

use super::{cache, film, got, panicking};
use crate::cache::*;
use crate::ingest::*;
use crate::pin::*;
use crate::player::*;
use crate::read::*;
use crate::status::lb_status::{self, *};
use crate::status::{all, lb_last_error, lb_status_name, lb_version};
use crate::storage::*;
use crate::wanted::*;

fn words() -> String {
    let mut buffer = [0; 300];
    // SAFETY: the buffer is as long as is said.
    unsafe {
        lb_last_error(buffer.as_mut_ptr(), buffer.len());
        CStr::from_ptr(buffer.as_ptr()).to_string_lossy().into_owned()
    }
}

fn add(cache: lb_cache, total: u64, piece: u32, options: lb_storage_options) -> lb_status {
    let mut film = 0;
    // SAFETY: all pointers are good.
    unsafe { lb_storage_add(cache, total, piece, &options, &mut film) }
}

fn film_with(cache: lb_cache, total: u64, piece: u32, options: lb_storage_options) -> lb_storage {
    // SAFETY: all pointers are good.
    got(|out| unsafe { lb_storage_add(cache, total, piece, &options, out) })
}

fn live_film(cache: lb_cache) -> lb_storage {
    // SAFETY: the pointer is good.
    got(|out| unsafe { lb_storage_add_live(cache, null(), out) })
}

fn insert(film: lb_storage, piece: u32, bytes: &[u8]) -> lb_status {
    // SAFETY: the slice is.
    unsafe { lb_insert(film, piece, bytes.as_ptr(), bytes.len()) }
}

fn write(film: lb_storage, piece: u32, offset: u32, bytes: &[u8]) -> lb_status {
    // SAFETY: the slice is.
    unsafe { lb_write(film, piece, offset, bytes.as_ptr(), bytes.len(), null_mut(), null_mut()) }
}

fn get(film: lb_storage, piece: u32, offset: u32) -> lb_status {
    let (mut data, mut len) = (null(), 0);
    // SAFETY: the pointers are good.
    let status = unsafe { lb_get(film, piece, offset, &mut data, &mut len) };
    assert_eq!(lb_release(data.cast()), LB_OK);
    status
}

fn start(film: lb_storage, piece: u32, timeout: i64) -> lb_read {
    // SAFETY: the pointer is good.
    got(|out| unsafe { lb_read_start(film, piece, 0, timeout, out) })
}

fn poll(read: lb_read) -> lb_status {
    let (mut data, mut len) = (null(), 0);
    // SAFETY: the pointers are good.
    let status = unsafe { lb_read_poll(read, 0, &mut data, &mut len) };
    assert_eq!(lb_release(data.cast()), LB_OK);
    status
}

fn read(player: lb_player) -> lb_status {
    let (mut byte, mut count) = (0, 0);
    // SAFETY: the pointers are good.
    unsafe { lb_player_read(player, &mut byte, 1, 0, &mut count) }
}

fn play(film: lb_storage) -> lb_player {
    // SAFETY: the pointer is good.
    got(|out| unsafe { lb_player_open(film, null(), out) })
}

/// A call that gives each status; `None` where no call does.
#[expect(clippy::too_many_lines, reason = "one line for each")]
fn provoke(status: lb_status) -> Option<lb_status> {
    let cache = cache(1 << 20);
    let film = film(cache);
    Some(match status {
        LB_OK => insert(film, 0, &[1; 100]),
        LB_PENDING => poll(start(film, 0, -1)),
        LB_END => {
            let player = play(film);
            assert_eq!(lb_player_seek(player, 950), LB_OK);
            read(player)
        }
        // Told to a callback, or to another thread: see the tests of reads and of players.
        LB_CANCELLED | LB_DROPPED => return None,
        LB_INVALID_HANDLE => lb_storage_close(cache),
        LB_NULL_POINTER => {
            // SAFETY: null is refused.
            unsafe { lb_insert(film, 0, null(), 100) }
        }
        LB_INVALID_ARGUMENT => {
            let hashes = [0; 160];
            let list = |len| (hashes.as_ptr(), len);
            let ((sha1, sha1_len), (sha256, sha256_len)) = (list(160), list(160));
            add(
                cache,
                500,
                100,
                lb_storage_options { sha1, sha1_len, sha256, sha256_len, ..Default::default() },
            )
        }
        LB_NOT_PINNED => lb_release((&raw const cache).cast()),
        LB_PANICKED => panicking(|| lb_cache_close(cache)),
        LB_BUDGET_EXHAUSTED => {
            let film = film_with(cache, 3 << 19, 3 << 17, Default::default());
            let piece = vec![0; 3 << 17];
            let pins = [0, 1].map(|at| {
                assert_eq!(insert(film, at, &piece), LB_OK);
                let mut data = null();
                got(|len| {
                    // SAFETY: the pointers are good.
                    unsafe { lb_get(film, at, 0, &mut data, len) }
                });
                data
            });
            let status = insert(film, 2, &piece);
            assert!(pins.into_iter().all(|pin| lb_release(pin.cast()) == LB_OK));
            status
        }
        LB_UNKNOWN_STORAGE => {
            assert_eq!(lb_storage_remove(film), LB_OK);
            insert(film, 0, &[1; 100])
        }
        LB_MISSING => get(film, 0, 0),
        LB_PIECE_OUT_OF_RANGE => get(film, 10, 0),
        LB_BLOCK_OUT_OF_RANGE => write(film, 9, 40, &[0; 11]),
        LB_WRONG_LENGTH => insert(film, 9, &[0; 100]),
        LB_VERIFY_FAILED => {
            let hashes = [0; 20];
            let options = lb_storage_options {
                sha1: hashes.as_ptr(),
                sha1_len: hashes.len(),
                ..Default::default()
            };
            insert(film_with(cache, 100, 100, options), 0, &[1; 100])
        }
        LB_NOT_OPEN => lb_commit(film, 0),
        LB_INCOMPLETE => {
            assert_eq!(write(film, 0, 0, &[1; 99]), LB_OK);
            lb_commit(film, 0)
        }
        LB_TIMED_OUT => poll(start(film, 0, 0)),
        LB_ABORTED => {
            // SAFETY: the result is not wanted.
            assert_eq!(unsafe { lb_cache_abort(cache, 0, null_mut()) }, LB_OK);
            insert(film, 0, &[1; 100])
        }
        LB_REMOVED => {
            let read = start(film, 0, -1);
            assert_eq!(lb_storage_remove(film), LB_OK);
            poll(read)
        }
        LB_FETCH_FAILED => {
            let read = start(film, 0, -1);
            // SAFETY: the pointers are good, or null where that is fine.
            let fetch = got(|out| unsafe { lb_wanted_next(film, 0, out, null_mut(), null_mut()) });
            // SAFETY: a text with a zero at its end.
            assert_eq!(unsafe { lb_fetch_fail(fetch, c"origin said 503".as_ptr()) }, LB_OK);
            let status = poll(read);
            assert_eq!(words(), "fetching piece 0 failed: origin said 503");
            status
        }
        LB_ZERO_LENGTH => add(cache, 0, 100, Default::default()),
        LB_ZERO_PIECE_LENGTH => add(cache, 100, 0, Default::default()),
        LB_TOO_MANY_PIECES => add(cache, 1 << 25, 1, Default::default()),
        LB_PIECE_TOO_LARGE => add(cache, 1 << 20, 1 << 20, Default::default()),
        // SAFETY: the pointers are good.
        LB_BUDGET_TOO_LARGE => lb_cache_set_budget(cache, u64::MAX),
        LB_BUDGET_TOO_SMALL => lb_cache_set_budget(cache, 1),
        // SAFETY: the result is not wanted.
        LB_NOT_SEGMENTED => unsafe { lb_storage_append(film, 10, null_mut()) },
        LB_TOO_FRAGMENTED => {
            let film = film_with(cache, 1000, 1000, Default::default());
            let scattered: Vec<_> = (0..400).map(|at| write(film, 0, at * 2, &[0])).collect();
            *scattered.last()?
        }
        LB_ASSEMBLIES_FULL => {
            let options = lb_storage_options { keep_assemblies: true, ..Default::default() };
            let film = film_with(cache, 3 << 18, 1 << 18, options);
            assert_eq!(write(film, 0, 0, &[0]), LB_OK);
            write(film, 1, 0, &[0])
        }
        LB_SHARE_EXHAUSTED => {
            let film = film_with(
                cache,
                1000,
                500,
                lb_storage_options { share: 100, ..Default::default() },
            );
            insert(film, 0, &[0; 500])
        }
        LB_OFFSET_OUT_OF_RANGE => {
            let live = live_film(cache);
            // SAFETY: the results are not wanted.
            let append = || unsafe { lb_storage_append(live, 10, null_mut()) };
            assert_eq!((append(), append()), (LB_OK, LB_OK));
            assert_eq!(lb_storage_drop_before(live, 1), LB_OK);
            read(play(live))
        }
        LB_HASH_LIST_LENGTH => {
            let hashes = [0; 21];
            add(
                cache,
                1,
                1,
                lb_storage_options { sha1: hashes.as_ptr(), sha1_len: 21, ..Default::default() },
            )
        }
        // Of what the library of this version does not have.
        LB_OTHER => return None,
        // Of faults of the machine, and of layouts that this interface does not make.
        LB_OUT_OF_MEMORY | LB_NOT_FIXED => return None,
    })
}

#[test]
fn every_status_is_given_by_some_call() {
    for (status, name) in all() {
        let given = provoke(status);
        assert!(given.is_none_or(|given| given == status), "{name}: {given:?}");
    }
}

#[test]
fn statuses_have_numbers_and_names_of_their_own() {
    let numbers: HashSet<_> = all().map(|(status, _)| status as i32).collect();
    assert_eq!(numbers.len(), all().count());
    for (status, name) in all() {
        assert_eq!(name, format!("{status:?}"));
        // SAFETY: names end with a zero.
        let said = unsafe { CStr::from_ptr(lb_status_name(status as i32)) };
        assert_eq!(said.to_str(), Ok(name));
    }
    for unknown in [-1, 4, i32::MIN, i32::MAX] {
        // SAFETY: as above.
        let said = unsafe { CStr::from_ptr(lb_status_name(unknown)) };
        assert_eq!(said, c"unknown status");
    }
}

#[test]
fn errors_of_the_library_that_no_call_here_gives_have_their_status() {
    assert_eq!(lb_status::from(&Error::OutOfMemory { bytes: 1 }), LB_OUT_OF_MEMORY);
    assert_eq!(lb_status::from(&Error::NotFixed), LB_NOT_FIXED);
    assert_eq!(lb_status::from(&Error::Dropped), LB_DROPPED);
    let id = StorageId { index: 3, generation: 2 };
    assert_eq!(id_of(id), 2 << 32 | 3);
}

#[test]
fn the_last_failure_is_told_as_snprintf_would() {
    let film = film(cache(1 << 20));
    assert_eq!(get(film, 3, 0), LB_MISSING);
    let whole = "piece 3 is not in the cache";
    assert_eq!(words(), whole);
    // SAFETY: null asks for the length; the other buffer is as long as is said.
    unsafe {
        assert_eq!(lb_last_error(null_mut(), 0), whole.len());
        assert_eq!(lb_last_error(null_mut(), 10), whole.len());
        let mut short = [1; 8];
        assert_eq!(lb_last_error(short.as_mut_ptr(), 6), whole.len());
        assert_eq!(CStr::from_ptr(short.as_ptr()), c"piece");
        assert_eq!(short[6..], [1, 1], "beyond the capacity");
        assert_eq!(lb_last_error(short.as_mut_ptr(), 0), whole.len());
        assert_eq!(CStr::from_ptr(short.as_ptr()), c"piece");
    }
    assert_eq!(insert(film, 0, &[0; 100]), LB_OK);
    assert_eq!(poll(start(film, 1, -1)), LB_PENDING);
    assert_eq!(words(), whole, "neither a success nor a wait is a failure");
    let elsewhere = std::thread::spawn(words).join();
    assert_eq!(elsewhere.ok().as_deref(), Some(""), "another thread had none");
    // SAFETY: a static text.
    let version = unsafe { CStr::from_ptr(lb_version()) };
    assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
}
