//! What a call costs beside many readers who are there and do nothing.

use lookbehind::{Cache, Insert, Layout, Reader, Storage};

use crate::draw::Draw;
use crate::figures::Row;
use crate::rounds::{Plan, Probe, probes};
use crate::stock::{Key, Shape, touch};

/// A film of 64 pieces, so many readers of which nobody reads, and one of whom somebody does.
struct Readers {
    film: Storage,
    reader: Reader,
    _idle: Vec<Reader>,
    count: u32,
}

const HOT: Shape = Shape { storages: 1, pieces: 64, len: 64 };

/// Hits and a replaced piece beside so many idle readers; ratios are to the first number of them.
///
/// # Panics
/// If a cache cannot be set up.
#[must_use]
pub fn by_readers(counts: &[u32], plan: Plan) -> Vec<Row> {
    let scene = |&count: &u32| {
        let cache = Cache::builder().budget(16 << 20).build().expect("a budget");
        let len = HOT.len as u32;
        let layout = Layout::fixed(u64::from(HOT.pieces * len), len).expect("a layout");
        let film = cache.add_storage(layout).expect("room for a table");
        for piece in 0..HOT.pieces {
            film.insert(piece, &[7; HOT.len]).expect("room for a piece");
        }
        let reader = film.reader();
        let _idle = (0..count).map(|_| film.reader()).collect();
        Readers { film, reader, _idle, count }
    };
    let scenes: Vec<Readers> = counts.iter().map(scene).collect();
    let draw = || Draw::all(&HOT, 1);
    let mut list = Vec::new();
    for Readers { film, reader, count, .. } in &scenes {
        let hit = |key: Key| reader.snapshot().get(key.piece).map_or(0, touch);
        list.push(Probe::drawing(format!("{count} readers, snapshot per call"), draw(), hit));
        let hit = |key: Key| film.get(key.piece).map_or(0, |held| touch(&held));
        list.push(Probe::drawing(format!("{count} readers, without a reader"), draw(), hit));
        let replace = |Key { piece, .. }| {
            film.evict(piece..piece + 1).expect("room for a version");
            film.insert(piece, &[7; HOT.len]).map_or(0, |done| u64::from(done == Insert::Published))
        };
        list.push(Probe::drawing(format!("{count} readers, piece replaced"), draw(), replace));
    }
    probes(list, plan)
}
