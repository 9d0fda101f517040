//! Things change while the cache is at work: here a user's code changes them, which it calls in
//! between, as another thread may at any time.

mod common;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use common::{KIB, MIB, built, fill, film, layout, of, pinned, present, timed_cache};
use lookbehind::{
    Cache, Candidate, Clock, Error, Eviction, Insert, Interval, Layout, NextUse, Observer,
    PieceHasher, Policy, Progress, Reason, Result, Storage, StorageOptions, Verifier,
};

const LEN: usize = 16 * KIB;
/// What a piece takes.
const SIZE: u64 = LEN as u64 + 128;

/// Something to be done once, in the midst of something else; given the piece that this is about.
type Act = Box<dyn FnMut(u32) + Send>;

/// Does it when the cache calls, and is out of the way while it does.
#[derive(Clone, Default)]
struct Meanwhile(Arc<Mutex<Option<Act>>>);

impl Meanwhile {
    fn set(&self, act: impl FnMut(u32) + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(act));
    }

    fn happen(&self, piece: u32) {
        let act = self.0.lock().unwrap().take();
        if let Some(mut act) = act {
            act(piece);
        }
    }

    fn has_happened(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }
}

impl Policy for Meanwhile {
    fn worth(&self, candidate: &Candidate) -> f64 {
        self.happen(candidate.piece);
        NextUse.worth(candidate)
    }
}

impl Observer for Meanwhile {
    fn evicted(&self, eviction: &Eviction) {
        self.happen(eviction.piece);
    }
}

/// Approves of everything; whole pieces only.
impl Verifier for Meanwhile {
    fn begin(&self, piece: u32) -> Option<Box<dyn PieceHasher>> {
        self.happen(piece);
        None
    }

    fn verify(&self, piece: u32, _: &[u8]) -> bool {
        self.happen(piece);
        true
    }
}

#[test]
fn memory_that_comes_back_while_a_victim_is_sought_is_found() {
    let meanwhile = Meanwhile::default();
    let cache = built::<Interval>(Cache::builder().policy(meanwhile.clone()), MIB);
    let film = film(&cache, 100, LEN);
    let mut held = pinned(&film, LEN);
    film.evict(0..1).unwrap();
    assert!(film.insert(99, &of(99, LEN)).is_err(), "a handle keeps it");
    let mut last = Some(held.swap_remove(0));
    meanwhile.set(move |_| drop(last.take()));
    assert_eq!(film.insert(99, &of(99, LEN)), Ok(Insert::Published));
    assert!(meanwhile.has_happened());
    assert_eq!(cache.stats().evictions, 1);
}

#[test]
fn a_piece_that_is_unpinned_while_a_victim_is_sought_is_found() {
    let meanwhile = Meanwhile::default();
    let builder = Cache::builder().policy(meanwhile.clone()).clock(Clock::manual());
    let cache = built::<Interval>(builder, MIB);
    let film = film(&cache, 100, LEN);
    fill(&film, 0..20);
    // Handles keep more than shrinking needs, so that only what gives memory back at once goes.
    let kept: Vec<_> = (0..10).map(|piece| film.get(piece).unwrap()).collect();
    let held: Vec<_> = (10..20).map(|piece| film.get(piece).ok()).collect();
    let held = Arc::new(Mutex::new(held));
    film.evict(0..10).unwrap();
    cache.set_budget(256 * KIB as u64).unwrap();
    let (own, pins) = (film.clone(), Arc::clone(&held));
    meanwhile.set(move |piece| {
        // This one was looked at already, and found pinned; and another one goes.
        pins.lock().unwrap()[piece as usize - 10] = None;
        let other = if piece == 19 { 18 } else { 19 };
        assert_eq!(own.evict(other..other + 1), Ok(1));
    });
    assert_eq!(cache.shrink(Duration::ZERO), Err(Error::TimedOut));
    assert!(meanwhile.has_happened());
    assert_eq!(cache.stats().evictions, 12, "{:?}", present(&film));
    drop((kept, held));
}

