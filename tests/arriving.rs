//! Blocks become pieces, and pieces are verified.

mod common;

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use common::{KIB, MIB, Woken, cache, film, layout, of, poll, schemes, timed_cache};
use futures_io::AsyncRead;
use lookbehind::{
    Error, Insert, Interval, PieceHasher, PlayerConfig, Progress, Reclaim, Sha1Verifier,
    Sha256Verifier, Storage, StorageOptions, Verifier, verify_fn,
};
use rand::Rng;
use rand::seq::SliceRandom;
use sha2::Digest;

const LEN: usize = 64 * KIB;

schemes!(
    blocks_in_any_order_from_several_threads_make_the_piece,
    the_first_writer_of_a_byte_wins,
    a_piece_that_is_abandoned_leaves_nothing_and_can_come_anew,
    an_assembly_without_progress_expires,
    assemblies_together_take_at_most_half_the_budget,
);

fn verified<R: Reclaim>(verifier: impl Verifier + 'static, pieces: u32) -> Storage<R> {
    let options = StorageOptions::default().verifier(Arc::new(verifier));
    cache(4 * MIB).add_storage_with(layout(pieces, LEN), options).unwrap()
}

/// Blocks of random size, some twice and some overlapping, in random order.
fn blocks(rng: &mut impl Rng, len: usize) -> Vec<std::ops::Range<usize>> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < len {
        let end = (at + rng.random_range(1..9000)).min(len);
        all.push(at..end);
        if rng.random_bool(0.3) {
            let start = rng.random_range(0..end);
            all.push(start..(start + rng.random_range(1..9000)).min(len));
        }
        at = end;
    }
    all.shuffle(rng);
    all
}

fn blocks_in_any_order_from_several_threads_make_the_piece<R: Reclaim>() {
    let seed = common::seed();
    let hashes: Vec<[u8; 32]> = (0..12).map(|p| sha2::Sha256::digest(of(p, LEN)).into()).collect();
    let film: Storage<R> = verified(Sha256Verifier::new(hashes), 12);
    for piece in 0..12 {
        let whole = of(piece, LEN);
        let todo = Mutex::new(blocks(&mut common::rng(seed ^ u64::from(piece)), LEN));
        let published = thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut published = 0;
                        loop {
                            let Some(block) = todo.lock().unwrap().pop() else { break published };
                            let offset = block.start as u32;
                            let progress = film.write(piece, offset, &whole[block]).unwrap();
                            published += u32::from(progress == Progress::Published);
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>()
        });
        assert!(published >= 1, "somebody's block completed piece {piece}");
        assert_eq!(film.get(piece).unwrap()[..], whole, "piece {piece}");
    }
    assert_eq!(film.stats().assembling_pieces, 0);
}

fn the_first_writer_of_a_byte_wins<R: Reclaim>() {
    let film = film(&cache::<R>(MIB), 1, 300);
    assert_eq!(film.write(0, 100, &[1; 100]), Ok(Progress::Partial { written: 100 }));
    assert_eq!(film.write(0, 100, &[9; 100]), Ok(Progress::Partial { written: 100 }));
    assert_eq!(film.write(0, 50, &[2; 100]), Ok(Progress::Partial { written: 150 }));
    assert_eq!(film.write(0, 0, &[3; 300]), Ok(Progress::Complete));
    film.commit(0).unwrap();
    let piece = film.get(0).unwrap();
    let parts = [&piece[..50], &piece[50..100], &piece[100..200], &piece[200..]];
    assert_eq!(parts.map(|p| p[0]), [3, 2, 1, 3]);
    assert!(parts.iter().all(|part| part.iter().all(|byte| *byte == part[0])));
    // Published bytes least of all.
    assert_eq!(film.write(0, 0, &[8; 300]), Ok(Progress::Published));
    assert_eq!(film.insert(0, &[8; 300]), Ok(Insert::AlreadyPresent));
    assert_eq!(film.get(0).unwrap()[0], 3);
}

