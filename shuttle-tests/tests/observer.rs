//! An observer that calls back into the cache: it is told of each eviction once, before the piece
//! is gone, and whatever it calls returns.
#![cfg(shuttle)]

use std::sync::{Arc, Mutex};

use lookbehind::{Cache, Eviction, Reason, Reclaim};
use shuttle::thread;
use shuttle_tests::scene::{built, bytes, check, join, refused, settled, within};
use shuttle_tests::schemes;

const BUDGET: usize = 16 << 10;
const LEN: usize = 3000;
const PIECES: u32 = 6;

fn calls_back<R: Reclaim>() {
    let told = Arc::new(Mutex::new(Vec::<Eviction>::new()));
    // Emptied at the end, for the cache has the observer.
    let place = Arc::new(Mutex::new(None::<Cache<R>>));
    let (seen, back) = (Arc::clone(&told), Arc::clone(&place));
    let observer = move |eviction: &Eviction| {
        // Noted at the end: a panic in here is caught, and then shows by its absence.
        let note = || seen.lock().unwrap().push(*eviction);
        let Some(cache) = back.lock().unwrap().clone() else { return note() };
        let stats = cache.stats();
        assert!(stats.resident <= BUDGET as u64);
        if let Ok(film) = cache.storage(eviction.storage) {
            // Claimed, and by this thread: it is shown until the observer returns.
            let held = film.get(eviction.piece).expect("still there");
            check(1, eviction.piece, &held);
            film.reserve(eviction.piece..eviction.piece + 1);
            refused(film.insert(PIECES, &bytes(1, PIECES, 5, 10)));
        }
        note();
    };
    let cache = built::<R>(Cache::builder().observer(observer), BUDGET);
    *place.lock().unwrap() = Some(cache.clone());
    let layout = lookbehind::Layout::fixed(u64::from(PIECES) * LEN as u64 + 10, LEN as u32);
    let film = cache.add_storage(layout.unwrap()).unwrap();
    for piece in 0..2 {
        film.insert(piece, &bytes(1, piece, 0, LEN)).unwrap();
    }
    let writers = [2, 4].map(|first| {
        let film = film.clone();
        thread::spawn(move || {
            (first..first + 2)
                .filter(|piece| !refused(film.insert(*piece, &bytes(1, *piece, 0, LEN))))
                .count()
        })
    });
    let evictors = [0, 1].map(|_| {
        let film = film.clone();
        thread::spawn(move || film.evict(0..2).unwrap_or(0))
    });
    join(writers);
    let requested: usize = join(evictors).into_iter().sum();
    let stats = cache.stats();
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(told.len() as u64, stats.evictions, "told of what was not, or not of what was");
    let by_request = told.iter().filter(|eviction| eviction.reason == Reason::Requested).count();
    assert_eq!(by_request, requested);
    let present = u64::from(film.stats().present_pieces);
    assert_eq!(stats.published - stats.evictions, present);
    within(&cache, BUDGET);
    drop((film, place.lock().unwrap().take()));
    settled(&cache);
}

schemes!(calls_back);
