//! Code of others that panics: wherever it is called, when it is dropped, and once more when what
//! it has thrown is dropped. Nothing is lost or poisoned, and everybody else goes on.

mod common;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use std::thread;
use std::time::Duration;

use common::{KIB, MIB, PATIENCE, Woken, built, cache, fill, film, layout, of, poll_with, schemes};
use lookbehind::{
    Cache, Candidate, Clock, Error, Eviction, Extent, Insert, Layout, Observer, PieceHasher,
    PlayerConfig, Policy, Progress, Reclaim, Storage, StorageOptions, Verifier,
};

const LEN: usize = 16 * KIB;
const BUDGET: usize = MIB;

schemes!(
    a_verifier_that_panics_refuses_the_piece_and_nothing_else,
    a_verifier_that_panics_at_commit_refuses_the_piece,
    writers_beside_a_verifier_that_panics_go_on,
    an_observer_that_always_panics_prevents_no_eviction,
    a_policy_that_panics_or_says_nonsense_evicts_all_the_same,
    a_waker_that_panics_harms_no_other_wait,
    a_thread_that_panics_leaves_nothing_behind,
    what_a_caller_hands_in_may_panic,
    destructors_may_panic,
);

/// Throws something that throws again when it is dropped.
fn throw() -> ! {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("what was thrown throws again, as the test wants it");
        }
    }
    panic_any(Bomb)
}

/// Catches a panic that is the caller's to see.
fn panics<T>(call: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(call)).map_err(std::mem::forget).is_err()
}

/// Where it panics next. Each call of a user's code has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Nowhere,
    Begin,
    Update,
    Matches,
    Verify,
    Drop,
}

/// A place to panic at, which a test moves on.
#[derive(Clone)]
struct Switch(Arc<AtomicUsize>);

impl Switch {
    fn new(at: At) -> Self {
        Self(Arc::new(AtomicUsize::new(at as usize)))
    }

    fn set(&self, at: At) {
        self.0.store(at as usize, Ordering::SeqCst);
    }

    fn pass(&self, at: At) {
        if self.0.load(Ordering::SeqCst) == at as usize {
            throw();
        }
    }
}

/// Approves of everything, unless it panics.
struct Verdict {
    switch: Switch,
    hashes: bool,
}

impl Verifier for Verdict {
    fn begin(&self, _: u32) -> Option<Box<dyn PieceHasher>> {
        self.switch.pass(At::Begin);
        self.hashes.then(|| Box::new(Hasher(self.switch.clone())) as Box<dyn PieceHasher>)
    }

    fn verify(&self, _: u32, _: &[u8]) -> bool {
        self.switch.pass(At::Verify);
        true
    }
}

struct Hasher(Switch);

impl PieceHasher for Hasher {
    fn update(&mut self, _: &[u8]) {
        self.0.pass(At::Update);
    }

    fn matches(self: Box<Self>) -> bool {
        self.0.pass(At::Matches);
        true
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        // While another panic is on its way a second one ends the program, here as everywhere.
        if !thread::panicking() {
            self.0.pass(At::Drop);
        }
    }
}

/// A film whose verifier panics where the switch says.
fn judged<R: Reclaim>(cache: &Cache<R>, hashes: bool) -> (Storage<R>, Switch) {
    let switch = Switch::new(At::Nowhere);
    let verifier = Arc::new(Verdict { switch: switch.clone(), hashes });
    let options = StorageOptions::default().verifier(verifier);
    (cache.add_storage_with(layout(400, LEN), options).unwrap(), switch)
}

/// How many pieces can be arriving at once: less than before, if anything of the half that
/// assemblies may take was lost.
fn assemblies<R: Reclaim>(cache: &Cache<R>) -> usize {
    let film = film(cache, 400, LEN);
    let open = (0..400).take_while(|piece| film.write(*piece, 0, &[1]).is_ok()).count();
    film.remove().unwrap();
    open
}

