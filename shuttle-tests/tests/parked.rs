//! A thread parked anywhere in reading, publishing and evicting stops nobody.
//!
//! While one thread stands still in one film, a writer inserts more than there is room for in
//! another one, a second writer works beside the thread, and a reader takes snapshots and handles
//! in both. What the parked thread may keep of the budget is a buffer, the nodes of a version and
//! the one piece that it looks at, or, in a pass, what is unpublished in its film; so a call that
//! finds no room may say so while it keeps all there is, but it returns.
#![cfg(shuttle)]

use std::ops::Range;

use lookbehind::{Cache, Held, Layout, Storage, StorageOptions};
use shuttle::thread::yield_now;
use shuttle_tests::parking::{Cast, Place, at_every_step};
use shuttle_tests::scene::{bytes, cache, check, film, refused, settled, within};

const LEN: usize = 1000;
/// What the budget counts for a piece.
const SIZE: u64 = 1152;
const BUDGET: usize = 32 << 10;
/// Pieces of a film: more than there is room for.
const PIECES: u32 = 40;
/// Pieces that the writer inserts.
const WORK: u32 = 24;

type Task = Box<dyn FnOnce() + Send>;

/// A cache with a film that the parked thread works on, and another one.
struct Scene {
    cache: Cache,
    /// Shows the pieces 0 to 3; some passes left something of older ones.
    near: Storage,
    /// Shows the piece 0.
    far: Storage,
}

impl Scene {
    fn new(options: StorageOptions) -> Self {
        let cache = cache(BUDGET);
        let layout = Layout::fixed(u64::from(PIECES) * LEN as u64, LEN as u32).unwrap();
        let near = cache.add_storage_with(layout, options).unwrap();
        let far = film(&cache, PIECES, LEN as u32);
        for piece in 0..4 {
            near.insert(piece, &bytes(1, piece, 0, LEN)).unwrap();
        }
        let reader = near.reader();
        let snapshot = reader.snapshot();
        near.evict(3..4).unwrap();
        near.insert(3, &bytes(1, 3, 0, LEN)).unwrap();
        drop(snapshot);
        for piece in 0..2 {
            far.insert(piece, &bytes(2, piece, 0, LEN)).unwrap();
        }
        // Makes a pass: nothing is left to collect there.
        far.evict(1..2).unwrap();
        Self { cache, near, far }
    }
}

/// Whether the second writer works in the film of the parked thread.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Yes,
    /// It does, and that film has all the room there is: the other writer needs it as well.
    Crowded,
    No,
}

/// Parks what `parked` makes of the scene.
fn park(
    name: &str,
    options: impl Fn() -> StorageOptions + Send + Sync + 'static,
    beside: Beside,
    parked: impl Fn(&Scene) -> Task + Send + Sync + 'static,
) {
    at_every_step(name, move |place| {
        let scene = Scene::new(options());
        let (near, far) = (scene.near.clone(), scene.far.clone());
        let mut others: Vec<Task> = Vec::new();
        let (film, there) = (far.clone(), place.clone());
        others.push(Box::new(move || insert(&film, &there, beside)));
        if beside != Beside::No {
            let (film, there) = (near.clone(), place.clone());
            others.push(Box::new(move || insert_beside(&film, &there)));
        } else {
            let film = far.clone();
            others.push(Box::new(move || evict(&film)));
        }
        others.push(Box::new(move || read(&near, &far)));
        Cast {
            parked: parked(&scene),
            others,
            after: Box::new(move || {
                let Scene { cache, near, far } = scene;
                assert!(cache.stats().published > 8);
                drop((near, far));
                within(&cache, BUDGET);
                settled(&cache);
            }),
        }
    });
}

/// Inserts pieces. Other threads that run may be in the way for a while, for a call that does not
/// wait is refused rather; the parked one only where it keeps what there is to be had.
fn insert_all(film: &Storage, place: &Place, id: u8, pieces: Range<u32>, may_keep: &[&str]) {
    for piece in pieces {
        let insert = || {
            yield_now();
            !refused(film.insert(piece, &bytes(id, piece, 1, LEN)))
        };
        if !(0..16).any(|_| insert()) {
            let due = keeps(place, may_keep);
            assert!(due, "refused beside a thread in {:#?}", place.functions());
            return;
        }
    }
}

/// Whether the parked thread may be in the way of others where it stands.
fn keeps(place: &Place, may_keep: &[&str]) -> bool {
    let functions = place.functions();
    // Among others, it may be as good as parked before it is: last in the order of PCT.
    let early = functions.is_empty() && !place.alone();
    early || functions.iter().any(|function| may_keep.iter().any(|file| function.contains(file)))
}

