//! A storage is removed while it is read, by its id, by a handle, by a snapshot; and another one
//! takes its slot: nobody finds the new one by the old id, and what a snapshot shows and a handle
//! holds stays readable.
#![cfg(loom)]

use lookbehind::model::{Epoch, Specification};
use lookbehind::{Cache, Error, Interval, Layout, Reclaim, Storage, StorageOptions};
use loom::thread;
use loom_tests::{LEN, check, film};

/// A film with piece 0, and its cache.
fn one<R: Reclaim>() -> (Cache<R>, Storage<R>) {
    let (cache, film) = film::<R>(1, StorageOptions::default());
    film.insert(0, &[1; LEN]).unwrap();
    (cache, film)
}

fn unknown(error: &Error) -> bool {
    matches!(error, Error::UnknownStorage { .. })
}

/// Removes the film and lets another one have its slot.
fn replace<R: Reclaim>(cache: &Cache<R>, film: &Storage<R>) -> Storage<R> {
    film.remove().unwrap();
    let other = cache.add_storage(Layout::fixed(LEN as u64, LEN as u32).unwrap()).unwrap();
    assert_ne!(other.id(), film.id());
    other.insert(0, &[2; LEN]).unwrap();
    other
}

fn stale_id<R: Reclaim>(readers: usize) {
    let (cache, film) = one::<R>();
    let id = film.id();
    let readers: Vec<_> = (0..readers)
        .map(|_| {
            let cache = cache.clone();
            thread::spawn(move || match cache.storage(id) {
                Ok(found) => {
                    assert_eq!(found.id(), id, "another storage was found by the id");
                    match found.get(0) {
                        Ok(held) => assert_eq!(*held, [1; LEN]),
                        Err(error) => {
                            assert!(unknown(&error) || error == Error::Missing { piece: 0 });
                        }
                    }
                }
                Err(error) => assert!(unknown(&error)),
            })
        })
        .collect();
    // The film lives on here: what its last owner frees is ordered by std's Arc, which loom does
    // not see.
    let other = replace(&cache, &film);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert!(unknown(&cache.storage(id).unwrap_err()) && unknown(&film.get(0).unwrap_err()));
    assert_eq!(*cache.storage(other.id()).unwrap().get(0).unwrap(), [2; LEN]);
}

#[test]
fn by_a_stale_id() {
    check("removal_against_read, by a stale id", 2, || stale_id::<Interval>(1));
}

#[test]
fn by_a_stale_id_by_epochs() {
    check("removal_against_read, by a stale id by epochs", (0, 2), || stale_id::<Epoch>(1));
}

#[test]
fn two_by_a_stale_id() {
    check("removal_against_read, two by a stale id", (1, 2), || stale_id::<Specification>(2));
}

/// A snapshot, and a handle taken from it, of a storage that goes.
fn snapshot<R: Reclaim>() {
    let (cache, film) = one::<R>();
    let reader = film.reader();
    let reading = thread::spawn(move || {
        let snapshot = reader.snapshot();
        let held = snapshot.held(0);
        if let Some(bytes) = snapshot.get(0) {
            assert_eq!(bytes, [1; LEN]);
        }
        drop(snapshot);
        drop(reader);
        if let Some(held) = held {
            assert_eq!(*held, [1; LEN]);
        }
    });
    let other = replace(&cache, &film);
    reading.join().unwrap();
    assert_eq!(*other.get(0).unwrap(), [2; LEN]);
    let mut states = cache.stats().states;
    if states.limbo > 0 {
        // What the snapshot kept goes with the next pass.
        other.evict(0..1).unwrap();
        drop(cache.add_storage(Layout::fixed(LEN as u64, LEN as u32).unwrap()).unwrap());
        states = cache.stats().states;
    }
    assert_eq!((states.limbo, states.held), (0, 0), "bytes of the removed storage are left");
}

#[test]
fn a_snapshot() {
    check("removal_against_read, a snapshot", 2, snapshot::<Interval>);
}

#[test]
fn a_snapshot_by_epochs() {
    check("removal_against_read, a snapshot by epochs", (1, 2), snapshot::<Epoch>);
}

/// Pieces arrive while their storage is removed: none stays behind.
fn insert<R: Reclaim>() {
    let (cache, film) = one::<R>();
    let writing = film.clone();
    let writer = thread::spawn(move || {
        for offset in [0, 2] {
            if let Err(error) = writing.write(0, offset, &[3; 2]) {
                assert!(unknown(&error) || error == Error::NotOpen { piece: 0 });
            }
        }
        if let Err(error) = writing.commit(0) {
            // The first block may have found piece 0 as it was before.
            let partly = matches!(error, Error::NotOpen { .. } | Error::Incomplete { .. });
            assert!(unknown(&error) || partly, "{error}");
        }
    });
    film.evict(0..1).unwrap();
    film.remove().unwrap();
    writer.join().unwrap();
    drop(cache.add_storage(Layout::fixed(LEN as u64, LEN as u32).unwrap()).unwrap());
    let states = cache.stats().states;
    assert_eq!((states.assembling, states.published, states.limbo, states.held), (0, 0, 0, 0));
}

#[test]
fn a_piece_that_arrives() {
    check("removal_against_read, a piece that arrives", (1, 3), insert::<Specification>);
}