/// All bytes come back: nothing arrives, is published, pinned or kept, and nobody waits.
fn comes_to_rest<R: Reclaim>(cache: &Cache<R>) {
    common::eventually("everything is given back", || {
        cache.storages().iter().for_each(|film| film.remove().unwrap());
        common::sweep(cache, &[]);
        let stats = cache.stats();
        assert!(stats.resident_peak <= BUDGET as u64);
        assert_eq!(stats.states.total(), stats.resident);
        assert_eq!((stats.snapshots, stats.waits, stats.pinned), (0, 0, 0));
        let states = stats.states;
        assert_eq!((states.assembling, states.published), (0, 0));
        states.limbo == 0 && states.held == 0
    });
    let film = film(cache, 8, LEN);
    fill(&film, 0..8);
    assert_eq!(common::present(&film).len(), 8, "later calls work");
    film.remove().unwrap();
}

fn a_verifier_that_panics_refuses_the_piece_and_nothing_else<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let before = assemblies(&cache);
    for hashes in [false, true] {
        let (film, switch) = judged(&cache, hashes);
        let whole = of(0, LEN);
        let blocks = || {
            let half = LEN / 2;
            film.write(0, 0, &whole[..half])
                .and_then(|_| film.write(0, half as u32, &whole[half..]))
        };
        for at in [At::Begin, At::Update, At::Matches, At::Verify, At::Drop] {
            // Once: what panicked in `begin` or `update` may judge the whole piece later.
            for (way, insert) in [("insert", true), ("blocks", false), ("one block", false)] {
                switch.set(at);
                let refused = if insert {
                    film.insert(0, &whole).map(|done| done == Insert::Published)
                } else {
                    let done = if way == "blocks" { blocks() } else { film.write(0, 0, &whole) };
                    done.map(|done| done == Progress::Published)
                };
                let context = format!("{at:?}, {way}, hashes: {hashes}");
                match refused {
                    Ok(published) => assert!(published, "{context}"),
                    Err(error) => {
                        assert_eq!(error, Error::VerifyFailed { piece: 0 }, "{context}");
                        assert!(!film.contains(0), "{context}");
                    }
                }
                assert_eq!(film.stats().assembling_pieces, 0, "{context}");
                // One that arrives in part, and is dropped.
                film.write(1, 0, &[1; 100]).unwrap();
                assert_eq!(film.abandon(1), Ok(true));
                assert_eq!(cache.stats().states.assembling, 0, "{context}");
                switch.set(At::Nowhere);
                film.insert(0, &whole).unwrap();
                assert_eq!(film.get(0).unwrap()[..], whole);
                film.evict(0..1).unwrap();
            }
        }
        // Dropped with the film.
        film.write(2, 0, &[1; 100]).unwrap();
        film.write(3, 0, &[1; 100]).unwrap();
        switch.set(At::Drop);
        film.remove().unwrap();
        assert_eq!(cache.stats().states.assembling, 0);
    }
    assert_eq!(assemblies(&cache), before, "the half for assemblies is whole");
    comes_to_rest(&cache);
}

fn a_verifier_that_panics_at_commit_refuses_the_piece<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let (film, switch) = judged(&cache, false);
    film.write(0, 0, &of(0, LEN)[..100]).unwrap();
    // Handles leave no room for the version in which it would be shown.
    let mut held = Vec::new();
    for len in [LEN, KIB, 16] {
        let other = common::film(&cache, 4000, len);
        while other.insert(held.len() as u32, &of(held.len() as u32, len)).is_ok() {
            held.push(other.get(held.len() as u32).unwrap());
        }
    }
    let last = film.write(0, 100, &of(0, LEN)[100..]);
    assert!(matches!(last, Err(Error::BudgetExhausted { .. })), "{last:?}");
    drop(held);
    switch.set(At::Verify);
    assert_eq!(film.commit(0), Err(Error::VerifyFailed { piece: 0 }));
    assert_eq!(film.commit(0), Err(Error::NotOpen { piece: 0 }));
    switch.set(At::Nowhere);
    assert_eq!(film.write(0, 0, &of(0, LEN)), Ok(Progress::Published));
    comes_to_rest(&cache);
}