#[test]
fn a_piece_is_not_shown_before_it_is_committed() {
    let film = film(&cache::<Interval>(MIB), 2, 100);
    film.write(0, 0, &[1; 60]).unwrap();
    let incomplete = Error::Incomplete { piece: 0, written: 60, piece_len: 100 };
    assert_eq!(film.commit(0).unwrap_err(), incomplete);
    assert_eq!(film.write(0, 60, &[1; 40]), Ok(Progress::Complete));
    assert_eq!(film.get(0).unwrap_err(), Error::Missing { piece: 0 });
    film.commit(0).unwrap();
    film.commit(0).unwrap(); // once more is no error
    assert_eq!(film.get(0).unwrap()[..], [1; 100]);
    assert_eq!(film.commit(1).unwrap_err(), Error::NotOpen { piece: 1 });
}

#[test]
fn pieces_that_match_their_sha1_are_published_and_others_dropped() {
    let hashes: Vec<u8> = (0..3).flat_map(|p| sha1::Sha1::digest(of(p, LEN)).to_vec()).collect();
    let film: Storage = verified(Sha1Verifier::from_concatenated(&hashes).unwrap(), 4);
    let mut wrong = of(0, LEN);
    wrong[LEN - 1] ^= 1;
    assert_eq!(film.insert(0, &wrong).unwrap_err(), Error::VerifyFailed { piece: 0 });
    film.write(0, 0, &wrong[..LEN / 2]).unwrap();
    let last = film.write(0, LEN as u32 / 2, &wrong[LEN / 2..]);
    assert_eq!(last.unwrap_err(), Error::VerifyFailed { piece: 0 });
    assert!(!film.contains(0));
    assert_eq!(film.stats().assembling_pieces, 0);
    assert_eq!(film.insert(0, &of(0, LEN)), Ok(Insert::Published));
    assert_eq!(film.write(1, 0, &of(1, LEN)), Ok(Progress::Published));
    assert_eq!(film.get(1).unwrap()[..], of(1, LEN));
    // The right bytes of another piece, and a piece without a hash.
    assert_eq!(film.insert(2, &of(1, LEN)).unwrap_err(), Error::VerifyFailed { piece: 2 });
    assert_eq!(film.insert(3, &of(3, LEN)).unwrap_err(), Error::VerifyFailed { piece: 3 });
    assert_eq!(film.write(3, 0, &of(3, LEN)).unwrap_err(), Error::VerifyFailed { piece: 3 });
}

#[test]
fn a_piece_hashed_while_it_arrives_is_judged_by_all_of_its_bytes() {
    // In order, so that the hasher sees each block as it comes; each byte counts.
    let hashes = [<[u8; 32]>::from(sha2::Sha256::digest(of(0, LEN)))];
    let film: Storage = verified(Sha256Verifier::new(hashes), 1);
    for flipped in [0, 1, LEN / 3, LEN - 1] {
        let mut bytes = of(0, LEN);
        bytes[flipped] ^= 0x80;
        let results: Vec<_> =
            bytes.chunks(1000).zip(0..).map(|(b, n)| film.write(0, n * 1000, b)).collect();
        assert_eq!(results.last().unwrap(), &Err(Error::VerifyFailed { piece: 0 }));
        assert!(!film.contains(0), "byte {flipped} was not looked at");
    }
    for (block, n) in of(0, LEN).chunks(1000).zip(0..) {
        film.write(0, n * 1000, block).unwrap();
    }
    assert_eq!(film.get(0).unwrap()[..], of(0, LEN));
}

#[test]
fn a_closure_verifies_and_one_that_panics_refuses() {
    let film: Storage = verified(
        verify_fn(|piece, bytes: &[u8]| {
            assert!(piece != 2, "as the test wants it");
            bytes[0] == piece as u8
        }),
        3,
    );
    assert_eq!(film.insert(1, &[1; LEN]), Ok(Insert::Published));
    assert_eq!(film.insert(0, &[1; LEN]).unwrap_err(), Error::VerifyFailed { piece: 0 });
    assert_eq!(film.insert(2, &[2; LEN]).unwrap_err(), Error::VerifyFailed { piece: 2 });
    assert_eq!(film.write(2, 0, &[2; LEN]).unwrap_err(), Error::VerifyFailed { piece: 2 });
    assert_eq!(film.stats().assembling_pieces, 0);
}

