//! Readers leave their marks while an eviction samples and clears them: exactly one piece goes,
//! none that was read before while there is one that was not, and readers read the right bytes.
#![cfg(loom)]

use lookbehind::model::{Specification, evict_one};
use lookbehind::{Interval, Reclaim, StorageOptions};
use loom::thread;
use loom_tests::{LEN, check, film, settle};

const PIECES: u32 = 3;

fn model<R: Reclaim>(readers: usize) {
    let (cache, film) = film::<R>(PIECES as usize, StorageOptions::default());
    // In the only film it is the time of the last visit that counts, and not the mark.
    let _other = cache.add_storage(film.layout()).unwrap();
    for piece in 0..PIECES {
        film.insert(piece, &[piece as u8; LEN]).unwrap();
    }
    // Read before all else, and the oldest.
    drop(film.get(0).unwrap());
    let readers: Vec<_> = (0..readers)
        .map(|_| {
            let reader = film.reader();
            thread::spawn(move || {
                let snapshot = reader.snapshot();
                for piece in [0, 1] {
                    if let Some(bytes) = snapshot.get(piece) {
                        assert_eq!(bytes, [piece as u8; LEN]);
                    }
                }
            })
        })
        .collect();
    let freed = evict_one(&cache);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    let left: Vec<_> = (0..PIECES).filter(|piece| film.contains(*piece)).collect();
    assert_eq!(left.len(), 2, "exactly one goes");
    assert!(freed > 0 && left.contains(&0), "piece 0 was marked, and piece 2 never is");
    settle(&cache, &film);
}

#[test]
fn a_reader() {
    check("visited_mark, a reader", 3, || model::<Interval>(1));
}

#[test]
fn two_readers() {
    check("visited_mark, two readers", (2, 3), || model::<Specification>(2));
}