fn writers_beside_a_verifier_that_panics_go_on<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let before = assemblies(&cache);
    let (film, switch) = judged(&cache, true);
    let places = [At::Begin, At::Update, At::Matches, At::Verify, At::Drop, At::Nowhere];
    thread::scope(|scope| {
        for n in 0..2 {
            let (film, switch) = (&film, &switch);
            scope.spawn(move || {
                for round in 0..120 {
                    let piece = round % 4;
                    if n == 0 {
                        switch.set(places[round as usize % places.len()]);
                    }
                    let whole = of(piece, LEN);
                    let blocks = whole.chunks(LEN / 4).zip((0..).step_by(LEN / 4));
                    for (block, at) in blocks.skip(n) {
                        match film.write(piece, at, block) {
                            Ok(_) | Err(Error::VerifyFailed { .. } | Error::NotOpen { .. }) => {}
                            Err(error) => panic!("piece {piece}: {error}"),
                        }
                    }
                    if let Ok(held) = film.get(piece) {
                        assert_eq!(held[..], whole);
                    }
                    let _ = film.evict(piece..piece + 1);
                }
            });
        }
    });
    switch.set(At::Nowhere);
    for piece in 0..4 {
        film.write(piece, 0, &of(piece, LEN)).unwrap();
        assert_eq!(film.get(piece).unwrap()[..], of(piece, LEN));
    }
    film.remove().unwrap();
    assert_eq!(assemblies(&cache), before, "the half for assemblies is whole");
    comes_to_rest(&cache);
}

fn an_observer_that_always_panics_prevents_no_eviction<R: Reclaim>() {
    let told = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&told);
    let builder =
        Cache::builder().observer(|_: &Eviction| throw()).observer(move |_: &Eviction| {
            seen.fetch_add(1, Ordering::SeqCst);
        });
    let cache = built::<R>(builder, BUDGET);
    let options = StorageOptions::default().share(4 * (LEN as u64 + 128));
    let shared = cache.add_storage_with(layout(40, LEN), options).unwrap();
    fill(&shared, 0..40); // by its share
    assert_eq!(shared.stats().present_pieces, 4);
    let film = film(&cache, 200, LEN);
    fill(&film, 0..200); // for room
    film.evict(190..200).unwrap();
    cache.set_budget(BUDGET as u64 / 2).unwrap();
    cache.shrink(PATIENCE).unwrap();
    let live =
        cache.add_storage_with(Layout::segments(), StorageOptions::default().window(2)).unwrap();
    for piece in 0..6 {
        live.append_segment(100).unwrap();
        live.insert(piece, &of(piece, 100)).unwrap();
    }
    for film in [&film, &shared, &live] {
        film.remove().unwrap();
    }
    let stats = cache.stats();
    assert_eq!((stats.evictions, stats.states.published), (stats.published, 0));
    assert_eq!(told.load(Ordering::SeqCst) as u64, stats.evictions, "the other one is told");
    comes_to_rest(&cache);
}

fn a_policy_that_panics_or_says_nonsense_evicts_all_the_same<R: Reclaim>() {
    struct Nonsense(fn(&Candidate) -> f64);
    impl Policy for Nonsense {
        fn worth(&self, candidate: &Candidate) -> f64 {
            self.0(candidate)
        }
    }
    let each = |candidate: &Candidate| match candidate.piece % 4 {
        0 => throw(),
        1 => f64::NAN,
        2 => f64::INFINITY,
        _ => f64::NEG_INFINITY,
    };
    let nonsense: [fn(&Candidate) -> f64; 5] =
        [|_| throw(), |_| f64::NAN, |_| f64::INFINITY, |_| f64::NEG_INFINITY, each];
    for worth in nonsense {
        let cache = built::<R>(Cache::builder().policy(Nonsense(worth)), BUDGET);
        let film = film(&cache, 200, LEN);
        let config = PlayerConfig::default().ahead(Extent::Bytes(8 * LEN as u64));
        let player = film.player(config).unwrap();
        fill(&film, 0..200);
        assert!(common::present(&film).len() > 40, "the cache is full");
        cache.set_budget(BUDGET as u64 / 2).unwrap();
        cache.shrink(PATIENCE).unwrap();
        drop(player);
        drop(film);
        comes_to_rest(&cache);
    }
}

/// A waker that panics where it is told to, out of a table of functions.
struct Foreign {
    clone: AtomicBool,
    wake: AtomicBool,
    drop: AtomicBool,
}

