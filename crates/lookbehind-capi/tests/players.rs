//! Players from several threads, and what they want.

mod common;

use std::ptr::null;
use std::thread;

use common::*;

#[test]
fn a_player_reads_what_is_there_and_waits_for_the_rest() {
    let film = film(cache());
    let player = play(film);
    assert_eq!(player_read(player, 0), Err(LB_PENDING));
    let (fetch, piece) = wanted(film, 0).expect("the player wants it");
    assert_eq!(piece, 0);
    ok(insert(film, 0));
    ok(lb_fetch_close(fetch));
    assert_eq!(player_read(player, 0), Ok(vec![0; PIECE as usize]));
    // SAFETY: the pointer is good.
    assert_eq!(got(|at| unsafe { lb_player_position(player, at) }), u64::from(PIECE));
    let reading = thread::spawn(move || player_read(player, LONG));
    ok(insert(film, 1));
    assert_eq!(reading.join().expect("it does not panic"), Ok(vec![1; PIECE as usize]));
    ok(lb_player_close(player));
}

#[test]
fn a_read_that_waits_follows_a_seek() {
    let film = film(cache());
    ok(insert(film, 8));
    let player = play(film);
    let reading = thread::spawn(move || player_read(player, LONG));
    until("the wait for piece 0", || waits(film) == 1);
    ok(lb_player_seek(player, 8 * u64::from(PIECE) + 60));
    assert_eq!(reading.join().expect("it does not panic"), Ok(vec![8; 40]));
}

#[test]
fn all_reads_that_wait_end_with_the_player() {
    let film = film(cache());
    let player = play(film);
    let copying = thread::spawn(move || player_read(player, LONG));
    // SAFETY: the pointers are good.
    let next = move || pinned(|data, len| unsafe { lb_player_next(player, LONG, data, len) });
    let pinning = thread::spawn(next);
    until("a wait for piece 0", || waits(film) == 1);
    ok(lb_player_close(player));
    for result in [copying.join().map(|read| read.err()), pinning.join().map(|pin| pin.err())] {
        let said = result.expect("it does not panic");
        // The second one may have come after all was over.
        assert!(matches!(said, Some(LB_DROPPED | LB_INVALID_HANDLE)), "{said:?}");
    }
    until("the end of the wait", || waits(film) == 0);
}

#[test]
fn all_reads_that_wait_hear_of_the_piece() {
    let film = film(cache());
    let player = play(film);
    let reads: Vec<_> = (0..3).map(|_| thread::spawn(move || player_read(player, LONG))).collect();
    until("a wait for piece 0", || waits(film) == 1);
    (0..3).for_each(|piece| ok(insert(film, piece)));
    let results = reads.into_iter().map(|read| read.join().expect("it does not panic"));
    let mut firsts: Vec<_> = results.map(|read| read.expect("three pieces are there")[0]).collect();
    firsts.sort_unstable();
    assert_eq!(firsts, [0, 1, 2], "each piece once");
}

/// The wait of a player goes with its place, whichever thread waits for it.
#[test]
fn a_read_that_waits_hears_of_the_piece_although_another_one_read_of_it() {
    let _alone = alone();
    let cache = cache();
    let options = lb_storage_options { readable_prefix: true, ..Default::default() };
    // SAFETY: the pointers are good.
    let film = got(|out| unsafe { lb_storage_add(cache, 100, PIECE, &options, out) });
    let player = play(film);
    // SAFETY: the pointers are good.
    let next = move || pinned(|data, len| unsafe { lb_player_next(player, LONG, data, len) });
    let pinning = thread::spawn(move || promptly(next));
    until("the wait for piece 0", || waits(film) == 1);
    write(film, 0, 0, 40);
    assert_eq!(player_read(player, 0), Ok(vec![0; 40]));
    write(film, 0, 40, 60);
    ok(lb_commit(film, 0));
    let pin = pinning.join().expect("it does not panic").expect("the rest is there");
    assert_eq!(pin.len, 60);
    ok(pin.release());
}

