//! How long things live: contexts, caches, the global one.

mod common;

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use common::*;
use lookbehind::{Cache, Layout};

/// What callbacks do with their context.
#[derive(Default)]
struct Uses {
    dropped: AtomicUsize,
    evicted: AtomicUsize,
    verified: AtomicUsize,
}

impl Uses {
    fn context(&self) -> *mut c_void {
        (&raw const *self).cast_mut().cast()
    }

    fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Acquire)
    }
}

unsafe fn uses<'a>(context: *mut c_void) -> &'a Uses {
    // SAFETY: the tests keep it longer than their caches.
    unsafe { &*context.cast() }
}

unsafe extern "C" fn dropped(context: *mut c_void) {
    // SAFETY: a context of ours.
    unsafe { uses(context) }.dropped.fetch_add(1, Ordering::AcqRel);
}

unsafe extern "C" fn evicted(context: *mut c_void, eviction: *const lb_eviction) {
    // SAFETY: a context of ours, and good until the call returns.
    let (uses, eviction) = unsafe { (uses(context), *eviction) };
    assert!((eviction.piece, eviction.storage_id) == (1, 0) && eviction.bytes > 100);
    assert_eq!(eviction.reason, lb_reason::LB_REASON_REQUESTED);
    assert_eq!(uses.dropped(), 0);
    uses.evicted.fetch_add(1, Ordering::AcqRel);
}

/// The bytes are those of the piece if they say so.
unsafe extern "C" fn verify(context: *mut c_void, piece: u32, data: *const u8, len: usize) -> bool {
    // SAFETY: a context of ours, and a piece.
    let (uses, bytes) = unsafe { (uses(context), std::slice::from_raw_parts(data, len)) };
    assert_eq!(uses.dropped(), 0);
    uses.verified.fetch_add(1, Ordering::AcqRel);
    bytes.iter().all(|byte| u32::from(*byte) == piece)
}

fn options(budget: u64, uses: &Uses) -> lb_cache_options {
    lb_cache_options {
        budget,
        evicted: Some(evicted),
        context: uses.context(),
        drop_context: Some(dropped),
        ..Default::default()
    }
}

fn verified(uses: &Uses) -> lb_storage_options {
    let (context, drop_context) = (uses.context(), Some(dropped as _));
    lb_storage_options { verify: Some(verify), context, drop_context, ..Default::default() }
}

#[test]
fn the_context_of_evictions_goes_with_the_cache() {
    let uses = Uses::default();
    // SAFETY: the pointers are good.
    let cache = got(|out| unsafe { lb_cache_new(&options(1 << 20, &uses), out) });
    let film = film(cache);
    ok(insert(film, 1));
    ok(lb_cache_close(cache));
    // SAFETY: null is fine.
    ok(unsafe { lb_evict(film, 0, 5, null_mut()) });
    assert_eq!((uses.evicted.load(Ordering::Acquire), uses.dropped()), (1, 0));
    let player = play(film);
    ok(lb_storage_close(film));
    assert_eq!(uses.dropped(), 0, "the player keeps it");
    ok(lb_player_close(player));
    assert_eq!(uses.dropped(), 1);
}

#[test]
fn the_context_of_a_verifier_goes_with_the_film() {
    let (uses, cache) = (Uses::default(), cache());
    // SAFETY: the pointers are good.
    let film = got(|out| unsafe { lb_storage_add(cache, 1000, 100, &verified(&uses), out) });
    ok(insert(film, 3));
    let wrong = [4; 100];
    // SAFETY: the bytes are there, and null is fine.
    unsafe {
        assert_eq!(lb_insert(film, 5, wrong.as_ptr(), 100), LB_VERIFY_FAILED);
        // The last block has the piece judged and published.
        let mut progress = lb_progress::LB_PROGRESS_PARTIAL;
        let mut written = 0;
        ok(lb_write(film, 4, 0, wrong.as_ptr(), 60, &mut progress, &mut written));
        assert_eq!((progress, written), (lb_progress::LB_PROGRESS_PARTIAL, 60));
        ok(lb_write(film, 4, 60, wrong.as_ptr(), 40, &mut progress, &mut written));
        assert_eq!((progress, written), (lb_progress::LB_PROGRESS_PUBLISHED, 100));
    }
    assert_eq!(uses.verified.load(Ordering::Acquire), 3);
    ok(lb_storage_remove(film));
    assert_eq!(uses.dropped(), 0, "the handle keeps it");
    ok(lb_storage_close(film));
    assert_eq!(uses.dropped(), 1);
    ok(lb_cache_close(cache));
}

