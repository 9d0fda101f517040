//! Reads: each ends once, by whatever comes first, and leaves nothing behind. One test at a time, for
//! most pin something.

mod common;

use std::ffi::c_void;
use std::future::Future;
use std::pin::pin;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;

use common::*;

#[test]
fn a_callback_is_called_before_the_call_returns_if_the_piece_is_there() {
    let _alone = alone();
    let film = film(cache());
    ok(insert(film, 4));
    let told = Told::default();
    let read = read_async(film, 4, 0, &told);
    assert_eq!((told.times(), told.status()), (1, Some(LB_OK)));
    assert_eq!(lb_read_cancel(read), LB_INVALID_HANDLE);
    assert_eq!(told.times(), 1);
}

#[test]
fn a_callback_is_called_by_whoever_publishes() {
    let _alone = alone();
    let film = film(cache());
    let told = Told::default();
    read_async(film, 4, -1, &told);
    assert_eq!(told.times(), 0);
    ok(insert(film, 4));
    assert_eq!((told.times(), told.status()), (1, Some(LB_OK)));
    assert_eq!(told.bytes.lock().expect("nobody panicked").as_slice(), [4; PIECE as usize]);
}

#[test]
fn a_read_ends_by_its_deadline_without_anyone_s_help() {
    let _alone = alone();
    let film = film(cache());
    let told = Told::default();
    read_async(film, 0, 1, &told);
    until("the timer's call", || told.times() > 0);
    assert_eq!(told.status(), Some(LB_TIMED_OUT));
    assert_eq!(poll(read_start(film, 0, 1), LONG), Err(LB_TIMED_OUT));
    // SAFETY: the pointers are good.
    let waited = pinned(|data, len| unsafe { lb_read_wait(film, 0, 0, 1, data, len) });
    assert_eq!(waited, Err(LB_TIMED_OUT));
    assert_eq!(waits(film), 0);
}

#[test]
fn a_read_ends_with_its_segment() {
    let cache = cache();
    // SAFETY: null is fine, and the pointers are good.
    let film = unsafe {
        let film = got(|out| lb_storage_add_live(cache, null(), out));
        ok(lb_storage_append(film, PIECE, null_mut()));
        film
    };
    let told = Told::default();
    read_async(film, 0, -1, &told);
    ok(lb_storage_drop_before(film, 1));
    assert_eq!((told.times(), told.status()), (1, Some(LB_PIECE_OUT_OF_RANGE)));
}

#[test]
fn arguments_that_are_wrong_call_nobody() {
    let _alone = alone();
    let film = film(cache());
    let told = Told::default();
    let read = |piece, offset| {
        let (context, mut handle) = (told.context(), 7);
        // SAFETY: the pointers are good.
        let status = unsafe {
            lb_read_async(film, piece, offset, 0, Some(common::told), context, &mut handle)
        };
        assert_eq!(handle, 7, "no handle is written");
        status
    };
    assert_eq!(read(PIECES, 0), LB_PIECE_OUT_OF_RANGE);
    assert_eq!(read(0, PIECE), LB_BLOCK_OUT_OF_RANGE);
    assert_eq!(told.times(), 0);
}

#[test]
fn a_read_that_is_cancelled_is_told_so_and_wants_nothing_any_more() {
    let _alone = alone();
    let film = film(cache());
    let told = Told::default();
    let read = read_async(film, 0, -1, &told);
    assert_eq!(waits(film), 1);
    // SAFETY: the pointers are good.
    let polled = pinned(|data, len| unsafe { lb_read_poll(read, 0, data, len) });
    assert_eq!(polled, Err(LB_INVALID_ARGUMENT), "it has a callback");
    ok(lb_read_cancel(read));
    assert_eq!((told.times(), told.status(), waits(film)), (1, Some(LB_CANCELLED), 0));
    assert_eq!(lb_read_cancel(read), LB_INVALID_HANDLE);
    ok(insert(film, 0));
    assert_eq!(told.times(), 1);
}

#[test]
fn a_polled_read_keeps_its_piece_until_it_is_polled_or_cancelled() {
    let _alone = alone();
    let film = film(cache());
    let (polled, cancelled) = (read_start(film, 5, -1), read_start(film, 5, -1));
    assert_eq!(poll(polled, 0), Err(LB_PENDING));
    ok(insert(film, 5));
    // SAFETY: null is fine.
    ok(unsafe { lb_evict(film, 0, PIECES, null_mut()) });
    let pin = poll(polled, 0).expect("no eviction comes in between");
    assert!(pin.bytes().iter().all(|byte| *byte == 5));
    ok(pin.release());
    assert_eq!(poll(polled, 0), Err(LB_INVALID_HANDLE));
    ok(lb_read_cancel(cancelled));
    assert_eq!(poll(cancelled, 0), Err(LB_INVALID_HANDLE));
    assert_eq!(pins(), 0);
}

