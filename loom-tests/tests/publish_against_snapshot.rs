//! Readers take snapshots while a writer publishes, unpublishes and publishes again, and makes
//! passes: roots and buffers are recycled under the readers' eyes.
#![cfg(loom)]

use lookbehind::model::{Epoch, Film, LEN, Reader, Reclaim, Shown, Snapshot, Specification};
use loom::thread;
use loom_tests::{check, film, settle};

const PIECE: u32 = 0;

/// Version n shows the piece if n is odd, and then its bytes are n.
fn look<R: Reclaim>(snapshot: &Snapshot<R>) -> u64 {
    let version = snapshot.version();
    let expected = (version % 2 == 1).then_some((PIECE, [version as u8; LEN]));
    assert_eq!(snapshot.get(PIECE), expected, "what version {version} shows");
    version
}

/// Takes snapshots one after another; versions never go back.
fn read<R: Reclaim>(reader: &Reader<R>, times: usize) {
    let mut last = 0;
    for _ in 0..times {
        let snapshot = reader.snapshot();
        let version = look(&snapshot);
        assert!(version >= last, "a reader went back in time");
        assert_eq!(look(&snapshot), version, "a version changed");
        last = version;
    }
}

fn publish<R: Reclaim>(film: &Film<R>, byte: u8) {
    assert!(matches!(film.publish(PIECE, byte), Shown::Done(_)));
}

/// `readers` threads of `snapshots` each; the main thread writes.
fn model<R: Reclaim>(readers: usize, snapshots: usize, rounds: u8) {
    let film = Film::<R>::new(1 << 20, 1);
    publish(&film, 1);
    let readers: Vec<_> = (0..readers)
        .map(|_| {
            let reader = Reader::new(&film);
            thread::spawn(move || read(&reader, snapshots))
        })
        .collect();
    for round in 1..=rounds {
        assert!(film.unpublish(PIECE));
        film.pass();
        publish(&film, 2 * round + 1);
    }
    for reader in readers {
        reader.join().unwrap();
    }
    film.pass();
    assert!(!film.has_limbo(), "nobody reads, yet something waits for its grace period");
    film.finish();
}

#[test]
fn one_reader() {
    check("publish_against_snapshot, a reader", 4, || {
        model::<lookbehind::Interval>(1, 2, 2);
    });
}

#[test]
fn two_readers() {
    check("publish_against_snapshot, two readers", (2, 3), || {
        model::<lookbehind::Interval>(2, 1, 2);
    });
}

#[test]
fn one_reader_by_epochs() {
    check("publish_against_snapshot, a reader by epochs", (2, 3), || model::<Epoch>(1, 2, 1));
}

#[test]
fn two_readers_above_the_specification() {
    check("publish_against_snapshot, two readers above the specification", 3, || {
        model::<Specification>(2, 1, 2);
    });
}

/// The same by the public interface.
#[test]
fn a_whole_cache() {
    check("publish_against_snapshot, a whole cache", 3, || {
        let (cache, film) = film::<lookbehind::Interval>(2, lookbehind::StorageOptions::default());
        film.insert(0, &[1; LEN]).unwrap();
        let reader = film.reader();
        let reading = thread::spawn(move || {
            for _ in 0..2 {
                let snapshot = reader.snapshot();
                let expected: Option<&[u8]> = match snapshot.version() {
                    1 => Some(&[1; LEN]),
                    2 => None,
                    _ => Some(&[2; LEN]),
                };
                assert_eq!(snapshot.get(0), expected);
                assert_eq!(snapshot.get(0), expected, "a version changed");
            }
        });
        assert_eq!(film.evict(0..1), Ok(1));
        film.insert(0, &[2; LEN]).unwrap();
        reading.join().unwrap();
        settle(&cache, &film);
    });
}