impl Foreign {
    fn new(place: usize) -> Arc<Self> {
        let [clone, wake, drop] = [0, 1, 2].map(|n| AtomicBool::new(n == place));
        Arc::new(Self { clone, wake, drop })
    }

    /// The waker; it works, and is dropped in peace, until it is armed.
    fn waker(self: &Arc<Self>) -> Waker {
        // SAFETY: the functions below keep the contract of `RawWaker`; each owns what it is given.
        unsafe { Waker::from_raw(RawWaker::new(Arc::into_raw(Arc::clone(self)).cast(), &TABLE)) }
    }

    fn calm(&self) {
        for place in [&self.clone, &self.wake, &self.drop] {
            place.store(false, Ordering::SeqCst);
        }
    }

    fn copies(self: &Arc<Self>) -> usize {
        Arc::strong_count(self) - 1
    }
}

static TABLE: RawWakerVTable = {
    /// The share behind the pointer, which moves out of the waker.
    unsafe fn taken(data: *const ()) -> Arc<Foreign> {
        // SAFETY: made by `Arc::into_raw` in `waker` or `clone`, and given up once.
        unsafe { Arc::from_raw(data.cast()) }
    }
    unsafe fn clone(data: *const ()) -> RawWaker {
        // SAFETY: the waker is alive.
        let foreign = unsafe { &*data.cast::<Foreign>() };
        if foreign.clone.load(Ordering::SeqCst) {
            throw();
        }
        // SAFETY: as above; the new share is the clone's.
        unsafe { Arc::increment_strong_count(data.cast::<Foreign>()) };
        RawWaker::new(data, &TABLE)
    }
    unsafe fn wake(data: *const ()) {
        // SAFETY: this is called once for a waker, and not `drop`.
        let foreign = unsafe { taken(data) };
        if foreign.wake.load(Ordering::SeqCst) {
            drop(foreign);
            throw();
        }
    }
    unsafe fn wake_by_ref(_: *const ()) {}
    unsafe fn drop_it(data: *const ()) {
        // SAFETY: as for `wake`.
        let foreign = unsafe { taken(data) };
        if foreign.drop.load(Ordering::SeqCst) {
            drop(foreign);
            throw();
        }
    }
    RawWakerVTable::new(clone, wake, wake_by_ref, drop_it)
};