#[test]
fn a_limit_ends_a_read_that_waits() {
    let film = film(cache());
    let player = play(film);
    let reading = thread::spawn(move || player_read(player, LONG));
    until("the wait for piece 0", || waits(film) == 1);
    ok(lb_player_limit(player, 0));
    assert_eq!(reading.join().expect("it does not panic"), Err(LB_END));
    ok(insert(film, 0));
    ok(lb_player_limit(player, 30));
    assert_eq!(player_read(player, 0), Ok(vec![0; 30]));
    assert_eq!(player_read(player, 0), Err(LB_END));
}

#[test]
fn a_player_pins_the_rest_of_its_piece() {
    let _alone = alone();
    let film = film(cache());
    ok(insert(film, 2));
    let player = play(film);
    ok(lb_player_seek(player, 2 * u64::from(PIECE) + 10));
    // SAFETY: the pointers are good.
    let next = |timeout| pinned(|data, len| unsafe { lb_player_next(player, timeout, data, len) });
    let pin = next(0).expect("it is there");
    assert_eq!((pin.len, pin.bytes()[0]), (90, 2));
    assert_eq!(next(0), Err(LB_PENDING));
    ok(lb_player_seek(player, u64::MAX));
    assert_eq!(next(0), Err(LB_END));
    ok(lb_player_close(player));
    ok(pin.release());
    assert_eq!(pins(), 0);
}

#[test]
fn windows_in_bytes_win_over_windows_in_time() {
    let film = film(cache());
    let options = lb_player_options {
        ahead_bytes: 2 * u64::from(PIECE),
        ahead_ms: 60_000,
        ..Default::default()
    };
    // SAFETY: the pointers are good.
    let first = got(|out| unsafe { lb_player_open(film, &options, out) });
    let pieces = || std::iter::from_fn(|| wanted(film, 0).ok()).map(|(_, piece)| piece);
    assert_eq!(pieces().collect::<Vec<_>>(), [0, 1]);
    let options = lb_player_options { same_viewer_as: first, position: 500, ..options };
    // SAFETY: the pointers are good.
    let second = got(|out| unsafe { lb_player_open(film, &options, out) });
    assert!(pieces().eq([5]) || pieces().eq([6]), "one viewer's window for the two");
    let options = lb_player_options { same_viewer_as: film, ..options };
    // SAFETY: the pointers are good.
    let status = unsafe { lb_player_open(film, &options, &mut 0) };
    assert_eq!(status, LB_INVALID_HANDLE);
    ok(lb_player_close(second));
    ok(lb_player_close(first));
}

#[test]
fn a_live_film_is_read_to_its_end() {
    let cache = cache();
    // SAFETY: null is fine, and the pointer good.
    let film = got(|out| unsafe { lb_storage_add_live(cache, null(), out) });
    let player = play(film);
    let reading = thread::spawn(move || {
        std::iter::from_fn(|| match player_read(player, LONG) {
            Ok(bytes) => Some(bytes.len()),
            Err(status) => {
                assert_eq!(status, LB_END);
                None
            }
        })
        .sum::<usize>()
    });
    for piece in 0..3 {
        // SAFETY: the pointer is good.
        assert_eq!(got(|out| unsafe { lb_storage_append(film, PIECE, out) }), piece);
        ok(insert(film, piece));
    }
    ok(lb_storage_end(film));
    assert_eq!(reading.join().expect("it does not panic"), 3 * PIECE as usize);
}

#[test]
fn a_fetch_is_offered_once_and_again_when_it_is_closed() {
    let film = film(cache());
    let read = read_start(film, 6, -1);
    let (fetch, piece) = wanted(film, 0).expect("the read wants it");
    assert_eq!((piece, wanted(film, 1)), (6, Err(LB_PENDING)));
    // SAFETY: the pointer is good.
    let cancelled = |fetch| got(|out| unsafe { lb_fetch_cancelled(fetch, out) });
    assert!(!cancelled(fetch));
    let waiting = thread::spawn(move || wanted(film, LONG));
    ok(lb_fetch_close(fetch));
    let (fetch, piece) = waiting.join().expect("it does not panic").expect("offered again");
    assert_eq!((piece, cancelled(fetch)), (6, false));
    ok(lb_read_cancel(read));
    assert!(cancelled(fetch), "nobody needs it any more");
    ok(lb_fetch_close(fetch));
    assert_eq!(wanted(film, 0), Err(LB_PENDING));
    ok(lb_storage_remove(film));
    assert_eq!(wanted(film, -1), Err(LB_END));
}