#[test]
fn a_verifier_that_panics_when_an_assembly_opens_costs_nothing() {
    struct Panics;
    impl Verifier for Panics {
        fn begin(&self, _: u32) -> Option<Box<dyn PieceHasher>> {
            panic!("as the test wants it")
        }
    }
    let film: Storage = verified(Panics, 200);
    for piece in 0..200 {
        let written = film.write(piece, 0, &[1; LEN]);
        assert_eq!(written.unwrap_err(), Error::VerifyFailed { piece });
    }
    assert_eq!(film.stats().assembling_pieces, 0);
}

#[test]
fn a_piece_dropped_while_it_is_judged_is_not_called_published() {
    let own = Arc::new(OnceLock::<Storage>::new());
    // Weak: the cache owns its verifiers, and a storage keeps its cache.
    let seen = Arc::downgrade(&own);
    let film: Storage = verified(
        verify_fn(move |piece, _: &[u8]| {
            let seen = seen.upgrade().unwrap();
            seen.get().is_some_and(|film| film.abandon(piece).unwrap())
        }),
        1,
    );
    own.set(film.clone()).unwrap();
    assert_eq!(film.write(0, 0, &of(0, LEN)).unwrap_err(), Error::NotOpen { piece: 0 });
    assert!(!film.contains(0));
}

fn a_piece_that_is_abandoned_leaves_nothing_and_can_come_anew<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = film(&cache, 2, LEN);
    film.write(0, 0, &[1; 1000]).unwrap();
    assert!(cache.stats().states.assembling >= LEN as u64, "the first block reserves it whole");
    assert_eq!(
        (film.abandon(0), film.abandon(0), film.abandon(1)),
        (Ok(true), Ok(false), Ok(false))
    );
    let stats = cache.stats();
    assert_eq!((stats.states.assembling, film.stats().assembling_pieces), (0, 0));
    // Nothing of the first try shines through.
    assert_eq!(film.write(0, 1000, &[2; LEN - 1000]), Ok(Progress::Partial { written: 64_536 }));
    film.write(0, 0, &[2; 1000]).unwrap();
    film.commit(0).unwrap();
    assert!(film.get(0).unwrap().iter().all(|byte| *byte == 2));
}

fn an_assembly_without_progress_expires<R: Reclaim>() {
    let (cache, clock) = timed_cache::<R>(MIB);
    let options = StorageOptions::default().assembly_limit(Duration::from_secs(10));
    let film = cache.add_storage_with(layout(8, LEN), options).unwrap();
    film.write(0, 0, &[1; 10]).unwrap();
    film.write(1, 0, &[1; 10]).unwrap();
    clock.advance(Duration::from_secs(9));
    film.write(1, 10, &[1; 10]).unwrap(); // progress
    clock.advance(Duration::from_secs(1));
    film.write(2, 0, &[1; 10]).unwrap(); // opening one sweeps up
    assert_eq!(film.stats().assembling_pieces, 2, "0 expired, 1 made progress");
    assert_eq!(film.commit(0).unwrap_err(), Error::NotOpen { piece: 0 });
    assert!(matches!(film.commit(1), Err(Error::Incomplete { written: 20, .. })));
}

fn assemblies_together_take_at_most_half_the_budget<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = film(&cache, 64, LEN);
    let mut open = Vec::new();
    let refused = loop {
        let piece = open.len() as u32;
        match film.write(piece, 0, &[1; 10]) {
            Ok(_) => open.push(piece),
            Err(error) => break error,
        }
        assert!(cache.stats().states.assembling <= MIB as u64 / 2);
    };
    let Error::AssembliesFull { needed, limit, assembling } = refused else { panic!("{refused}") };
    assert_eq!(limit, MIB as u64 / 2);
    assert!(assembling + needed > limit && needed > LEN as u64 && open.len() >= 4);
    assert_eq!(assembling, open.len() as u64 * needed, "each takes as much");
    // Later blocks of the open ones never fail for memory, however full the cache is.
    for piece in 32.. {
        if film.insert(piece, &of(piece, LEN)).is_err() || piece == 63 {
            break;
        }
    }
    for piece in &open {
        film.write(*piece, 10, &of(*piece, LEN)[10..]).unwrap();
        film.commit(*piece).unwrap();
    }
    assert!(cache.stats().resident_peak <= MIB as u64);
}

