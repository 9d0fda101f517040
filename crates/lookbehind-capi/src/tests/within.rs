//! Callbacks may call any function that does not wait, on the very things that they are called about.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::refused::{Function, functions, live_in};
use super::{cache, got};
use crate::cache::*;
use crate::ingest::*;
use crate::pin::*;
use crate::read::*;
use crate::status::lb_status::{self, *};
use crate::storage::*;
use crate::wanted::*;

/// What a callback calls, once.
struct Within {
    function: Function,
    handle: AtomicU64,
    called: AtomicBool,
    ended: AtomicBool,
    status: AtomicUsize,
}

impl Within {
    fn context(&'static self) -> *mut c_void {
        (&raw const *self).cast_mut().cast()
    }

    /// The handle that the function is called with: on the cache, or the film, or something of it.
    fn on(&self, cache: lb_cache, film: lb_storage) {
        let handle = self.function.kind.map_or(0, |kind| live_in(kind, cache, film));
        self.handle.store(handle, Ordering::Release);
    }
}

unsafe fn call(context: *mut c_void) {
    // SAFETY: it is leaked.
    let within = unsafe { &*context.cast::<Within>() };
    if !within.called.swap(true, Ordering::AcqRel) {
        let status = (within.function.call)(within.handle.load(Ordering::Acquire));
        within.status.store(status as usize, Ordering::Release);
        within.ended.store(true, Ordering::Release);
    }
}

unsafe extern "C" fn evicted(context: *mut c_void, _: *const lb_eviction) {
    // SAFETY: a context of ours.
    unsafe { call(context) }
}

unsafe extern "C" fn verify(context: *mut c_void, _: u32, _: *const u8, _: usize) -> bool {
    // SAFETY: as above.
    unsafe { call(context) }
    true
}

unsafe extern "C" fn told(context: *mut c_void, _: lb_status, data: *const u8, _: usize) {
    // SAFETY: as above.
    unsafe { call(context) }
    lb_release(data.cast());
}

unsafe extern "C" fn dropped(context: *mut c_void) {
    // SAFETY: as above.
    unsafe { call(context) }
}

fn watched(within: &'static Within) -> lb_cache {
    let (evicted, context) = (Some(evicted as _), within.context());
    let options = lb_cache_options { budget: 1 << 20, evicted, context, ..Default::default() };
    // SAFETY: the pointers are good.
    got(|out| unsafe { lb_cache_new(&options, out) })
}

fn film_of(cache: lb_cache, options: &lb_storage_options) -> lb_storage {
    // SAFETY: the pointers are good.
    got(|out| unsafe { lb_storage_add(cache, 1000, 100, options, out) })
}

fn insert(film: lb_storage, piece: u32) {
    // SAFETY: the bytes are there.
    unsafe { lb_insert(film, piece, [0; 100].as_ptr(), 100) };
}

fn write(film: lb_storage, piece: u32, offset: u32) {
    // SAFETY: the bytes are there, and null is fine.
    unsafe { lb_write(film, piece, offset, [0; 50].as_ptr(), 50, null_mut(), null_mut()) };
}

fn read(within: &'static Within, timeout: i64) -> (lb_cache, lb_storage, lb_read) {
    let cache = cache(1 << 20);
    let film = film_of(cache, &Default::default());
    within.on(cache, film);
    let context = within.context();
    // SAFETY: the context is leaked, and the pointer good.
    let read = got(|out| unsafe { lb_read_async(film, 2, 0, timeout, Some(told), context, out) });
    (cache, film, read)
}

