//! Whether a hit costs the same in a large cache: 64 hot pieces of 64 bytes, in films of ever
//! more pieces, and in caches of ever more films. So few lines are touched that caches of the
//! machine miss none of them.

use lookbehind::{Cache, Layout, Reader, Snapshot, Storage};

use crate::draw::Draw;
use crate::figures::Row;
use crate::rounds::{Plan, Probe, probes};
use crate::stock::{Key, Shape, touch};

const LEN: u32 = 64;
/// Hot pieces.
const HOT: u32 = 64;

/// A film, and what is drawn from it.
struct Scene {
    label: String,
    reader: Reader,
    draw: Draw,
}

/// Films of so many pieces each, powers of two; the first is what the others are compared with.
///
/// # Panics
/// If a cache cannot be set up.
#[must_use]
pub fn by_pieces(sizes: &[u32], plan: Plan) -> Vec<Row> {
    let scene = |&pieces: &u32| {
        let film = &films(1, pieces)[0];
        let shape = Shape { storages: 1, pieces, len: LEN as usize };
        let draw = Draw::spread(&shape, HOT.min(pieces), 1);
        Scene { label: format!("{pieces} pieces"), reader: film.reader(), draw }
    };
    measure(&sizes.iter().map(scene).collect::<Vec<_>>(), plan)
}

/// Caches of so many films each, of which one is read.
///
/// # Panics
/// If a cache cannot be set up.
#[must_use]
pub fn by_storages(sizes: &[u32], plan: Plan) -> Vec<Row> {
    let shape = Shape { storages: 1, pieces: HOT, len: LEN as usize };
    let scene = |&count: &u32| {
        let films = films(count, HOT);
        let reader = films[count as usize / 2].reader();
        Scene { label: format!("{count} storages"), reader, draw: Draw::all(&shape, 1) }
    };
    measure(&sizes.iter().map(scene).collect::<Vec<_>>(), plan)
}

/// A cache of so many films, all pieces present.
fn films(count: u32, pieces: u32) -> Vec<Storage> {
    let all = u64::from(count) * u64::from(pieces);
    let budget = (32 << 20) + u64::from(count) * (16 << 10) + all * 1024;
    let cache = Cache::builder().budget(budget).build().expect("a budget");
    let layout = Layout::fixed(u64::from(pieces) * u64::from(LEN), LEN).expect("a layout");
    let film = || cache.add_storage(layout.clone()).expect("room for a table");
    let films: Vec<_> = (0..count).map(|_| film()).collect();
    for film in &films {
        for piece in 0..pieces {
            film.insert(piece, &[7; LEN as usize]).expect("room for a piece");
        }
    }
    films
}

fn measure(scenes: &[Scene], plan: Plan) -> Vec<Row> {
    let snapshots: Vec<Snapshot<'_>> = scenes.iter().map(|scene| scene.reader.snapshot()).collect();
    let mut list = Vec::new();
    for (scene, snapshot) in scenes.iter().zip(&snapshots) {
        let name = format!("{}, snapshot kept", scene.label);
        list.push(Probe::drawing(name, scene.draw.clone(), |key| {
            snapshot.get(key.piece).map_or(0, touch)
        }));
    }
    for scene in scenes {
        let name = format!("{}, snapshot per call", scene.label);
        let hit = |key: Key| scene.reader.snapshot().get(key.piece).map_or(0, touch);
        list.push(Probe::drawing(name, scene.draw.clone(), hit));
    }
    for scene in scenes {
        let name = format!("{}, without a reader", scene.label);
        let film = scene.reader.storage();
        list.push(Probe::drawing(name, scene.draw.clone(), |key| {
            film.get(key.piece).map_or(0, |held| touch(&held))
        }));
    }
    probes(list, plan)
}