/// A thread that makes a pass reclaims for all who work in that film.
const KEEPING: &[&str] = &["pass in table/sweep.rs"];

/// Inserts more than there is room for. The parked thread may have come to this film as well, if
/// it saw the cache full; otherwise all pieces must find their place.
fn insert(film: &Storage, place: &Place, beside: Beside) {
    let apart = place.alone() && beside != Beside::Crowded;
    insert_all(film, place, 2, 1..1 + WORK, if apart { &[] } else { KEEPING });
    assert!(film.stats().present_pieces <= WORK);
}

/// The same in the film of the parked thread.
fn insert_beside(film: &Storage, place: &Place) {
    insert_all(film, place, 1, 10..16, KEEPING);
    if refused(film.evict(10..12)) {
        assert!(keeps(place, KEEPING), "refused beside a thread in {:#?}", place.functions());
    }
}

fn evict(film: &Storage) {
    for piece in 0..4 {
        film.evict(piece..2 * piece).unwrap();
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
        let held: Option<Held> = snapshot.held(0).or_else(|| far.get(0).ok());
        drop(snapshot);
        held.iter().for_each(|held| {
            check(2, 0, held);
        });
    }
}

/// The film is at its share, so that one of its pieces must go.
#[test]
fn insert_with_an_eviction() {
    let share = || StorageOptions::default().share(4 * SIZE);
    park("insert with an eviction", share, Beside::Yes, |scene| {
        let near = scene.near.clone();
        Box::new(move || {
            refused(near.insert(4, &bytes(1, 4, 2, LEN)));
        })
    });
}

/// The film has all the room there is: the others must make theirs out of it, beside a thread that
/// does the same.
#[test]
fn insert_into_a_full_cache() {
    park("insert into a full cache", StorageOptions::default, Beside::Crowded, |scene| {
        let near = scene.near.clone();
        for piece in 16..PIECES {
            refused(near.insert(piece, &bytes(1, piece, 0, LEN)));
        }
        Box::new(move || {
            refused(near.insert(4, &bytes(1, 4, 2, LEN)));
        })
    });
}

#[test]
fn insert_with_room() {
    park("insert", StorageOptions::default, Beside::Yes, |scene| {
        let near = scene.near.clone();
        Box::new(move || {
            refused(near.insert(4, &bytes(1, 4, 2, LEN)));
        })
    });
}

#[test]
fn evict_and_pass() {
    park("evict", StorageOptions::default, Beside::Yes, |scene| {
        let near = scene.near.clone();
        Box::new(move || {
            near.evict(0..2).unwrap();
        })
    });
}

#[test]
fn snapshot() {
    park("snapshot", StorageOptions::default, Beside::Yes, |scene| {
        let reader = scene.near.reader();
        Box::new(move || {
            let snapshot = reader.snapshot();
            for piece in snapshot.runs().flatten() {
                check(1, piece, snapshot.get(piece).unwrap());
            }
        })
    });
}

/// A handle is taken; one of an evicted piece is dropped, which hands the buffer back.
#[test]
fn handle() {
    park("handle", StorageOptions::default, Beside::Yes, |scene| {
        let near = scene.near.clone();
        let last = near.get(0).unwrap();
        near.evict(0..1).unwrap();
        Box::new(move || {
            let held = near.get(1);
            drop(last);
            held.iter().for_each(|held| {
                check(1, 1, held);
            });
        })
    });
}

/// Blocks have a mutex of their film's, and one of their piece's: who works in other films goes
/// on, and so does who reads.
#[test]
fn blocks() {
    park("blocks and commit", StorageOptions::default, Beside::No, |scene| {
        let near = scene.near.clone();
        Box::new(move || {
            let whole = bytes(1, 4, 2, LEN);
            if !refused(near.write(4, 0, &whole[..300])) {
                refused(near.write(4, 200, &whole[200..]));
                near.commit(4).ok();
                near.abandon(4).ok();
            }
        })
    });
}

/// The same for waits, and for players and what they want.
#[test]
fn wait() {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};
    park("wait", StorageOptions::default, Beside::No, |scene| {
        let near = scene.near.clone();
        Box::new(move || {
            let mut wait = pin!(near.wait(5));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(wait.as_mut().poll(&mut cx).is_pending());
            let fetch = near.wanted().try_next().unwrap();
            assert_eq!(fetch.piece(), 5);
        })
    });
}

/// Storages are added and removed under a mutex that only such calls wait for.
#[test]
fn storages() {
    park("remove and add a storage", StorageOptions::default, Beside::No, |scene| {
        let (cache, near) = (scene.cache.clone(), scene.near.clone());
        Box::new(move || {
            near.remove().unwrap();
            drop(near);
            cache.add_storage(Layout::fixed(1, 1).unwrap()).ok();
        })
    });
}
