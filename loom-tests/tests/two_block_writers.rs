//! Two writers write blocks of one piece, which overlap: each byte is the first writer's, one of
//! them completes the piece, and whoever commits or verifies it has seen every byte. The bytes
//! are visible to loom by cells of the assembly.
#![cfg(loom)]

use std::sync::Arc;

use lookbehind::model::Specification;
use lookbehind::{
    Error, Interval, PieceHasher, Progress, Reclaim, Result, Storage, StorageOptions, Verifier,
    verify_fn,
};
use loom::thread;
use loom_tests::{LEN, check, film, settle};

/// The first three bytes, all of one; and the last three, all of two.
fn blocks() -> [(u32, [u8; 3]); 2] {
    [(0, [1; 3]), (1, [2; 3])]
}

/// A block is claimed in one step, so that what overlaps is one writer's as a whole.
fn whole(bytes: &[u8]) -> bool {
    bytes == [1, 1, 1, 2] || bytes == [1, 2, 2, 2]
}

/// Both write and then do `then`, with what came of their writes.
fn race<R: Reclaim, T: 'static>(
    film: &Storage<R>,
    then: fn(&Storage<R>, Result<Progress>) -> T,
) -> [T; 2] {
    let [first, second] = blocks();
    let other = film.clone();
    let thread = thread::spawn(move || then(&other, other.write(0, first.0, &first.1)));
    let mine = then(film, film.write(0, second.0, &second.1));
    [thread.join().unwrap(), mine]
}

/// Both commit, whether they completed the piece or not.
fn commit<R: Reclaim>() {
    let (cache, film) = film::<R>(1, StorageOptions::default());
    let done = race(&film, |film, progress| (progress.unwrap(), film.commit(0)));
    let completes = done.iter().filter(|(progress, _)| *progress == Progress::Complete);
    assert_eq!(completes.count(), 1, "one of them completes the piece");
    for (progress, committed) in &done {
        match (progress, committed) {
            (_, Ok(())) => {}
            (Progress::Partial { .. }, Err(Error::Incomplete { .. })) => {}
            // The other one was about to publish it.
            (_, Err(error)) => assert_eq!(error, &Error::NotOpen { piece: 0 }),
        }
    }
    assert!(done.iter().any(|(_, committed)| committed.is_ok()));
    assert!(whole(&film.get(0).unwrap()));
    assert_eq!(cache.stats().states.assembling, 0);
    settle(&cache, &film);
}

#[test]
fn both_commit() {
    check("two_block_writers, both commit", 2, commit::<Interval>);
}

#[test]
fn both_commit_above_the_specification() {
    check("two_block_writers, both commit above the specification", (2, 3), || {
        commit::<Specification>();
    });
}

/// A verifier judges the piece once: whoever completes it.
fn verified(verifier: impl Verifier + 'static) {
    let options = StorageOptions::default().verifier(Arc::new(verifier));
    let (cache, film) = film::<Specification>(1, options);
    let done = race(&film, |_, progress| progress.unwrap());
    assert!(done.contains(&Progress::Published));
    assert!(whole(&film.get(0).unwrap()));
    assert_eq!(cache.stats().states.assembling, 0);
    settle(&cache, &film);
}

#[test]
fn verified_as_a_whole() {
    check("two_block_writers, a verifier", (1, 3), || verified(verify_fn(|_, all| whole(all))));
}

/// Hashes by remembering.
struct Remembering;

struct Remembered(Vec<u8>);

impl Verifier for Remembering {
    fn begin(&self, _: u32) -> Option<Box<dyn PieceHasher>> {
        Some(Box::new(Remembered(Vec::new())))
    }

    fn verify(&self, _: u32, bytes: &[u8]) -> bool {
        whole(bytes)
    }
}

impl PieceHasher for Remembered {
    fn update(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn matches(self: Box<Self>) -> bool {
        whole(&self.0)
    }
}

/// The hasher is a token that goes from writer to writer.
#[test]
fn hashed_while_it_arrives() {
    check("two_block_writers, a hasher", (1, 3), || verified(Remembering));
}

/// The assembly is dropped meanwhile: the piece comes whole, or not at all.
#[test]
fn abandoned() {
    check("two_block_writers, abandoned", (1, 2), || {
        let (cache, film) = film::<Specification>(1, StorageOptions::default());
        let abandoning = film.clone();
        let thread = thread::spawn(move || abandoning.abandon(0));
        let done = race(&film, |film, progress| {
            let complete = progress == Ok(Progress::Complete);
            complete && film.commit(0).is_ok()
        });
        thread.join().unwrap().unwrap();
        let shown = film.get(0);
        assert_eq!(shown.is_ok(), done.contains(&true));
        if let Ok(shown) = shown {
            assert!(whole(&shown));
        }
        film.abandon(0).unwrap();
        assert_eq!(cache.stats().states.assembling, 0);
        settle(&cache, &film);
    });
}

/// The assembly is dropped while the piece is being committed, and another block comes: it opens
/// an assembly that stays only if the piece was not published.
#[test]
fn abandoned_while_committed() {
    check("two_block_writers, abandoned while committed", 3, || {
        let (cache, film) = film::<Specification>(1, StorageOptions::default());
        assert_eq!(film.write(0, 0, &[1; LEN]), Ok(Progress::Complete));
        let other = film.clone();
        let committing = thread::spawn(move || other.commit(0));
        film.abandon(0).unwrap();
        let written = film.write(0, 0, &[2; 3]);
        let committed = committing.join().unwrap();
        assert_eq!(committed.is_ok(), film.contains(0));
        if committed.is_ok() {
            assert_eq!(cache.stats().states.assembling, 0, "nobody can complete it any more");
            assert_eq!(*film.get(0).unwrap(), [1; LEN]);
        } else {
            assert_eq!(written, Ok(Progress::Partial { written: 3 }));
            assert_eq!(film.abandon(0), Ok(true));
        }
        settle(&cache, &film);
    });
}

/// What is written of the piece is read beside the writers: the prefix, and a range.
fn read_beside(read: fn(&Storage<Specification>)) {
    let options = StorageOptions::default().readable_prefix(true);
    let (cache, film) = film::<Specification>(1, options);
    let reading = film.clone();
    let reader = thread::spawn(move || read(&reading));
    let done = race(&film, |_, progress| progress.unwrap());
    assert!(done.contains(&Progress::Complete));
    reader.join().unwrap();
    film.commit(0).unwrap();
    settle(&cache, &film);
}

#[test]
fn arriving() {
    check("two_block_writers, an arriving prefix", (1, 3), || {
        read_beside(|film| {
            if let Some(arriving) = film.arriving(0) {
                let bytes = &*arriving;
                let prefixes: [&[u8]; 5] = [&[], &[1; 3], &[1, 1, 1, 2], &[1, 2, 2, 2], &[1]];
                assert!(prefixes.contains(&bytes), "{bytes:?}");
            }
        });
    });
}

#[test]
fn read_back() {
    check("two_block_writers, read back", (1, 3), || {
        read_beside(|film| {
            match film.read_back(0, 1, 2) {
                Ok(bytes) => assert!(bytes == [1; 2][..] || bytes == [2; 2][..]),
                Err(error) => assert_eq!(error, Error::Missing { piece: 0 }),
            }
            if let Ok(all) = film.read_back(0, 0, LEN as u32) {
                assert!(whole(&all));
            }
        });
    });
}