#[test]
fn one_of_several_who_poll_gets_the_piece() {
    let _alone = alone();
    let film = film(cache());
    let read = read_start(film, 1, -1);
    let polls: Vec<_> = (0..4).map(|_| thread::spawn(move || poll(read, LONG))).collect();
    ok(insert(film, 1));
    let results = polls.into_iter().map(|thread| thread.join().expect("it does not panic"));
    let (got, missed): (Vec<_>, Vec<_>) = results.partition(|result| result.is_ok());
    assert_eq!((got.len(), missed), (1, vec![Err(LB_INVALID_HANDLE); 3]));
    ok(got[0].expect("partitioned so").release());
    assert_eq!(pins(), 0);
}

#[test]
fn who_polls_is_told_of_a_cancellation() {
    let film = film(cache());
    for _ in 0..50 {
        let read = read_start(film, 1, -1);
        let polled = thread::spawn(move || poll(read, LONG));
        thread::yield_now();
        ok(lb_read_cancel(read));
        let result = polled.join().expect("it does not panic");
        assert!(matches!(result, Err(LB_CANCELLED | LB_INVALID_HANDLE)), "{result:?}");
    }
}

#[test]
fn a_callback_has_the_words_and_its_thread_keeps_its_own() {
    let film = film(cache());
    assert_eq!(get(film, PIECES, 0), Err(LB_PIECE_OUT_OF_RANGE));
    let before = words();
    let (removed, cancelled) = (Told::default(), Told::default());
    read_async(film, 0, -1, &removed);
    ok(lb_read_cancel(read_async(film, 0, -1, &cancelled)));
    ok(lb_storage_remove(film));
    assert_eq!(*cancelled.words.lock().expect("nobody panicked"), "the read was cancelled");
    assert_eq!(*removed.words.lock().expect("nobody panicked"), "the storage was removed");
    assert_eq!(words(), before, "its own calls have not failed since");
}