#[test]
fn a_call_that_fails_has_dropped_the_context() {
    let uses = Uses::default();
    // SAFETY: null is refused, and the other pointers are good.
    unsafe {
        assert_eq!(lb_cache_new(&options(1, &uses), &mut 0), LB_BUDGET_TOO_SMALL);
        assert_eq!(uses.dropped(), 1);
        assert_eq!(lb_cache_new(&options(0, &uses), null_mut()), LB_NULL_POINTER);
        assert_eq!(uses.dropped(), 2);
        let storage = |cache, len, options: &_| lb_storage_add(cache, len, 1, options, &mut 0);
        assert_eq!(storage(0, 1, &verified(&uses)), LB_INVALID_HANDLE);
        assert_eq!(uses.dropped(), 3);
        assert_eq!(storage(cache(), 0, &verified(&uses)), LB_ZERO_LENGTH);
        assert_eq!(uses.dropped(), 4);
        let two = lb_storage_options { sha1: [0; 20].as_ptr(), sha1_len: 20, ..verified(&uses) };
        assert_eq!(storage(cache(), 1, &two), LB_INVALID_ARGUMENT);
        assert_eq!(uses.dropped(), 5);
        // A context without anything that is given it is not kept.
        let idle = lb_storage_options { verify: None, ..verified(&uses) };
        assert_eq!(storage(cache(), 1, &idle), LB_OK);
        assert_eq!(uses.dropped(), 6);
    }
}

#[test]
fn handles_of_one_film_are_several() {
    let cache = cache();
    let film = film(cache);
    // SAFETY: the pointers are good.
    unsafe {
        let id = got(|out| lb_storage_id(film, out));
        let again = got(|out| lb_storage_find(cache, id, out));
        assert_ne!(film, again);
        ok(insert(again, 0));
        ok(lb_storage_close(film));
        assert!(got(|out| lb_contains(again, 0, out)));
        ok(lb_cache_close(cache));
        let cache = got(|out| lb_storage_cache(again, out));
        ok(lb_storage_remove(again));
        assert_eq!(lb_storage_find(cache, id, &mut 0), LB_UNKNOWN_STORAGE);
        assert_eq!(lb_storage_find(cache, u64::MAX, &mut 0), LB_UNKNOWN_STORAGE);
    }
}

/// The only test that touches it.
#[test]
fn the_global_cache_counts_as_a_handle() {
    let global = |cache: &mut lb_cache| {
        // SAFETY: the pointer is good.
        unsafe { lb_global_get(cache) }
    };
    let mut found = 0;
    assert_eq!(global(&mut found), LB_MISSING);
    let uses = Uses::default();
    // SAFETY: the pointers are good.
    let cache = got(|out| unsafe { lb_cache_new(&options(1 << 20, &uses), out) });
    ok(lb_global_set(cache));
    ok(lb_cache_close(cache));
    ok(global(&mut found));
    assert!(found != cache, "a handle of one's own");
    let film = film(found);
    let read = read_start(film, 0, -1);
    ok(lb_cache_close(found));
    ok(lb_storage_close(film));
    assert_eq!(poll(read, 0), Err(LB_PENDING), "the cache is there yet");
    ok(lb_global_clear());
    assert_eq!(poll(read, 0), Err(LB_ABORTED));
    assert_eq!((global(&mut found), uses.dropped()), (LB_MISSING, 1));
    ok(lb_global_clear());
}

#[test]
fn a_rust_program_and_c_code_share_a_cache() {
    let rust = Cache::builder().budget(1 << 20).build().expect("enough");
    let handle = lookbehind_capi::adopt(rust.clone());
    let film = film(handle);
    ok(insert(film, 2));
    let storages = rust.storages();
    assert_eq!(storages[0].get(2).expect("C code has published it")[..], [2; 100]);
    let again = lookbehind_capi::cache(handle).expect("it is open");
    assert_eq!(again.storages().len(), 1);
    ok(lb_storage_close(film));
    ok(lb_cache_close(handle));
    assert!(lookbehind_capi::cache(handle).is_none());
    // It is not aborted, for it is not C code's alone.
    rust.add_storage(Layout::fixed(100, 100).expect("sensible")).expect("it goes on");
}

/// What C++ code keeps for each thread outlives what the library keeps for it, if it was there before
/// the thread's first call.
#[test]
fn a_thread_that_ends_can_still_close_what_it_has() {
    #[derive(Default)]
    struct Holder(Cell<Option<(lb_storage, mpsc::Sender<lb_status>)>>);
    impl Drop for Holder {
        fn drop(&mut self) {
            let (film, said) = self.0.take().expect("the test has put it in");
            let pin = get(film, 0, 0).expect("it is there");
            let all = [pin.release(), insert(film, 1), lb_storage_close(film)];
            let again = [get(film, 0, 0).expect_err("it is closed"), lb_storage_close(film)];
            all.into_iter().chain(again).for_each(|status| said.send(status).expect("it waits"));
        }
    }
    thread_local! {
        static HOLDER: Holder = Holder::default();
    }
    let (said, statuses) = mpsc::channel();
    thread::spawn(move || {
        HOLDER.with(|holder| {
            let film = film(cache());
            ok(insert(film, 0));
            holder.0.set(Some((film, said)));
        });
    })
    .join()
    .expect("it does not panic");
    let wrong = LB_INVALID_HANDLE;
    assert!(statuses.iter().eq([LB_OK, LB_OK, LB_OK, wrong, wrong]));
}