fn a_waker_that_panics_harms_no_other_wait<R: Reclaim>() {
    for place in 0..3 {
        let clock = Clock::manual();
        let cache = built::<R>(Cache::builder().clock(clock.clone()), BUDGET);
        let film = film(&cache, 200, LEN);
        let live = cache.add_storage(Layout::segments()).unwrap();
        let foreign = Foreign::new(place);
        let waker = std::mem::ManuallyDrop::new(foreign.waker());
        let again = std::mem::ManuallyDrop::new(foreign.waker());
        // All that can wait, twice: the second waker takes the first one's place.
        let config = || PlayerConfig::default().ahead(Extent::Bytes(0)).deadline(PATIENCE);
        let mut wait = film.wait(0).deadline(Duration::from_secs(1));
        let mut short = film.wait(1).deadline(Duration::from_secs(1));
        let mut player = film.player(config()).unwrap();
        let mut at_the_end = live.player(config()).unwrap();
        let mut wanted = live.wanted();
        for waker in [&waker, &again] {
            let mut cx = Context::from_waker(waker);
            let mut poll = |call: &mut dyn FnMut(&mut Context<'_>) -> bool| {
                let ended = catch_unwind(AssertUnwindSafe(|| call(&mut cx)));
                match ended.map_err(std::mem::forget) {
                    Ok(pending) => assert!(pending && place != 0, "{place}"),
                    Err(()) => assert_eq!(place, 0, "only the clone panics in a poll"),
                }
            };
            poll(&mut |cx| pin!(&mut wait).as_mut().poll(cx).is_pending());
            poll(&mut |cx| pin!(&mut short).as_mut().poll(cx).is_pending());
            poll(&mut |cx| pin!(common::read(&mut player, &mut [0])).poll(cx).is_pending());
            poll(&mut |cx| pin!(common::read(&mut at_the_end, &mut [0])).poll(cx).is_pending());
            poll(&mut |cx| pin!(common::next(&mut wanted)).poll(cx).is_pending());
        }
        // Others wait beside it, for the same things.
        let woken: [Arc<Woken>; 3] = std::array::from_fn(|_| Arc::default());
        let mut good = film.wait(0);
        assert!(poll_with(&mut good, &woken[0]).is_pending());
        let mut in_time = film.wait(2).deadline(Duration::from_secs(1));
        assert!(poll_with(&mut in_time, &woken[1]).is_pending());
        film.insert(0, &of(0, LEN)).unwrap();
        assert_eq!(woken[0].times(), 1);
        assert!(matches!(poll_with(&mut good, &woken[0]), Poll::Ready(Ok(_))));
        let fetch = film.wanted().try_next().unwrap();
        let mut cancelled = fetch.cancelled();
        let _ = panics(|| pin!(&mut cancelled).poll(&mut Context::from_waker(&waker)));
        clock.advance(Duration::from_secs(1));
        assert!(matches!(poll_with(&mut in_time, &woken[1]), Poll::Ready(Err(Error::TimedOut))));
        live.append_segment(100).unwrap();
        live.insert(0, &of(0, 100)).unwrap();
        drop((wait, short, player, at_the_end, wanted, cancelled, fetch));
        // For memory: everything is held, until one handle goes.
        let mut held = Vec::new();
        for piece in 10..200 {
            if film.insert(piece, &of(piece, LEN)).is_err() {
                break;
            }
            held.push(film.get(piece).unwrap());
        }
        let bytes = of(199, LEN);
        let mut insert = Box::pin(film.insert_async(199, &bytes, None));
        for waker in [&waker, &again] {
            let polled = panics(|| insert.as_mut().poll(&mut Context::from_waker(waker)));
            assert_eq!(polled, place == 0);
        }
        let mut other = Box::pin(film.insert_async(198, &bytes, None));
        assert!(poll_with(&mut other, &woken[2]).is_pending());
        film.evict(0..200).unwrap();
        drop(held);
        assert!(woken[2].times() > 0);
        assert!(matches!(poll_with(&mut other, &woken[2]), Poll::Ready(Ok(_))));
        drop((insert, other, good, in_time));
        foreign.calm();
        assert_eq!(foreign.copies(), 2, "no waker is kept");
        drop((std::mem::ManuallyDrop::into_inner(waker), again));
        comes_to_rest(&cache);
    }
}

fn a_thread_that_panics_leaves_nothing_behind<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, 200, LEN);
    fill(&film, 0..10);
    let other = thread::scope(|scope| {
        let dying = scope.spawn(|| {
            let reader = film.reader();
            // More than a line of lanes.
            let snapshots: Vec<_> = (0..20).map(|n| reader.snapshot_range(n..n + 4)).collect();
            let all = reader.snapshot();
            let held = (all.held(3).unwrap(), film.get(4).unwrap());
            let bytes = bytes::Bytes::from(held.0.clone());
            let mut player = film.player(PlayerConfig::default().position(50)).unwrap();
            let read = common::block_on(common::read(&mut player, &mut [0; 100])).unwrap();
            let mut wait = film.wait(20).deadline(PATIENCE);
            let mut wanted = film.wanted();
            let fetches: Vec<_> = std::iter::from_fn(|| wanted.try_next()).take(5).collect();
            film.write(30, 0, &[1; 100]).unwrap();
            let _ = common::poll(&mut wait);
            let kept = (&snapshots, &all, &held, &bytes, &wanted, &fetches);
            assert!(read == 0, "as the test wants it, with {}", kept.0.len());
        });
        let going_on = scope.spawn(|| {
            for piece in 100..150 {
                film.insert_wait(piece, &of(piece, LEN), PATIENCE).unwrap();
                assert_eq!(film.get(piece).unwrap()[..], of(piece, LEN));
            }
        });
        assert!(dying.join().map_err(std::mem::forget).is_err());
        going_on.join()
    });
    assert!(other.is_ok());
    let stats = cache.stats();
    assert_eq!((stats.snapshots, stats.pinned, stats.waits), (0, 0, 0));
    assert!(film.stats().windows.is_empty());
    assert_eq!(film.stats().assembling_pieces, 1, "a block that was written stays");
    // What it was fetching is offered again when it is wanted.
    let player = film.player(PlayerConfig::default().position(10 * LEN as u64)).unwrap();
    assert_eq!(film.wanted().try_next().map(|fetch| fetch.piece()), Some(10));
    drop(player);
    // In the poll of a task that waits.
    let task = thread::scope(|scope| {
        let task = scope.spawn(|| {
            common::block_on(async {
                let held = film.wait(199).deadline(PATIENCE).await;
                assert!(held.is_err(), "as the test wants it");
            });
        });
        common::eventually("it waits", || film.stats().waits == 1);
        film.insert(199, &of(199, LEN)).unwrap();
        task.join().map_err(std::mem::forget)
    });
    assert!(task.is_err());
    assert_eq!((cache.stats().waits, cache.stats().pinned), (0, 0));
    drop(film);
    comes_to_rest(&cache);
}

