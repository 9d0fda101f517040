//! An observer uses the cache from within its call, while another thread evicts as well: it is
//! told once of each piece that goes, before that is unpublished, and nothing waits for anything.
#![cfg(loom)]

use std::sync::{Arc, Mutex};

use lookbehind::model::{Epoch, Specification};
use lookbehind::{Cache, Eviction, Reclaim, Storage, StorageOptions};
use loom::thread;
use loom_tests::{LEN, check, film_in, settle};

/// What the observer knows; `std`'s, and so invisible to loom: what it is told orders nothing.
struct Seen<R: Reclaim> {
    film: Option<Storage<R>>,
    told: Vec<u32>,
}

type Notes<R> = Arc<Mutex<Seen<R>>>;

/// Called for each eviction.
fn observe<R: Reclaim>(notes: &Notes<R>, eviction: &Eviction, calls: fn(&Storage<R>, u32)) {
    let film = notes.lock().unwrap().film.clone();
    if let Some(film) = film {
        let held = film.get(eviction.piece).expect("readers may still hit in between");
        assert_eq!(*held, [eviction.piece as u8; LEN]);
        drop(held);
        calls(&film, eviction.piece);
    }
    // Last, for a panic of an observer is caught: what failed above is not noted.
    notes.lock().unwrap().told.push(eviction.piece);
}

fn cache<R: Reclaim>(calls: fn(&Storage<R>, u32)) -> (Cache<R>, Storage<R>, Notes<R>) {
    let notes = Arc::new(Mutex::new(Seen { film: None, told: Vec::new() }));
    let noted = Arc::clone(&notes);
    let builder = Cache::builder().observer(move |eviction: &Eviction| {
        observe(&noted, eviction, calls);
    });
    let (cache, film) = film_in::<R>(builder, 3, StorageOptions::default());
    notes.lock().unwrap().film = Some(film.clone());
    (cache, film, notes)
}

/// Ends the observer's own handle, and says what it was told.
fn told<R: Reclaim>(notes: &Notes<R>) -> Vec<u32> {
    let mut notes = notes.lock().unwrap();
    notes.film = None;
    let mut told = std::mem::take(&mut notes.told);
    told.sort_unstable();
    told
}

/// Two threads evict the same piece, and the observer looks on.
fn the_same<R: Reclaim>() {
    let (cache, film, notes) = cache::<R>(|film, piece| {
        assert!(film.contains(piece), "told before it is unpublished");
        assert_eq!(film.evict(piece..piece + 1), Ok(0), "it is claimed already");
    });
    film.insert(0, &[0; LEN]).unwrap();
    let other = film.clone();
    let other = thread::spawn(move || other.evict(0..1).unwrap());
    let mine = film.evict(0..1).unwrap();
    assert_eq!(mine + other.join().unwrap(), 1);
    assert_eq!(told(&notes), [0]);
    settle(&cache, &film);
}

#[test]
fn the_same_piece() {
    check("observer_calls_back, the same piece", (1, 3), the_same::<Specification>);
}

#[test]
fn the_same_piece_by_epochs() {
    check("observer_calls_back, the same piece by epochs", (0, 2), the_same::<Epoch>);
}

/// The observer publishes another piece, and evicts a third one, of which it is told in turn.
#[test]
fn another_piece() {
    check("observer_calls_back, another piece", (1, 2), || {
        let (cache, film, notes) = cache::<Specification>(|film, piece| {
            if piece == 0 {
                film.insert(2, &[2; LEN]).unwrap();
                film.evict(1..2).unwrap();
            }
        });
        film.insert(0, &[0; LEN]).unwrap();
        film.insert(1, &[1; LEN]).unwrap();
        let other = film.clone();
        let other = thread::spawn(move || other.evict(1..2).unwrap());
        assert_eq!(film.evict(0..1), Ok(1));
        other.join().unwrap();
        assert_eq!(told(&notes), [0, 1]);
        assert!(!film.contains(1) && film.contains(2));
        settle(&cache, &film);
    });
}
