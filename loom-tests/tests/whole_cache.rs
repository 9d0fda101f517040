//! The public interface under loom: snapshots of a real cache while pieces come and go.
#![cfg(loom)]

use lookbehind::{Cache, Layout};
use loom::thread;
use loom_tests::check;

#[test]
fn insert_and_evict_against_snapshot() {
    check("whole_cache, insert and evict against a snapshot", 2, || {
        let cache = Cache::builder().budget(1 << 20).build().unwrap();
        let film = cache.add_storage(Layout::fixed(8, 4).unwrap()).unwrap();
        film.insert(0, &[1; 4]).unwrap();
        let reader = film.reader();
        let reading = thread::spawn(move || {
            for _ in 0..2 {
                let snapshot = reader.snapshot();
                let expected: Option<&[u8]> = match snapshot.version() {
                    1 => Some(&[1; 4]),
                    2 => None,
                    _ => Some(&[2; 4]),
                };
                assert_eq!(snapshot.get(0), expected);
                assert_eq!(snapshot.get(0), expected, "a version changed");
            }
        });
        assert_eq!(film.evict(0..1), Ok(1));
        film.insert(0, &[2; 4]).unwrap();
        reading.join().unwrap();
        assert_eq!(film.evict(0..1), Ok(1));
        assert_eq!(cache.stats().states.limbo, 0);
    });
}

/// A removal against a reader and a handle: what they have stays readable.
#[test]
fn remove_against_reader() {
    check("whole_cache, a removal against a reader", 2, || {
        let cache = Cache::builder().budget(1 << 20).build().unwrap();
        let film = cache.add_storage(Layout::fixed(8, 4).unwrap()).unwrap();
        film.insert(0, &[1; 4]).unwrap();
        let reader = film.reader();
        let reading = thread::spawn(move || {
            let snapshot = reader.snapshot();
            if let Some(held) = snapshot.held(0) {
                drop(snapshot);
                drop(reader);
                assert_eq!(*held, [1; 4]);
            }
        });
        film.remove().unwrap();
        // The film lives on here: what its last owner frees is ordered by std's Arc, which loom
        // does not see.
        reading.join().unwrap();
    });
}