type Scene = fn(&'static Within);

/// What has callbacks called.
const SCENES: [(&str, Scene); 15] = [
    ("an eviction that was asked for", |within| {
        let cache = watched(within);
        let film = film_of(cache, &Default::default());
        insert(film, 0);
        within.on(cache, film);
        // SAFETY: null is fine.
        unsafe { lb_evict(film, 0, 10, null_mut()) };
    }),
    ("an eviction for want of room", |within| {
        let cache = watched(within);
        let film = film_of(cache, &lb_storage_options { share: 900, ..Default::default() });
        within.on(cache, film);
        (0..10).for_each(|piece| insert(film, piece));
    }),
    ("an eviction under a lowered budget", |within| {
        let cache = watched(within);
        within.on(cache, film_of(cache, &Default::default()));
        let large = vec![0; 1 << 16];
        // SAFETY: the pointers are good.
        unsafe {
            let other = got(|out| lb_storage_add(cache, 1 << 19, 1 << 16, null(), out));
            for piece in 0..8 {
                lb_insert(other, piece, large.as_ptr(), large.len());
            }
        }
        assert_eq!(lb_cache_set_budget(cache, 1 << 19), LB_OK);
        lb_cache_shrink(cache, 0);
    }),
    ("the removal of a film", |within| {
        let cache = watched(within);
        let film = film_of(cache, &Default::default());
        insert(film, 0);
        within.on(cache, film);
        lb_storage_remove(film);
    }),
    ("a window that moves on", |within| {
        let cache = watched(within);
        let options = lb_storage_options { window: 2, ..Default::default() };
        // SAFETY: the pointers are good, and null is fine.
        unsafe {
            let film = got(|out| lb_storage_add_live(cache, &options, out));
            assert_eq!(lb_storage_append(film, 100, null_mut()), LB_OK);
            assert_eq!(lb_storage_append(film, 100, null_mut()), LB_OK);
            insert(film, 0);
            within.on(cache, film);
            lb_storage_append(film, 100, null_mut());
        }
    }),
    ("the verification of a whole piece", |within| {
        let cache = cache(1 << 20);
        let (verify, context) = (Some(verify as _), within.context());
        let film = film_of(cache, &lb_storage_options { verify, context, ..Default::default() });
        within.on(cache, film);
        insert(film, 0);
    }),
    ("the verification of blocks", |within| {
        let cache = cache(1 << 20);
        let (verify, context) = (Some(verify as _), within.context());
        let film = film_of(cache, &lb_storage_options { verify, context, ..Default::default() });
        within.on(cache, film);
        write(film, 0, 0);
        write(film, 0, 50);
    }),
    ("a read that ends at once", |within| {
        let cache = cache(1 << 20);
        let film = film_of(cache, &Default::default());
        insert(film, 2);
        within.on(cache, film);
        let context = within.context();
        // SAFETY: the context is leaked, and null is fine.
        unsafe { lb_read_async(film, 2, 0, -1, Some(told), context, null_mut()) };
    }),
    ("a read that ends by its piece", |within| insert(read(within, -1).1, 2)),
    ("a read that is cancelled", |within| {
        lb_read_cancel(read(within, -1).2);
    }),
    ("a read that ends by its deadline", |within| {
        read(within, 1);
    }),
    ("a read that ends by an abort", |within| {
        // SAFETY: null is fine.
        unsafe { lb_cache_abort(read(within, -1).0, 0, null_mut()) };
    }),
    ("a read whose piece cannot be had", |within| {
        let film = read(within, -1).1;
        while !within.called.load(Ordering::Acquire) {
            // SAFETY: null is fine.
            unsafe {
                let fetch = got(|out| lb_wanted_next(film, 0, out, null_mut(), null_mut()));
                lb_fetch_fail(fetch, null());
            }
        }
    }),
    ("the end of a film", |within| {
        let cache = cache(1 << 20);
        within.on(cache, film_of(cache, &Default::default()));
        let (verify, context) = (Some(verify as _), within.context());
        let drop_context = Some(dropped as _);
        let film = film_of(
            cache,
            &lb_storage_options { verify, context, drop_context, ..Default::default() },
        );
        lb_storage_remove(film);
        lb_storage_close(film);
    }),
    ("the end of a cache", |within| {
        let other = cache(1 << 20);
        within.on(other, film_of(other, &Default::default()));
        let options = lb_cache_options {
            budget: 1 << 20,
            evicted: Some(evicted),
            context: within.context(),
            drop_context: Some(dropped),
            ..Default::default()
        };
        // SAFETY: the pointers are good.
        lb_cache_close(got(|out| unsafe { lb_cache_new(&options, out) }));
    }),
];

#[test]
fn every_function_may_be_called_within_every_callback() {
    for (scene, play) in SCENES {
        for function in functions() {
            let name = function.name;
            let within: &'static Within = Box::leak(Box::new(Within {
                function,
                handle: AtomicU64::new(0),
                called: AtomicBool::new(false),
                ended: AtomicBool::new(false),
                status: AtomicUsize::new(0),
            }));
            let (done, ended) = mpsc::channel();
            thread::spawn(move || {
                play(within);
                while !within.ended.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                done.send(())
            });
            let ended = ended.recv_timeout(Duration::from_secs(30));
            assert!(ended.is_ok(), "{name} within {scene}: {ended:?}");
            let status = within.status.load(Ordering::Acquire);
            assert_ne!(status, LB_PANICKED as usize, "{name} within {scene}");
        }
    }
}