#[test]
fn the_assembly_that_is_wanted_least_makes_room_for_one_that_is_wanted() {
    let cache = cache::<Interval>(MIB);
    let film = film(&cache, 64, LEN);
    let kept = cache
        .add_storage_with(layout(64, LEN), StorageOptions::default().keep_assemblies(true))
        .unwrap();
    kept.write(0, 0, &[1; 10]).unwrap();
    let mut open = 0;
    while film.write(open, 0, &[1; 10]).is_ok() {
        open += 1;
    }
    let mut wait = film.wait(50);
    assert!(poll(&mut wait).is_pending());
    assert_eq!(film.write(50, 0, &of(50, LEN)[..10]), Ok(Progress::Partial { written: 10 }));
    assert_eq!(film.stats().assembling_pieces, open, "one went, one came");
    assert_eq!(kept.stats().assembling_pieces, 1, "its storage forbids it");
    assert!(matches!(film.write(51, 0, &[1; 10]), Err(Error::AssembliesFull { .. })));
}

#[test]
fn none_is_dropped_for_one_that_cannot_fit() {
    let cache = cache::<Interval>(MIB);
    let (small, film) = (film(&cache, 4, KIB), film(&cache, 4, LEN));
    small.write(0, 0, &[1; 10]).unwrap();
    let mut wait = film.wait(1);
    assert!(poll(&mut wait).is_pending(), "it is wanted more");
    // Half of it is what the piece takes, without what stands beside it.
    let piece = LEN as u64 + 128;
    cache.set_budget(2 * piece).unwrap();
    let refused = film.write(1, 0, &[1; 10]).unwrap_err();
    let Error::AssembliesFull { needed, limit, .. } = refused else { panic!("{refused}") };
    assert!(needed > limit && limit == piece);
    assert_eq!(small.stats().assembling_pieces, 1);
}

/// What a hasher has seen, of a verifier that judges by hashers alone.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Vec<u8>>>>);

impl Verifier for Seen {
    fn begin(&self, _: u32) -> Option<Box<dyn PieceHasher>> {
        Some(Box::new(self.clone()))
    }

    fn verify(&self, _: u32, _: &[u8]) -> bool {
        panic!("the bytes were seen as they came")
    }
}

impl PieceHasher for Seen {
    fn update(&mut self, bytes: &[u8]) {
        self.0.lock().unwrap().push(bytes.to_vec());
    }

    fn matches(self: Box<Self>) -> bool {
        self.0.lock().unwrap().concat() == of(0, LEN)
    }
}

#[test]
fn bytes_are_hashed_as_soon_as_there_is_no_gap_before_them() {
    let seen = Seen::default();
    let film: Storage = verified(seen.clone(), 1);
    let whole = of(0, LEN);
    let portions = || seen.0.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>();
    let write = |part: std::ops::Range<usize>| film.write(0, part.start as u32, &whole[part]);
    write(0..100).unwrap();
    assert_eq!(portions(), [100]);
    write(200..300).unwrap();
    write(50..100).unwrap();
    assert_eq!(portions(), [100], "nothing new that is in order");
    write(100..200).unwrap();
    assert_eq!(portions(), [100, 200]);
    assert_eq!(write(300..LEN), Ok(Progress::Published));
    assert_eq!(portions(), [100, 200, LEN - 300]);
}

