//! Storages come and go, their slots are used again, while others read, write and look for them by
//! ids that may be old: an old id never finds a new film, what is held stays, and a film that is
//! dropped last by anyone gives all its memory back.
#![cfg(shuttle)]

use lookbehind::{Cache, Error, Insert, Layout, Reclaim, StorageId};
use shuttle::thread;
use shuttle_tests::scene::{bytes, cache, check, film, join, settled, within};
use shuttle_tests::schemes;

const BUDGET: usize = 1 << 20;
const LEN: usize = 100;

fn layout() -> Layout {
    Layout::fixed(2 * LEN as u64, LEN as u32).unwrap()
}

/// Looks the film up by its id, time and again: it is there until it is gone for ever.
fn look_up<R: Reclaim>(cache: &Cache<R>, id: StorageId) {
    let mut gone = false;
    for _ in 0..3 {
        match cache.storage(id) {
            Err(error) => {
                assert_eq!(error, Error::UnknownStorage { id });
                gone = true;
            }
            Ok(film) => {
                assert!(!gone, "an id that was unknown came back");
                let found = film.get(0);
                found.iter().for_each(|held| {
                    check(1, 0, held);
                });
                if let Err(error) = found {
                    assert_eq!(error, Error::UnknownStorage { id });
                }
            }
        }
    }
}

fn old_ids<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let first = film(&cache, 2, LEN as u32);
    let id = first.id();
    first.insert(0, &bytes(1, 0, 0, LEN)).unwrap();
    let changing = cache.clone();
    let changer = thread::spawn(move || {
        first.remove().unwrap();
        drop(first);
        let second = changing.add_storage(layout()).unwrap();
        assert_ne!(second.id(), id);
        second.insert(0, &bytes(2, 0, 0, LEN)).unwrap();
        assert_eq!(check(2, 0, &second.get(0).unwrap()), 0);
        second
    });
    let lookers = [0, 1].map(|_| {
        let cache = cache.clone();
        thread::spawn(move || look_up(&cache, id))
    });
    let adding = cache.clone();
    let adder = thread::spawn(move || {
        let third = adding.add_storage(layout()).unwrap();
        third.insert(1, &bytes(3, 1, 0, LEN)).unwrap();
        assert_eq!(check(3, 1, &third.get(1).unwrap()), 0);
        third.remove().unwrap();
        assert_eq!(third.get(1).unwrap_err(), Error::UnknownStorage { id: third.id() });
        third.id()
    });
    join(lookers);
    let second = changer.join().unwrap();
    let third = adder.join().unwrap();
    let slots = [id, second.id(), third];
    for (at, id) in slots.iter().enumerate() {
        assert!(!slots[..at].contains(id), "an id was given twice");
    }
    drop(second);
    within(&cache, BUDGET);
    settled(&cache);
}

/// Readers have a film that is removed, with a snapshot and a handle, and whoever drops it last
/// empties it; a writer finds it gone; meanwhile another film is added.
fn dropped_last_by_anyone<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, 2, LEN as u32);
    film.insert(0, &bytes(1, 0, 0, LEN)).unwrap();
    let reader = film.reader();
    let reading = thread::spawn(move || {
        let snapshot = reader.snapshot();
        let first = snapshot.get(0).map(|found| check(1, 0, found));
        let held = snapshot.held(0);
        assert_eq!(snapshot.get(0).map(|found| check(1, 0, found)), first);
        drop(snapshot);
        drop(reader);
        held
    });
    let writing = film.clone();
    let writer = thread::spawn(move || match writing.insert(1, &bytes(1, 1, 0, LEN)) {
        Ok(inserted) => assert_eq!(inserted, Insert::Published),
        Err(error) => assert_eq!(error, Error::UnknownStorage { id: writing.id() }),
    });
    let remover = thread::spawn(move || film.remove().unwrap());
    let adding = cache.clone();
    let adder = thread::spawn(move || {
        let film = adding.add_storage(layout()).unwrap();
        film.insert(0, &bytes(2, 0, 0, LEN)).unwrap();
        check(2, 0, &film.get(0).unwrap());
    });
    writer.join().unwrap();
    remover.join().unwrap();
    adder.join().unwrap();
    let held = reading.join().unwrap();
    held.iter().for_each(|held| {
        check(1, 0, held);
    });
    drop(held);
    within(&cache, BUDGET);
    settled(&cache);
}

/// The cache itself goes while a handle, a reader and a writer still have something of it.
fn cache_dropped<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, 2, LEN as u32);
    film.insert(0, &bytes(1, 0, 0, LEN)).unwrap();
    let held = film.get(0).unwrap();
    let reader = film.reader();
    let reading = thread::spawn(move || {
        check(1, 0, reader.snapshot().get(0).unwrap());
    });
    let holding = thread::spawn(move || check(1, 0, &held));
    let writing = thread::spawn(move || film.insert(1, &bytes(1, 1, 0, LEN)).unwrap());
    let dropping = thread::spawn(move || drop(cache));
    reading.join().unwrap();
    holding.join().unwrap();
    writing.join().unwrap();
    dropping.join().unwrap();
}

schemes!(old_ids, dropped_last_by_anyone, cache_dropped);
