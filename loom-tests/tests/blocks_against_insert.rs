//! Blocks of a piece arrive while the whole piece is inserted: whoever comes second sees the other,
//! so that no assembly of a published piece stays open.
#![cfg(loom)]

use std::sync::Arc;

use lookbehind::model::Specification;
use lookbehind::{
    Cache, Error, Insert, Interval, Layout, PieceHasher, Progress, Reclaim, Storage,
    StorageOptions, Verifier,
};
use loom::thread;
use loom_tests::check;

/// Large enough that publishing one makes no pass, whose fence would stand in for others.
const LEN: usize = 4096;

fn model<R: Reclaim>() {
    let cache = Cache::builder().budget(1 << 20).build_with::<R>().unwrap();
    let film = cache.add_storage(Layout::fixed(LEN as u64, LEN as u32).unwrap()).unwrap();
    let writing = film.clone();
    let writer = thread::spawn(move || match writing.write(0, 0, &[7; 8]) {
        Ok(Progress::Partial { .. } | Progress::Published) | Err(Error::NotOpen { .. }) => {}
        other => panic!("{other:?}"),
    });
    film.insert(0, &[7; LEN]).unwrap();
    writer.join().unwrap();
    assert_eq!(cache.stats().states.assembling, 0, "an assembly was left open");
}

#[test]
fn first_block() {
    check("blocks_against_insert, the first block", 2, model::<Interval>);
}

/// Whose announcement has no fence that would stand in for the one of `open`.
#[test]
fn first_block_above_the_specification() {
    check("blocks_against_insert, the first block above the specification", 2, || {
        model::<Specification>();
    });
}

/// Inserts the whole piece just when the first block of it opens an assembly.
#[derive(Default)]
struct Inserts(std::sync::Mutex<Option<Storage<Specification>>>);

impl Verifier for Inserts {
    fn begin(&self, piece: u32) -> Option<Box<dyn PieceHasher>> {
        let film = self.0.lock().unwrap().take()?;
        assert_eq!(film.insert(piece, &[7; LEN]), Ok(Insert::Published));
        None
    }

    fn verify(&self, _: u32, _: &[u8]) -> bool {
        true
    }
}

/// The piece came whole while a first block opens an assembly, and goes again: what is written
/// anew is not dropped with the old.
#[test]
fn written_anew() {
    check("blocks_against_insert, written anew", (1, 2), || {
        let cache = Cache::builder().budget(1 << 20).build_with::<Specification>().unwrap();
        let inserts = Arc::new(Inserts::default());
        let options = StorageOptions::default().verifier(inserts.clone());
        let layout = Layout::fixed(LEN as u64, LEN as u32).unwrap();
        let film = cache.add_storage_with(layout, options).unwrap();
        *inserts.0.lock().unwrap() = Some(film.clone());
        let other = film.clone();
        let anew =
            thread::spawn(move || (other.evict(0..1) == Ok(1)).then(|| other.write(0, 8, &[7; 8])));
        let _ = film.write(0, 0, &[7; 8]);
        if let Some(Ok(Progress::Partial { .. })) = anew.join().unwrap() {
            assert_eq!(film.abandon(0), Ok(true), "what was written anew is gone");
        }
    });
}
