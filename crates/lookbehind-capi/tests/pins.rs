//! Pins: counted by address, released on any thread, and good whatever becomes of their piece.

mod common;

use std::ptr::{null, null_mut};
use std::thread;

use common::*;

#[test]
fn pins_of_one_address_are_counted() {
    let _alone = alone();
    let cache = cache();
    let film = film(cache);
    ok(insert(film, 3));
    let pin = get(film, 3, 10).expect("it is there");
    assert_eq!(get(film, 3, 10), Ok(pin), "nothing is copied");
    ok(pin.retain());
    assert_eq!((pins(), pin.len), (1, PIECE as usize - 10));
    let other = get(film, 3, 11).expect("it is there");
    assert_eq!((pins(), other.at), (2, pin.at + 1), "another address of the same piece");
    for _ in 0..3 {
        assert!(pin.bytes().iter().all(|byte| *byte == 3));
        ok(pin.release());
    }
    assert_eq!((pin.release(), pin.retain()), (LB_NOT_PINNED, LB_NOT_PINNED));
    ok(other.release());
    assert_eq!(pins(), 0);
    ok(lb_cache_close(cache));
}

#[test]
fn pins_are_taken_and_released_by_many_threads_at_once() {
    let _alone = alone();
    let cache = cache();
    let film = film(cache);
    ok(insert(film, 0));
    thread::scope(|scope| {
        for start in 0..4 {
            scope.spawn(move || {
                for round in 0..500 {
                    let pin = get(film, 0, (start + round) % 3).expect("it is there");
                    ok(pin.retain());
                    ok(pin.release());
                    assert_eq!(pin.bytes()[0], 0);
                    // Another thread may release it as well.
                    if round % 10 == 0 {
                        scope.spawn(move || ok(pin.release()));
                    } else {
                        ok(pin.release());
                    }
                }
            });
        }
    });
    assert_eq!(pins(), 0);
    ok(lb_cache_close(cache));
}

#[test]
fn a_pin_outlives_its_piece_its_storage_and_its_cache() {
    let _alone = alone();
    let cache = cache();
    let film = film(cache);
    ok(insert(film, 7));
    let pin = get(film, 7, 0).expect("it is there");
    ok(lb_storage_remove(film));
    assert_eq!(get(film, 7, 0), Err(LB_UNKNOWN_STORAGE));
    ok(lb_storage_close(film));
    ok(lb_cache_close(cache));
    assert!(pin.bytes().iter().all(|byte| *byte == 7));
    thread::spawn(move || ok(pin.release())).join().expect("it does not panic");
    assert_eq!(pins(), 0);
}

#[test]
fn what_was_written_is_read_back_where_it_lies() {
    let _alone = alone();
    let cache = cache();
    let film = film(cache);
    let block = [6; 50];
    let back = |offset, len| {
        pinned(|data, out| {
            // SAFETY: the pointers are good.
            let status = unsafe { lb_read_back(film, 6, offset, len, data) };
            if status == LB_OK {
                // SAFETY: as above.
                unsafe { out.write(len as usize) }
            }
            status
        })
    };
    let write = |offset| {
        // SAFETY: the block is there, and null is fine.
        ok(unsafe { lb_write(film, 6, offset, block.as_ptr(), 50, null_mut(), null_mut()) });
    };
    assert_eq!(back(0, 10), Err(LB_MISSING));
    write(50);
    assert_eq!(back(49, 10), Err(LB_MISSING));
    assert_eq!(back(60, 41), Err(LB_BLOCK_OUT_OF_RANGE));
    assert_eq!(back(60, 0), Err(LB_INVALID_ARGUMENT));
    let arriving = back(60, 10).expect("it is written");
    write(0);
    ok(lb_commit(film, 6));
    let published = get(film, 6, 60).expect("it is published");
    assert_eq!(published.at, arriving.at, "one place from the first byte on");
    assert_eq!(back(60, 40), Ok(published));
    // SAFETY: null is fine.
    ok(unsafe { lb_evict(film, 0, PIECES, null_mut()) });
    write(0);
    let abandoned = back(0, 50).expect("it is written");
    // SAFETY: null is fine.
    ok(unsafe { lb_abandon(film, 6, null_mut()) });
    assert_eq!(back(0, 50), Err(LB_MISSING));
    ok(lb_cache_close(cache));
    for pin in [arriving, published, published, abandoned] {
        assert!(pin.bytes().iter().all(|byte| *byte == 6));
        ok(pin.release());
    }
    assert_eq!(pins(), 0);
}

#[test]
fn what_is_pinned_counts_against_the_budget() {
    let _alone = alone();
    let cache = cache();
    let film = film(cache);
    ok(insert(film, 1));
    let stats = || {
        // SAFETY: the pointer is good.
        got::<lb_cache_statistics>(|out| unsafe { lb_cache_stats(cache, out) })
    };
    assert_eq!(stats().pinned, 0);
    let pin = get(film, 1, 0).expect("it is there");
    // SAFETY: null is fine.
    ok(unsafe { lb_evict(film, 0, PIECES, null_mut()) });
    assert!(stats().held >= u64::from(PIECE) && stats().pinned == stats().held);
    ok(pin.release());
    assert_eq!((stats().held, stats().pinned), (0, 0));
    ok(lb_cache_close(cache));
}

#[test]
fn what_is_no_pin_is_refused() {
    let _alone = alone();
    ok(lb_release(null()));
    assert_eq!(lb_retain(null()), LB_NOT_PINNED);
    let somewhere = 5;
    assert_eq!(lb_release((&raw const somewhere).cast()), LB_NOT_PINNED);
    let cache = cache();
    let film = film(cache);
    ok(insert(film, 2));
    let pin = get(film, 2, 50).expect("it is there");
    let before = Pinned { at: pin.at - 1, ..pin };
    assert_eq!(before.release(), LB_NOT_PINNED, "within the piece, but no address that was given");
    assert_eq!(get(film, 2, PIECE), Err(LB_BLOCK_OUT_OF_RANGE), "no bytes are no pin");
    ok(pin.release());
    assert_eq!(pins(), 0);
    ok(lb_cache_close(cache));
}
