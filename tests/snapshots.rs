//! What a snapshot shows, and for how long.

mod common;

use std::sync::mpsc;
use std::thread;

use common::{KIB, MIB, cache, fill, film, of, present, schemes, sweep};
use lookbehind::{Error, Held, Interval, Layout, Reclaim};

const LEN: usize = 16 * KIB;

schemes!(
    a_snapshot_is_a_point_in_time,
    what_a_snapshot_shows_stays_readable_after_it_was_evicted,
    a_handle_outlives_snapshot_storage_and_cache,
    a_window_shows_only_its_pieces,
    more_than_eight_snapshots_of_one_reader_live_at_once,
    a_forgotten_snapshot_is_counted_and_harms_nobody_else,
    a_snapshot_can_be_read_and_dropped_on_another_thread,
    a_reader_can_move_between_threads,
    what_was_evicted_under_snapshots_is_given_back_after_the_last,
);

fn a_snapshot_is_a_point_in_time<R: Reclaim>() {
    let film = film(&cache::<R>(4 * MIB), 600, KIB);
    fill(&film, 0..3);
    let reader = film.reader();
    let before = reader.snapshot();
    film.insert(560, &of(560, KIB)).unwrap();
    film.evict(1..2).unwrap();
    let after = reader.snapshot();
    assert!(before.version() < after.version());
    assert_eq!(before.runs().collect::<Vec<_>>(), vec![0..3]);
    assert_eq!(after.runs().collect::<Vec<_>>(), vec![0..1, 2..3, 560..561]);
    assert_eq!((before.get(1), after.get(1)), (Some(&of(1, KIB)[..]), None));
    assert!(before.get(560).is_none() && before.held(560).is_none());
    assert_eq!(film.version(), after.version());
    // A new life of the same piece is another piece.
    film.insert(1, &[7; KIB]).unwrap();
    assert_eq!(before.get(1).unwrap(), of(1, KIB));
    assert_eq!(reader.snapshot().get(1).unwrap(), [7; KIB]);
}

fn what_a_snapshot_shows_stays_readable_after_it_was_evicted<R: Reclaim>() {
    let cache = cache::<R>(2 * MIB);
    let film = film(&cache, 200, LEN);
    fill(&film, 0..8);
    let reader = film.reader();
    let snapshot = reader.snapshot();
    film.evict(0..8).unwrap();
    // Others come, as far as there is room; none may take the memory that is still shown.
    for piece in 8..200 {
        if film.insert(piece, &of(piece, LEN)).is_err() {
            break;
        }
    }
    for piece in 0..8 {
        assert_eq!(snapshot.get(piece).unwrap(), of(piece, LEN), "piece {piece}");
        assert_eq!(snapshot.held(piece).unwrap()[..], of(piece, LEN));
    }
    assert!(cache.stats().resident_peak <= cache.budget());
}

fn a_handle_outlives_snapshot_storage_and_cache<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = film(&cache, 4, LEN);
    fill(&film, 0..2);
    let reader = film.reader();
    let held: Held = reader.snapshot().held(0).unwrap();
    let other = film.get(1).unwrap();
    let clone = held.clone();
    assert_eq!((held.piece(), other.piece()), (0, 1));
    assert!(held.version() < other.version());
    film.evict(0..1).unwrap();
    film.remove().unwrap();
    assert_eq!(film.get(0).unwrap_err(), Error::UnknownStorage { id: film.id() });
    drop((reader, film));
    assert_eq!(cache.stats().pinned, cache.stats().states.held);
    assert!(cache.stats().states.held >= 2 * LEN as u64);
    drop(cache);
    let bytes = bytes::Bytes::from(held);
    assert_eq!(bytes, of(0, LEN));
    drop(bytes);
    assert_eq!(clone[..], of(0, LEN));
    let read = thread::spawn(move || other.to_vec()).join().unwrap();
    assert_eq!(read, of(1, LEN));
}

fn a_window_shows_only_its_pieces<R: Reclaim>() {
    let film = film(&cache::<R>(4 * MIB), 1000, KIB);
    for piece in [0, 9, 10, 11, 511, 512, 599, 600, 999] {
        film.insert(piece, &of(piece, KIB)).unwrap();
    }
    let reader = film.reader();
    let window = reader.snapshot_range(10..600);
    assert_eq!(window.runs().collect::<Vec<_>>(), vec![10..12, 511..513, 599..600]);
    assert!(window.get(9).is_none() && window.held(600).is_none());
    let contained: Vec<_> = (0..1000).filter(|piece| window.contains(*piece)).collect();
    assert_eq!(contained, [10, 11, 511, 512, 599]);
    film.evict(0..1000).unwrap();
    for piece in [10, 11, 511, 512, 599] {
        assert_eq!(window.get(piece).unwrap(), of(piece, KIB));
    }
    let empty = reader.snapshot_range(5..5);
    assert!(empty.get(5).is_none() && empty.runs().next().is_none());
    let last = reader.snapshot_range(999..u32::MAX);
    assert!(last.get(999).is_none() && last.get(u32::MAX).is_none());
}

#[test]
fn a_windowed_snapshot_keeps_nothing_outside_its_window() {
    let cache = cache::<Interval>(4 * MIB);
    let film = film(&cache, 64, LEN);
    fill(&film, 0..64);
    let reader = film.reader();
    let window = reader.snapshot_range(4..8);
    film.evict(0..64).unwrap();
    let limbo = cache.stats().states.limbo;
    assert!(limbo >= 4 * LEN as u64 && limbo < 5 * LEN as u64, "limbo: {limbo}");
    assert_eq!(window.get(7).unwrap(), of(7, LEN));
    drop(window);
    sweep(&cache, &[&film]);
    assert_eq!(cache.stats().states.limbo, 0);
}