#[test]
fn who_reads_what_arrives_is_woken_when_there_is_more_to_read() {
    let cache = cache::<Interval>(MIB);
    let options = StorageOptions::default().readable_prefix(true);
    let film = cache.add_storage_with(layout(1, LEN), options).unwrap();
    let mut player = film.player(PlayerConfig::default()).unwrap();
    let (woken, mut buffer) = (Arc::new(Woken::default()), [0; 500]);
    let waker = Waker::from(Arc::clone(&woken));
    let mut read =
        || Pin::new(&mut player).poll_read(&mut Context::from_waker(&waker), &mut buffer);
    assert!(read().is_pending());
    let whole = of(0, LEN);
    film.write(0, 300, &whole[300..400]).unwrap();
    assert_eq!(woken.times(), 0, "after a gap");
    film.write(0, 0, &whole[..300]).unwrap();
    assert_eq!(woken.times(), 1);
    assert!(matches!(read(), Poll::Ready(Ok(400))));
    assert!(read().is_pending());
    film.write(0, 400, &whole[400..]).unwrap();
    assert_eq!(woken.times(), 2, "complete, and not yet committed");
    assert!(matches!(read(), Poll::Ready(Ok(500))));
}

#[test]
fn only_what_is_written_can_be_read_of_a_piece_that_arrives() {
    let cache = cache::<Interval>(MIB);
    let options = StorageOptions::default().readable_prefix(true);
    let film = cache.add_storage_with(layout(2, 1000), options).unwrap();
    assert!(film.arriving(0).is_none());
    let whole = of(0, 1000);
    film.write(0, 500, &whole[500..600]).unwrap();
    assert_eq!(film.arriving(0).unwrap().len(), 0, "a gap at the start");
    film.write(0, 0, &whole[..300]).unwrap();
    let prefix = film.arriving(0).unwrap();
    assert_eq!(prefix[..], whole[..300]);
    film.write(0, 300, &whole[300..500]).unwrap();
    assert_eq!(film.arriving(0).unwrap()[..], whole[..600]);
    film.write(1, 0, &[1]).unwrap();
    assert_eq!([0, 1].map(|piece| film.arriving(piece).unwrap().piece()), [0, 1]);
    assert_eq!(prefix.len(), 300, "a handle stays as it is");
    film.abandon(0).unwrap();
    assert_eq!(prefix[..], whole[..300], "whatever becomes of the piece");
    // Not where the storage does not allow it.
    let strict = common::film(&cache, 1, 1000);
    strict.write(0, 0, &[1; 10]).unwrap();
    assert!(strict.arriving(0).is_none());
}

#[test]
fn engines_read_back_what_they_wrote_and_nothing_else() {
    let film = film(&cache::<Interval>(MIB), 1, 1000);
    let whole = of(0, 1000);
    film.write(0, 200, &whole[200..500]).unwrap();
    let written = film.read_back(0, 250, 250).unwrap();
    assert_eq!(written, whole[250..500]);
    for (offset, len) in [(0, 10), (199, 2), (499, 2), (500, 1), (0, 1000)] {
        let missing = film.read_back(0, offset, len).unwrap_err();
        assert_eq!(missing, Error::Missing { piece: 0 }, "{offset} + {len}");
    }
    film.write(0, 0, &whole).unwrap();
    film.commit(0).unwrap();
    let at = written.as_ptr();
    let published = film.read_back(0, 0, 1000).unwrap();
    assert_eq!(published, whole, "published pieces too");
    assert_eq!(published[250..].as_ptr(), at, "without a copy");
    film.evict(0..1).unwrap();
    film.insert(0, &vec![9; 1000]).unwrap();
    assert_eq!(written, whole[250..500], "held, whatever became of the piece");
}

#[test]
fn a_whole_piece_takes_the_place_of_one_that_is_half_here() {
    let cache = cache::<Interval>(MIB);
    let film = film(&cache, 1, LEN);
    film.write(0, 0, &[9; 100]).unwrap();
    assert_eq!(film.insert(0, &of(0, LEN)), Ok(Insert::Published));
    assert_eq!(film.get(0).unwrap()[..], of(0, LEN));
    let stats = cache.stats();
    assert_eq!((stats.states.assembling, film.stats().assembling_pieces), (0, 0));
    assert_eq!(film.write(0, 100, &[9; 100]), Ok(Progress::Published));
}