fn what_a_caller_hands_in_may_panic<R: Reclaim>() {
    struct Unspeakable;
    impl fmt::Display for Unspeakable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            throw()
        }
    }
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, 20, LEN);
    let woken = Arc::<Woken>::default();
    let mut wait = film.wait(5);
    assert!(poll_with(&mut wait, &woken).is_pending());
    let fetch = film.wanted().try_next().unwrap();
    assert!(panics(|| fetch.fail(Unspeakable)));
    assert!(poll_with(&mut wait, &woken).is_pending());
    assert_eq!(film.wanted().try_next().map(|fetch| fetch.piece()), Some(5), "offered again");
    film.set_lookbehind([1]);
    assert!(panics(|| film.set_lookbehind((0..9).inspect(|n| {
        if *n == 4 {
            throw()
        }
    }))));
    assert_eq!(film.lookbehind_stats().protected, 1, "what was named before stays");
    drop(wait);
    comes_to_rest(&cache);
}

/// An observer, a policy and a verifier whose destructors panic.
struct Undroppable;

impl Drop for Undroppable {
    fn drop(&mut self) {
        if !thread::panicking() {
            throw();
        }
    }
}

impl Observer for Undroppable {
    fn evicted(&self, _: &Eviction) {}
}

impl Policy for Undroppable {
    fn worth(&self, candidate: &Candidate) -> f64 {
        f64::from(candidate.piece)
    }
}

impl Verifier for Undroppable {
    fn begin(&self, _: u32) -> Option<Box<dyn PieceHasher>> {
        Some(Box::new(Hasher(Switch::new(At::Drop))))
    }

    fn verify(&self, _: u32, _: &[u8]) -> bool {
        true
    }
}

fn destructors_may_panic<R: Reclaim>() {
    let builder = Cache::builder().observer(Undroppable).observer(Undroppable).policy(Undroppable);
    let cache = built::<R>(builder, BUDGET);
    let film = |_: u32| {
        let options = StorageOptions::default().verifier(Arc::new(Undroppable));
        cache.add_storage_with(layout(100, LEN), options).unwrap()
    };
    let films: Vec<_> = (0..4).map(film).collect();
    for film in &films {
        fill(film, 0..10);
        film.write(20, 0, &[1]).unwrap();
        film.write(21, 0, &[1]).unwrap();
    }
    // One goes while the cache stays, with all its handles; the others with the cache.
    let mut films = films.into_iter();
    let (first, held) = (films.next().unwrap(), films.next().unwrap().get(0).unwrap());
    first.remove().unwrap();
    drop(first);
    comes_to_rest_beside(&cache);
    drop(films);
    drop(cache);
    assert_eq!(held[..], of(0, LEN));
}

/// The films that are left work.
fn comes_to_rest_beside<R: Reclaim>(cache: &Cache<R>) {
    assert_eq!(cache.storages().len(), 3);
    for film in cache.storages() {
        film.insert(30, &of(30, LEN)).unwrap();
        film.evict(0..100).unwrap();
    }
    assert_eq!(cache.stats().states.published, 0);
}
