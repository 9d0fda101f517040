//! The process's cache is replaced and taken out while a reader gets and uses it: what the reader
//! has got stays whole.
#![cfg(loom)]

use lookbehind::{Cache, Interval, StorageOptions, global};
use loom::thread;
use loom_tests::{LEN, check, film};

/// A cache with one film of one piece, every byte of which is `byte`.
fn cache(byte: u8) -> Cache {
    let (cache, film) = film::<Interval>(1, StorageOptions::default());
    film.insert(0, &[byte; LEN]).unwrap();
    cache
}

fn read() {
    let Some(cache) = global::get() else { return };
    let film = cache.storages().pop().expect("a film");
    let reader = film.reader();
    let snapshot = reader.snapshot();
    let bytes = snapshot.get(0).expect("a piece");
    assert!(bytes == [1; LEN] || bytes == [2; LEN]);
}

fn model(readers: usize) {
    // The last owners of both are here: see `removal_against_read`.
    let first = cache(1);
    assert!(global::set(first.clone()).is_none());
    let readers: Vec<_> = (0..readers).map(|_| thread::spawn(read)).collect();
    let second = cache(2);
    assert!(global::set(second.clone()).is_some());
    assert!(global::clear().is_some());
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert!(global::get().is_none() && global::clear().is_none());
    drop((first, second));
}

#[test]
fn a_reader() {
    check("global_swapped, a reader", 3, || model(1));
}

#[test]
fn two_readers() {
    check("global_swapped, two readers", 3, || model(2));
}
