//! A piece is taken by a handle while it is evicted and its buffer used again for another piece:
//! whoever gets the handle reads the piece that it asked for.
#![cfg(loom)]

use lookbehind::model::{Epoch, Specification};
use lookbehind::{Error, Interval, Reclaim, StorageOptions};
use loom::thread;
use loom_tests::{LEN, check, film, settle};

/// With `again` the buffer is used again for another piece.
fn model<R: Reclaim>(getters: usize, again: bool) {
    let (cache, film) = film::<R>(2, StorageOptions::default());
    film.insert(0, &[1; LEN]).unwrap();
    let getters: Vec<_> = (0..getters)
        .map(|_| {
            let film = film.clone();
            thread::spawn(move || match film.get(0) {
                Ok(held) => assert_eq!((held.piece(), &*held), (0, &[1; LEN][..])),
                Err(error) => assert_eq!(error, Error::Missing { piece: 0 }),
            })
        })
        .collect();
    assert_eq!(film.evict(0..1), Ok(1));
    if again {
        film.insert(1, &[2; LEN]).unwrap();
    }
    getters.into_iter().for_each(|getter| getter.join().unwrap());
    if again {
        assert_eq!(*film.get(1).unwrap(), [2; LEN]);
    }
    settle(&cache, &film);
}

#[test]
fn one_getter() {
    check("evict_against_get, a getter", 3, || model::<Interval>(1, true));
}

#[test]
fn one_getter_by_epochs() {
    check("evict_against_get, a getter by epochs", (1, 2), || model::<Epoch>(1, false));
}

#[test]
fn two_getters() {
    check("evict_against_get, two getters", (1, 3), || model::<Specification>(2, true));
}
