//! Blocks of a piece arrive while the whole piece is inserted: whoever comes second sees the other,
//! so that no assembly of a published piece stays open.
#![cfg(loom)]

use lookbehind::model::Specification;
use lookbehind::{Cache, Error, Interval, Layout, Progress, Reclaim};
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