/// Does something once, on the thread that makes a piece wanted: in the middle of a read's look.
struct Meanwhile(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Meanwhile {
    fn wake(self: Arc<Self>) {
        let act = self.0.lock().expect("nobody panicked").take();
        act.into_iter().for_each(|act| act());
    }
}

/// Reads piece 0, and does something in the middle of the first look, after the read has registered.
fn read_and_meanwhile(
    timeout: i64,
    act: impl FnOnce(lb_storage, lb_read) + Send + 'static,
) -> Told {
    let cache = cache();
    let film = film(cache);
    let read = Arc::new(AtomicU64::new(0));
    let (told, known) = (Told::default(), Arc::clone(&read));
    let act = move || act(film, known.load(Ordering::Acquire));
    let waker = Waker::from(Arc::new(Meanwhile(Mutex::new(Some(Box::new(act))))));
    let storage = lookbehind_capi::cache(cache).expect("it is open").storages().remove(0);
    let mut wanted = storage.wanted();
    assert!(pin!(wanted.next()).poll(&mut Context::from_waker(&waker)).is_pending());
    // SAFETY: the callback is called before this function ends, or the test fails.
    ok(unsafe {
        lb_read_async(film, 0, 0, timeout, Some(common::told), told.context(), read.as_ptr())
    });
    assert_eq!(told.times(), 1, "ended by what came in between");
    told
}

#[test]
fn a_wake_in_the_middle_of_a_look_is_not_lost() {
    let _alone = alone();
    let told = read_and_meanwhile(-1, |film, _| ok(insert(film, 0)));
    assert_eq!(told.status(), Some(LB_OK));
}

#[test]
fn a_read_that_is_cancelled_in_the_middle_of_its_last_look_is_told_so_once() {
    let told = read_and_meanwhile(0, |_, read| ok(lb_read_cancel(read)));
    assert_eq!(told.status(), Some(LB_CANCELLED), "and not of the deadline as well");
}

#[test]
fn a_callback_may_call_functions_that_do_not_wait() {
    let _alone = alone();
    struct Chain {
        film: lb_storage,
        read: AtomicU64,
        told: Told,
    }
    /// Publishes the next piece, reads it, and tries to cancel the read that it ends.
    unsafe extern "C" fn next(context: *mut c_void, status: lb_status, data: *const u8, _: usize) {
        // SAFETY: the test keeps it.
        let chain = unsafe { &*context.cast::<Chain>() };
        ok(status);
        ok(lb_release(data.cast()));
        assert_eq!(lb_read_cancel(chain.read.load(Ordering::Acquire)), LB_INVALID_HANDLE);
        read_async(chain.film, 1, -1, &chain.told);
        ok(insert(chain.film, 1));
    }
    let film = film(cache());
    let chain = Chain { film, read: AtomicU64::new(0), told: Told::default() };
    let context = (&raw const chain).cast_mut().cast();
    // SAFETY: the pointers are good.
    let status = unsafe { lb_read_async(film, 0, 0, -1, Some(next), context, chain.read.as_ptr()) };
    ok(status);
    ok(insert(film, 0));
    assert_eq!((chain.told.times(), chain.told.status()), (1, Some(LB_OK)));
}

#[test]
fn the_last_handle_ends_what_waits() {
    let _alone = alone();
    let (cache, told) = (cache(), Told::default());
    let film = film(cache);
    let other = read_start(film, 1, -1);
    read_async(film, 0, -1, &told);
    // Neither keeps the cache: threads that wait, and fetches.
    // SAFETY: the pointers are good.
    let wait = move || pinned(|data, len| unsafe { lb_read_wait(film, 2, 0, -1, data, len) });
    let waiting = thread::spawn(wait);
    until("the wait of the other thread", || waits(film) == 3);
    let fetches = [0, 1, 2].map(|_| wanted(film, 0).expect("three pieces are wanted").0);
    let fetching = thread::spawn(move || wanted(film, -1));
    ok(lb_cache_close(cache));
    assert_eq!(told.times(), 0, "the storage has a handle yet");
    ok(lb_storage_close(film));
    until("the end of the read", || told.times() > 0);
    assert_eq!((told.times(), told.status()), (1, Some(LB_ABORTED)));
    assert_eq!(poll(other, LONG), Err(LB_ABORTED));
    assert_eq!(waiting.join().expect("it does not panic"), Err(LB_ABORTED));
    let ended = fetching.join().expect("it does not panic");
    assert!(matches!(ended, Err(LB_END | LB_INVALID_HANDLE)), "{ended:?}");
    for fetch in fetches {
        ok(lb_fetch_close(fetch));
    }
}

/// What may end a read, each on a thread of its own.
fn race(round: usize, end: [fn(lb_cache, lb_storage, lb_read); 2]) {
    let cache = cache();
    let film = film(cache);
    let told = Arc::new(Told::default());
    // Now and then the deadline takes part.
    let timeout = if round.is_multiple_of(3) { (round % 2) as i64 } else { -1 };
    let early = round.is_multiple_of(2);
    let barrier = Arc::new(Barrier::new(3));
    let start = || read_async(film, 0, timeout, &told);
    // Either the read is there before the others come, or it comes along with them.
    let read = if early { start() } else { 0 };
    let threads = end.map(|end| {
        let barrier = Arc::clone(&barrier);
        thread::spawn(move || {
            barrier.wait();
            end(cache, film, read);
        })
    });
    barrier.wait();
    if !early {
        // The storage may have been removed or closed by now: then nobody is told.
        // SAFETY: the context is kept until the callback was called.
        let status = unsafe {
            lb_read_async(film, 0, 0, timeout, Some(common::told), told.context(), null_mut())
        };
        if status != LB_OK {
            assert_eq!(status, LB_INVALID_HANDLE);
            told.times.fetch_add(1, Ordering::AcqRel);
        }
    }
    for thread in threads {
        thread.join().expect("it does not panic");
    }
    // Nothing else may be left that would end it.
    lb_storage_close(film);
    lb_cache_close(cache);
    until("the callback", || told.times() > 0);
    assert_eq!(told.times(), 1);
}

#[test]
fn a_callback_is_called_once_whatever_ends_the_read_first() {
    let _alone = alone();
    let publish = |_, film, _| {
        insert(film, 0);
    };
    let cancel = |_, _, read| {
        lb_read_cancel(read);
    };
    let abort = |cache, _, _| {
        // SAFETY: null is fine.
        unsafe { lb_cache_abort(cache, 0, null_mut()) };
    };
    let remove = |_, film, _| {
        lb_storage_remove(film);
    };
    let close = |cache, film, _| {
        lb_cache_close(cache);
        lb_storage_close(film);
    };
    let fail = |_, film, _| {
        if let Ok((fetch, _)) = wanted(film, 0) {
            // SAFETY: null is fine.
            ok(unsafe { lb_fetch_fail(fetch, std::ptr::null()) });
        }
    };
    let ends: [fn(lb_cache, lb_storage, lb_read); 6] =
        [publish, cancel, abort, remove, close, fail];
    for round in 0..18 {
        for one in ends {
            ends.iter().for_each(|two| race(round, [one, *two]));
        }
    }
    assert_eq!(pins(), 0, "what a read ended with was handed over or let go");
}
