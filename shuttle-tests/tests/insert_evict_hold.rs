//! Two writers, an evictor and a reader on the same few pieces: every snapshot is a point in time,
//! every handle keeps its bytes, and all memory comes back.
#![cfg(shuttle)]

use lookbehind::{Reclaim, Storage};
use shuttle::thread;
use shuttle_tests::scene::{bytes, cache, check, film, join, settled, within};
use shuttle_tests::schemes;

const BUDGET: usize = 1 << 20;
const LEN: usize = 100;
const PIECES: u32 = 2;

fn insert_all<R: Reclaim>(film: &Storage<R>, stamp: u8) {
    for piece in 0..PIECES {
        film.insert(piece, &bytes(1, piece, stamp, LEN)).unwrap();
    }
}

fn insert_evict_hold<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, PIECES, LEN as u32);
    film.insert(0, &bytes(1, 0, 9, LEN)).unwrap();
    let writers = [1, 2].map(|stamp| {
        let film = film.clone();
        thread::spawn(move || insert_all(&film, stamp))
    });
    let evicting = film.clone();
    let evictor = thread::spawn(move || {
        let first = evicting.evict(0..1).unwrap();
        first + evicting.evict(0..PIECES).unwrap()
    });
    let reader = film.reader();
    let holding = film.clone();
    let reading = thread::spawn(move || {
        let mut last = 0;
        let mut kept = Vec::new();
        for _ in 0..2 {
            let snapshot = reader.snapshot();
            let version = snapshot.version();
            assert!(version >= last, "a reader went back in time");
            last = version;
            let found = [0, 1].map(|piece| snapshot.get(piece).map(|b| check(1, piece, b)));
            kept.extend(snapshot.held(0).map(|held| (held, found[0])));
            let again = [0, 1].map(|piece| snapshot.get(piece).map(|b| check(1, piece, b)));
            assert_eq!(found, again, "version {version} changed");
        }
        kept.extend(holding.get(1).ok().map(|held| {
            let stamp = check(1, 1, &held);
            (held, Some(stamp))
        }));
        kept
    });
    join(writers);
    evictor.join().unwrap();
    let kept = reading.join().unwrap();
    let published = cache.stats();
    let present = u64::from(film.stats().present_pieces);
    assert_eq!(published.published - published.evictions, present);
    film.evict(0..PIECES).unwrap();
    for (held, stamp) in kept {
        assert_eq!(Some(check(1, held.piece(), &held)), stamp, "a handle's bytes changed");
    }
    drop(film);
    within(&cache, BUDGET);
    settled(&cache);
}

schemes!(insert_evict_hold);
