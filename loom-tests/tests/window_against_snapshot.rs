//! The window of a live film moves while it is read and written: segments come at its end, fall
//! out at its front, and the leaves of the table move along.
#![cfg(loom)]

use lookbehind::model::{Epoch, Specification};
use lookbehind::{Cache, Error, Interval, Layout, Reclaim, Storage};
use loom::thread;
use loom_tests::{LEN, check, settle};

/// A live film of three segments, which are two leaves; the first and the last are present.
fn live<R: Reclaim>() -> (Cache<R>, Storage<R>) {
    let cache = Cache::builder().budget(1 << 20).build_with().unwrap();
    let film = cache.add_storage(Layout::segments()).unwrap();
    for segment in 0..3 {
        assert_eq!(film.append_segment(LEN as u32), Ok(segment));
    }
    film.insert(0, &[0; LEN]).unwrap();
    film.insert(2, &[2; LEN]).unwrap();
    (cache, film)
}

/// Segments fall out and another one comes, under a snapshot that may show any of them.
fn snapshot<R: Reclaim>() {
    let (cache, film) = live::<R>();
    let reader = film.reader();
    let reading = thread::spawn(move || {
        let snapshot = reader.snapshot();
        for _ in 0..2 {
            let first = snapshot.get(0).is_some();
            let runs: Vec<_> = snapshot.runs().collect();
            let expected = match (first, snapshot.contains(4)) {
                (true, false) => vec![0..1, 2..3],
                (false, false) => vec![2..3],
                (false, true) => vec![2..3, 4..5],
                (true, true) => panic!("no version shows both"),
            };
            assert_eq!(runs, expected);
            for segment in runs.into_iter().flatten() {
                assert_eq!(snapshot.get(segment), Some(&[segment as u8; LEN][..]));
            }
        }
    });
    film.drop_segments_before(2).unwrap();
    assert_eq!(film.append_segment(LEN as u32), Ok(3));
    assert_eq!(film.append_segment(LEN as u32), Ok(4));
    film.insert(4, &[4; LEN]).unwrap();
    reading.join().unwrap();
    settle(&cache, &film);
}

#[test]
fn a_snapshot() {
    check("window_against_snapshot, a snapshot", 2, snapshot::<Interval>);
}

#[test]
fn a_snapshot_by_epochs() {
    check("window_against_snapshot, a snapshot by epochs", (1, 2), snapshot::<Epoch>);
}

#[test]
fn a_snapshot_above_the_specification() {
    check("window_against_snapshot, a snapshot above the specification", 3, || {
        snapshot::<Specification>();
    });
}

/// A segment arrives while it falls out: it is refused, or published and evicted; nothing that
/// lies before the window stays.
#[test]
fn a_publish() {
    check("window_against_snapshot, a publication", (2, 3), || {
        let (cache, film) = live::<Specification>();
        let writing = film.clone();
        let writer = thread::spawn(move || match writing.insert(1, &[1; LEN]) {
            Ok(_) => {}
            Err(error) => assert!(matches!(error, Error::PieceOutOfRange { .. })),
        });
        film.drop_segments_before(2).unwrap();
        writer.join().unwrap();
        let reader = film.reader();
        assert!(reader.snapshot().runs().eq([2..3]), "what fell out is still there");
        drop(reader);
        settle(&cache, &film);
    });
}

/// A block arrives for a segment that falls out: its assembly does not stay open.
#[test]
fn a_block() {
    check("window_against_snapshot, a block", 2, || {
        let (cache, film) = live::<Specification>();
        // So that the segment is the first to go: what is done for another one has fences.
        film.drop_segments_before(1).unwrap();
        let writing = film.clone();
        let writer = thread::spawn(move || match writing.write(1, 0, &[1; 2]) {
            Ok(_) => {}
            Err(error) => {
                assert!(matches!(error, Error::PieceOutOfRange { .. } | Error::NotOpen { .. }));
            }
        });
        film.drop_segments_before(2).unwrap();
        writer.join().unwrap();
        assert_eq!(cache.stats().states.assembling, 0, "an assembly was left open");
        settle(&cache, &film);
    });
}

/// Two threads change the layout at once: no segment is lost, none comes twice.
#[test]
fn two_changes() {
    check("window_against_snapshot, two changes", 3, || {
        let (cache, film) = live::<Specification>();
        let other = film.clone();
        let appender = thread::spawn(move || other.append_segment(LEN as u32).unwrap());
        let mine = film.append_segment(LEN as u32).unwrap();
        let theirs = appender.join().unwrap();
        assert_eq!(mine + theirs, 3 + 4);
        assert_eq!(film.layout().pieces(), 0..5);
        settle(&cache, &film);
    });
}