/// Each time that memory comes back it takes a piece's worth away, by the budget.
struct Thief {
    cache: Cache,
    waiting: Mutex<Pin<Box<dyn Future<Output = Result<Insert>> + Send>>>,
}

impl Wake for Thief {
    fn wake(self: Arc<Self>) {
        let _ = self.cache.set_budget(self.cache.budget() - SIZE);
        self.waits();
    }
}

impl Thief {
    fn waits(self: &Arc<Self>) {
        let waker = Waker::from(Arc::clone(self));
        let mut waiting = self.waiting.lock().unwrap();
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
}

#[test]
fn who_is_robbed_of_what_he_evicts_gives_up_before_all_is_gone() {
    let (cache, _clock) = timed_cache::<Interval>(MIB);
    let film = film(&cache, 100, LEN);
    // Its only piece is larger than its share: who inserts it waits for memory.
    let options = StorageOptions::default().share(1);
    let other = cache.add_storage_with(layout(1, 1), options).unwrap();
    fill(&film, 0..60);
    let full = cache.stats();
    cache.set_budget(full.resident).unwrap();
    let waiting = Box::pin(async move { other.insert_async(0, &[0], None).await });
    let thief = Arc::new(Thief { cache: cache.clone(), waiting: Mutex::new(waiting) });
    thief.waits();
    let refused = film.insert(60, &of(60, LEN)).unwrap_err();
    assert!(matches!(refused, Error::BudgetExhausted { .. }), "{refused}");
    assert_eq!(cache.stats().evictions, 17, "sixteen times what it needs, and one");
    assert_eq!(present(&film).len(), 60 - 17);
    // The cache has its waker, and it has the cache.
    *thief.waiting.lock().unwrap() = Box::pin(std::future::pending());
    assert_eq!(Arc::strong_count(&thief), 1);
}

/// A film whose verifier does something in between.
fn judged(cache: &Cache, layout: Layout, by: &Meanwhile) -> Storage {
    let options = StorageOptions::default().verifier(Arc::new(by.clone()));
    cache.add_storage_with(layout, options).unwrap()
}

/// Nothing is arriving any more, and nothing of the half that assemblies may take is lost.
fn nothing_is_left_open(cache: &Cache) {
    assert_eq!(cache.stats().states.assembling, 0);
    let other = film(cache, 100, LEN);
    let open: Vec<_> = (0..100).map(|piece| other.write(piece, 0, &[1])).collect();
    let open: Vec<_> = open.into_iter().take_while(Result::is_ok).collect();
    let full = other.write(99, 0, &[1]).unwrap_err();
    let Error::AssembliesFull { needed, assembling, .. } = full else { panic!("{full}") };
    assert_eq!(assembling, open.len() as u64 * needed);
    other.remove().unwrap();
}

#[test]
fn a_piece_that_is_published_while_its_assembly_opens_leaves_none_open() {
    let (cache, meanwhile) = (common::cache::<Interval>(MIB), Meanwhile::default());
    let film = judged(&cache, layout(4, LEN), &meanwhile);
    for block in [&of(0, LEN)[..], &of(0, LEN)[..100]] {
        let own = film.clone();
        meanwhile.set(move |piece| {
            assert_eq!(own.insert(piece, &of(piece, LEN)), Ok(Insert::Published));
        });
        let written = film.write(0, 0, block).unwrap();
        let partial = Progress::Partial { written: 100 };
        assert_eq!(written, if block.len() == LEN { Progress::Published } else { partial });
        assert_eq!(film.stats().assembling_pieces, 0);
        assert_eq!(film.write(0, 0, block), Ok(Progress::Published));
        assert_eq!(film.get(0).unwrap()[..], of(0, LEN));
        film.evict(0..1).unwrap();
    }
    nothing_is_left_open(&cache);
}

#[test]
fn a_film_that_is_removed_while_an_assembly_opens_has_none_open() {
    let (cache, meanwhile) = (common::cache::<Interval>(MIB), Meanwhile::default());
    let film = judged(&cache, layout(4, LEN), &meanwhile);
    let own = film.clone();
    meanwhile.set(move |_| own.remove().unwrap());
    let unknown = Error::UnknownStorage { id: film.id() };
    assert_eq!(film.write(0, 0, &of(0, LEN)[..100]), Err(unknown));
    assert_eq!(film.stats().assembling_pieces, 0);
    nothing_is_left_open(&cache);
}

#[test]
fn a_segment_that_falls_out_while_its_assembly_opens_has_none_open() {
    let (cache, meanwhile) = (common::cache::<Interval>(MIB), Meanwhile::default());
    let film = judged(&cache, Layout::segments(), &meanwhile);
    for _ in 0..3 {
        film.append_segment(LEN as u32).unwrap();
    }
    let own = film.clone();
    meanwhile.set(move |_| own.drop_segments_before(1).unwrap());
    assert_eq!(film.write(0, 0, &of(0, LEN)[..100]), Err(Error::NotOpen { piece: 0 }));
    assert_eq!(film.stats().assembling_pieces, 0);
    nothing_is_left_open(&cache);
}

#[test]
fn two_that_open_the_same_assembly_write_to_one() {
    let (cache, meanwhile) = (common::cache::<Interval>(MIB), Meanwhile::default());
    let film = judged(&cache, layout(4, LEN), &meanwhile);
    let own = film.clone();
    meanwhile.set(move |piece| {
        let first = own.write(piece, 100, &of(piece, LEN)[100..300]);
        assert_eq!(first, Ok(Progress::Partial { written: 200 }));
    });
    let whole = of(0, LEN);
    assert_eq!(film.write(0, 0, &whole[..200]), Ok(Progress::Partial { written: 300 }));
    assert_eq!(film.stats().assembling_pieces, 1);
    assert_eq!(film.write(0, 0, &whole), Ok(Progress::Published));
    assert_eq!(film.get(0).unwrap()[..], whole);
    nothing_is_left_open(&cache);
}

#[test]
fn a_segment_that_falls_out_while_it_is_judged_does_not_stay() {
    let (meanwhile, told) = (Meanwhile::default(), Arc::new(AtomicU32::new(0)));
    let seen = Arc::clone(&told);
    let builder = Cache::builder().observer(move |eviction: &Eviction| {
        assert_eq!((eviction.piece, eviction.reason), (0, Reason::Window));
        seen.fetch_add(1, Ordering::Relaxed);
    });
    let cache = built::<Interval>(builder, MIB);
    let film = judged(&cache, Layout::segments(), &meanwhile);
    for _ in 0..3 {
        film.append_segment(LEN as u32).unwrap();
    }
    let own = film.clone();
    meanwhile.set(move |_| own.drop_segments_before(1).unwrap());
    assert_eq!(film.insert(0, &of(0, LEN)), Ok(Insert::Published));
    assert_eq!((present(&film), told.load(Ordering::Relaxed)), (vec![], 1));
    fill(&film, 1..3);
    assert_eq!(present(&film), [1, 2]);
}

#[test]
fn blocks_that_come_while_their_piece_is_published_leave_nothing_open() {
    let meanwhile = Meanwhile::default();
    let cache = built::<Interval>(Cache::builder().observer(meanwhile.clone()), MIB);
    let film = film(&cache, 100, LEN);
    fill(&film, 0..20);
    assert_eq!(film.write(50, 0, &of(50, LEN)), Ok(Progress::Complete));
    // Full, so that something must go for the version that shows the piece.
    cache.set_budget(cache.stats().resident).unwrap();
    let own = film.clone();
    meanwhile.set(move |_| {
        assert_eq!(own.abandon(50), Ok(false), "its memory is being published");
        assert_eq!(own.write(50, 0, &[1; 100]), Ok(Progress::Partial { written: 100 }));
    });
    film.commit(50).unwrap();
    assert!(meanwhile.has_happened());
    assert_eq!(film.write(50, 100, &[1; 100]), Ok(Progress::Published));
    assert_eq!(film.get(50).unwrap()[..], of(50, LEN));
    assert_eq!(film.stats().assembling_pieces, 0);
    assert_eq!(cache.stats().states.assembling, 0);
}

#[test]
fn what_goes_while_its_film_is_removed_under_a_snapshot_comes_back_without_another_removal() {
    let meanwhile = Meanwhile::default();
    let cache = built::<Interval>(Cache::builder().observer(meanwhile.clone()), MIB);
    let (old, other) = (film(&cache, 10, LEN), film(&cache, 100, LEN));
    fill(&old, 0..2);
    // With a pass, so that nothing else of this film is to be looked for.
    assert_eq!(old.evict(1..2), Ok(1));
    let reader = old.reader();
    let snapshot = reader.snapshot();
    let own = old.clone();
    meanwhile.set(move |_| own.remove().unwrap());
    assert_eq!(old.evict(0..1), Ok(1));
    assert!(meanwhile.has_happened());
    assert_eq!(snapshot.get(0), Some(&of(0, LEN)[..]));
    drop(snapshot);
    // Who needs room looks for what has passed; the old film's handles are all still here.
    let room = cache.stats().budget / SIZE;
    fill(&other, 0..room as u32);
    assert!(cache.stats().states.limbo < SIZE, "{:?}", cache.stats().states);
    drop((reader, old));
}

/// Evicts the piece that was waited for, and begins to write it anew.
struct Anew(Storage);

impl Wake for Anew {
    fn wake(self: Arc<Self>) {
        assert_eq!(self.0.evict(0..1), Ok(1));
        let block = self.0.write(0, 0, &of(0, LEN)[..100]);
        assert_eq!(block, Ok(Progress::Partial { written: 100 }));
    }
}

#[test]
fn what_is_written_anew_when_the_piece_is_gone_again_is_not_dropped_with_the_old() {
    let cache = common::cache::<Interval>(MIB);
    let film = film(&cache, 4, LEN);
    let mut waiting = Box::pin(film.wait(0));
    let waker = Waker::from(Arc::new(Anew(film.clone())));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(film.insert(0, &of(0, LEN)), Ok(Insert::Published));
    assert!(!film.contains(0));
    let rest = film.write(0, 100, &of(0, LEN)[100..]);
    assert_eq!(rest, Ok(Progress::Complete), "the first block is still there");
}

#[test]
fn a_commit_without_room_whose_piece_another_has_inserted_meanwhile_is_no_error() {
    let meanwhile = Meanwhile::default();
    let builder = Cache::builder().policy(meanwhile.clone()).clock(Clock::manual());
    let cache = built::<Interval>(builder, MIB);
    let film = film(&cache, 100, LEN);
    assert_eq!(film.write(99, 0, &of(99, LEN)), Ok(Progress::Complete));
    let mut held = pinned(&film, LEN);
    let full = |cache: &Cache| cache.set_budget(cache.stats().resident).unwrap();
    full(&cache);
    let (own, all, kept) = (film.clone(), cache.clone(), Arc::new(Mutex::new(Vec::new())));
    let keep = Arc::clone(&kept);
    meanwhile.set(move |_| {
        all.set_budget(2 * MIB as u64).unwrap();
        assert_eq!(own.insert(99, &of(99, LEN)), Ok(Insert::Published));
        keep.lock().unwrap().push(own.get(99).unwrap());
        full(&all);
    });
    assert_eq!(film.commit(99), Ok(()));
    assert!(meanwhile.has_happened());
    assert_eq!(film.get(99).unwrap()[..], of(99, LEN));
    held.clear();
}
