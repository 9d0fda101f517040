//! A thread parked anywhere in reading, publishing and evicting stops nobody.
//!
//! While one thread stands still, two writers insert more than there is room for, and a reader
//! takes snapshots and handles. What the parked thread may keep is what one snapshot would, a
//! buffer and the nodes of a version, and the passes of the film it was collecting in; so the
//! writer beside it in the same film may be refused for want of memory while it stands in a pass,
//! and nowhere else.
#![cfg(shuttle)]

use lookbehind::{Cache, Layout, Storage, StorageOptions};
use shuttle_tests::parking::{Cast, Place, at_every_step};
use shuttle_tests::scene::{bytes, cache, check, film, refused, settled, within};

const LEN: usize = 1000;
const BUDGET: usize = 32 << 10;
/// Pieces of a film: more than there is room for.
const PIECES: u32 = 40;
/// Pieces that each writer inserts.
const WORK: u32 = 24;

/// A cache with a film that the parked thread works on, and another one.
struct Scene {
    cache: Cache,
    /// Has a share of four pieces, all taken.
    near: Storage,
    far: Storage,
}

impl Scene {
    fn new() -> Self {
        let cache = cache(BUDGET);
        let layout = Layout::fixed(u64::from(PIECES) * LEN as u64, LEN as u32).unwrap();
        let options = StorageOptions::default().share(4 * 1152);
        let near = cache.add_storage_with(layout, options).unwrap();
        let far = film(&cache, PIECES, LEN as u32);
        for piece in 0..4 {
            near.insert(piece, &bytes(1, piece, 0, LEN)).unwrap();
        }
        far.insert(0, &bytes(2, 0, 0, LEN)).unwrap();
        Self { cache, near, far }
    }
}

/// Parks what `parked` makes of the scene.
fn park(name: &str, parked: impl Fn(&Scene) -> Box<dyn FnOnce() + Send> + Send + Sync + 'static) {
    at_every_step(name, move |place| {
        let scene = Scene::new();
        let (near, far) = (scene.near.clone(), scene.far.clone());
        let place = Place::clone(place);
        let others: Vec<Box<dyn FnOnce() + Send>> = vec![
            Box::new({
                let far = far.clone();
                move || insert(&far)
            }),
            Box::new({
                let near = near.clone();
                move || insert_beside(&near, &place)
            }),
            Box::new({
                let (near, far) = (near.clone(), far.clone());
                move || read(&near, &far)
            }),
        ];
        Cast {
            parked: parked(&scene),
            others,
            after: Box::new(move || {
                let Scene { cache, near, far } = scene;
                drop((near, far));
                within(&cache, BUDGET);
                settled(&cache);
            }),
        }
    });
}

/// Inserts more than there is room for, which must succeed.
fn insert(film: &Storage) {
    for piece in 1..=WORK {
        film.insert(piece, &bytes(2, piece, 1, LEN)).unwrap();
    }
    film.evict(1..3).unwrap();
}

/// The same in the film of the parked thread.
fn insert_beside(film: &Storage, place: &Place) {
    for piece in 10..10 + WORK / 4 {
        if refused(film.insert(piece, &bytes(1, piece, 1, LEN))) {
            let functions = place.functions();
            let passing = functions.iter().any(|function| function.contains("sweep.rs"));
            assert!(passing, "refused beside a thread in {functions:#?}");
        }
    }
}

/// Keeps one piece of the far film at most, lest the writer there be refused for the reader's sake.
fn read(near: &Storage, far: &Storage) {
    let (near, reader) = (near.reader(), far.reader());
    for _ in 0..3 {
        let snapshot = near.snapshot();
        for piece in snapshot.runs().flatten() {
            check(1, piece, snapshot.get(piece).unwrap());
        }
        let snapshot = reader.snapshot_range(0..1);
        let held = snapshot.held(0).or_else(|| far.get(0).ok());
        drop(snapshot);
        held.iter().for_each(|held| {
            check(2, 0, held);
        });
    }
}

#[test]
fn insert_with_an_eviction() {
    park("insert with an eviction", |scene| {
        let near = scene.near.clone();
        Box::new(move || {
            near.insert(4, &bytes(1, 4, 2, LEN)).unwrap();
        })
    });
}