#[test]
fn slices_cover_a_range_over_pieces_and_miss_nothing() {
    let cache = cache::<Interval>(MIB);
    let film = cache.add_storage(Layout::fixed(950, 100).unwrap()).unwrap();
    let whole: Vec<u8> = (0..950u32).map(|n| (n % 251) as u8).collect();
    for piece in (0..10).filter(|piece| *piece != 6) {
        let range = film.layout().byte_range(piece).unwrap();
        film.insert(piece, &whole[range.start as usize..range.end as usize]).unwrap();
    }
    let reader = film.reader();
    let snapshot = reader.snapshot();
    for start in (0..950).step_by(7) {
        for end in (start..=950).step_by(13) {
            let joined = snapshot.slices(start..end).map(|s| s.collect::<Vec<_>>().concat());
            let all_there = end <= 600 || start >= 700 || start == end;
            let expected = all_there.then(|| whole[start as usize..end as usize].to_vec());
            assert_eq!(joined, expected, "{start}..{end}");
        }
    }
    assert!(snapshot.slices(940..951).is_none());
    assert!(snapshot.slices(u64::MAX - 1..u64::MAX).is_none());
}

fn more_than_eight_snapshots_of_one_reader_live_at_once<R: Reclaim>() {
    let cache = cache::<R>(4 * MIB);
    let film = film(&cache, 100, KIB);
    let reader = film.reader();
    let mut snapshots = Vec::new();
    for piece in 0..40 {
        film.insert(piece, &of(piece, KIB)).unwrap();
        snapshots.push(reader.snapshot());
    }
    assert_eq!(cache.stats().snapshots, 40);
    film.evict(0..100).unwrap();
    for (snapshot, count) in snapshots.iter().zip(1..) {
        assert_eq!(snapshot.runs().collect::<Vec<_>>(), vec![0..count]);
        assert_eq!(snapshot.get(count - 1).unwrap(), of(count - 1, KIB));
    }
    drop(snapshots);
    assert_eq!(cache.stats().snapshots, 0);
    assert_eq!(present(&film), [0; 0]);
}

fn a_forgotten_snapshot_is_counted_and_harms_nobody_else<R: Reclaim>() {
    let cache = cache::<R>(4 * MIB);
    let film = film(&cache, 100, KIB);
    fill(&film, 0..4);
    let reader = film.reader();
    std::mem::forget(reader.snapshot());
    assert_eq!(cache.stats().snapshots, 1);
    drop(reader);
    assert_eq!(cache.stats().snapshots, 1, "the next reader does not inherit it");
    let reader = film.reader();
    film.evict(0..2).unwrap();
    for piece in 10..30 {
        film.insert(piece, &of(piece, KIB)).unwrap();
        let snapshots: Vec<_> = (0..9).map(|_| reader.snapshot()).collect();
        assert!(snapshots.iter().all(|s| s.get(piece).unwrap() == of(piece, KIB)));
    }
    assert_eq!(cache.stats().snapshots, 1);
    assert!(cache.stats().states.limbo >= 2 * KIB as u64, "it keeps what it showed");
}

fn a_snapshot_can_be_read_and_dropped_on_another_thread<R: Reclaim>() {
    let cache = cache::<R>(2 * MIB);
    let film = film(&cache, 400, LEN);
    let reader = film.reader();
    thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel::<(u32, lookbehind::Snapshot<'_, R>)>(4);
        scope.spawn(move || {
            for (piece, snapshot) in receive {
                assert_eq!(snapshot.get(piece).unwrap(), of(piece, LEN), "piece {piece}");
            }
        });
        for piece in 0..400 {
            // With the imprecise schemes a snapshot on its way may refuse memory for a moment.
            film.insert_wait(piece, &of(piece, LEN), common::PATIENCE).unwrap();
            let snapshot = reader.snapshot();
            if snapshot.contains(piece) {
                send.send((piece, snapshot)).unwrap();
            }
            film.evict(piece..piece + 1).unwrap();
        }
    });
    assert_eq!(cache.stats().snapshots, 0);
    assert!(cache.stats().resident_peak <= cache.budget());
}

fn a_reader_can_move_between_threads<R: Reclaim>() {
    let film = film(&cache::<R>(MIB), 10, KIB);
    fill(&film, 0..10);
    let mut reader = film.reader();
    for piece in 0..10 {
        reader = thread::spawn(move || {
            assert_eq!(reader.snapshot().get(piece).unwrap(), of(piece, KIB));
            reader
        })
        .join()
        .unwrap();
    }
    assert_eq!(reader.storage().id(), film.id());
}

fn what_was_evicted_under_snapshots_is_given_back_after_the_last<R: Reclaim>() {
    let cache = cache::<R>(4 * MIB);
    let film = film(&cache, 64, LEN);
    let reader = film.reader();
    let mut snapshots = Vec::new();
    for round in 0..6 {
        fill(&film, round * 8..round * 8 + 8);
        snapshots.push(reader.snapshot());
        film.evict(0..64).unwrap();
    }
    assert!(cache.stats().states.limbo >= 48 * LEN as u64);
    for keep in (0..6).rev() {
        snapshots.remove(snapshots.len() / 2);
        for snapshot in &snapshots {
            for run in snapshot.runs() {
                run.for_each(|piece| assert_eq!(snapshot.get(piece).unwrap(), of(piece, LEN)));
            }
        }
        assert_eq!(snapshots.len(), keep);
    }
    common::eventually("limbo is empty", || {
        sweep(&cache, &[&film]);
        cache.stats().states.limbo == 0
    });
}
