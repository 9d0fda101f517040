//! An origin that stalls, breaks, lies about its length, or changes under us. Whoever waits for
//! it hears of it, nobody else does, and what it was about to fetch leaves nothing behind.

mod common;

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use common::{DEADLINE, bytes, fill};
use lookbehind::{Cache, Error, Held, PlayerConfig, Wait};
use lookbehind_server::editions::Shared;
use lookbehind_server::film::{Edition, Film, Unavailable};
use lookbehind_server::origin::Origin;
use lookbehind_server::serve::runtime;
use lookbehind_server::source::{Remote, Source, Stamp};

const PIECE: u32 = 64 << 10;
const PIECES: u64 = 8;
const LEN: u64 = PIECES * PIECE as u64;
const BUDGET: u64 = 4 << 20;

/// What the origin does, which a test changes.
#[derive(Debug)]
struct Mood {
    /// Bytes that it says it has, and that it has. The bytes are those of a film of this kind.
    says: u64,
    has: u64,
    kind: u64,
    /// Reads hang; and so does the question what state it is in.
    stalls: bool,
    deaf: bool,
    /// Reads that fail, and reads that panic.
    fails: u32,
    panics: u32,
    /// Cannot even be asked.
    unreachable: bool,
    /// Each read finds other bytes than the one before.
    restless: bool,
    reads: u64,
}

#[derive(Debug)]
struct Fake {
    mood: Mutex<Mood>,
    changed: Condvar,
}

impl Fake {
    fn new(kind: u64) -> Arc<Fake> {
        let mood = Mood {
            says: LEN,
            has: LEN,
            kind,
            stalls: false,
            deaf: false,
            fails: 0,
            panics: 0,
            unreachable: false,
            restless: false,
            reads: 0,
        };
        Arc::new(Fake { mood: Mutex::new(mood), changed: Condvar::new() })
    }

    fn set(&self, change: impl FnOnce(&mut Mood)) {
        change(&mut self.mood.lock().unwrap());
        self.changed.notify_all();
    }

    /// Reads hang until what comes back is dropped, also by a failing test.
    fn stall(self: &Arc<Fake>) -> impl Drop + use<> {
        struct Stalled(Arc<Fake>);
        impl Drop for Stalled {
            fn drop(&mut self) {
                self.0.set(|mood| (mood.stalls, mood.deaf) = (false, false));
            }
        }
        self.set(|mood| mood.stalls = true);
        Stalled(Arc::clone(self))
    }

    fn reads(&self) -> u64 {
        self.mood.lock().unwrap().reads
    }
}

impl Remote for Fake {
    fn stamp(&self) -> io::Result<Stamp> {
        let mood = self.mood.lock().unwrap();
        let mood = self.changed.wait_while(mood, |mood| mood.deaf).unwrap();
        if mood.unreachable {
            return Err(io::Error::from(io::ErrorKind::HostUnreachable));
        }
        Ok(Stamp::numbered(mood.says, mood.kind))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut mood = self.mood.lock().unwrap();
        mood.reads += 1;
        mood = self.changed.wait_while(mood, |mood| mood.stalls).unwrap();
        if mood.panics > 0 {
            mood.panics -= 1;
            drop(mood);
            panic!("as the test wants it");
        }
        if mood.fails > 0 {
            mood.fails -= 1;
            return Err(io::Error::other("the disk says no"));
        }
        if offset + buffer.len() as u64 > mood.has {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        fill(mood.kind, offset, buffer);
        mood.kind += u64::from(mood.restless);
        Ok(())
    }
}

/// A cache, an origin's pace, and films from two sources.
struct Setup {
    cache: Cache,
    origin: Arc<Origin>,
    fake: Arc<Fake>,
    film: Film,
    /// Another film, about which nothing is wrong.
    good: Film,
}

fn setup() -> Setup {
    let cache = Cache::builder().budget(BUDGET).build().unwrap();
    let origin = Arc::new(Origin::new(Duration::ZERO, None, BUDGET, PIECE));
    let shared = Shared {
        cache: cache.clone(),
        origin: Arc::clone(&origin),
        piece_len: PIECE,
        bitrate: 1_000_000,
    };
    let film = |index, fake: &Arc<Fake>| {
        let source = Source::Remote(Arc::clone(fake) as Arc<dyn Remote>);
        Film::new(index, format!("film{index}.mp4"), source, shared.clone())
    };
    let (fake, good) = (Fake::new(1), Fake::new(9));
    let (film, good) = (film(0, &fake), film(1, &good));
    Setup { cache, origin, fake, film, good }
}

impl Setup {
    async fn edition(&self) -> Arc<Edition> {
        self.film.current().await.expect("it can be opened")
    }

    /// The other film is served as ever.
    async fn others_go_on(&self) {
        let edition = self.good.current().await.unwrap();
        for piece in 0..PIECES as u32 {
            assert!(get(&edition, piece).await.unwrap()[..] == expected(9, piece));
        }
    }

    /// Nothing is left of the fetches, and all is given back with the films.
    async fn comes_to_rest(self) {
        let at_rest = || {
            let stats = self.cache.stats();
            let waits = stats.waits == 0 && stats.snapshots == 0;
            waits && stats.states.assembling == 0 && stats.states.held == 0
        };
        eventually("it comes to rest", at_rest).await;
        assert!(self.cache.stats().resident_peak <= BUDGET);
        assert!(self.cache.stats().storages <= 2, "editions that ended are gone");
        let watched = Arc::downgrade(&self.edition().await);
        assert!(self.cache.abort(Wait::For(DEADLINE)));
        drop(self.film);
        eventually("the task that fetches has ended", || watched.strong_count() == 0).await;
    }
}

fn expected(kind: u64, piece: u32) -> Vec<u8> {
    let start = u64::from(piece) * u64::from(PIECE);
    bytes(kind, start..start + u64::from(PIECE))
}

async fn get(edition: &Edition, piece: u32) -> Result<Held, Error> {
    edition.storage.wait(piece).deadline(DEADLINE).await
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stalls_holds_up_its_own_film_only() {
    let setup = setup();
    let edition = setup.edition().await;
    let stalled = setup.fake.stall();
    let before = setup.fake.reads();
    let storage = edition.storage.clone();
    let waiting = tokio::spawn(async move { storage.wait(0).deadline(DEADLINE).await });
    let impatient = edition.storage.wait(1).deadline(Duration::from_millis(50));
    assert_eq!(impatient.await.unwrap_err(), Error::TimedOut);
    setup.others_go_on().await;
    // Nobody wants piece 1 any more: its fetch has ended, although its read has not.
    let cancelled = &setup.origin.counters.cancelled;
    eventually("the fetch is cancelled", || cancelled.load(Relaxed) == 1).await;
    assert!(setup.fake.reads() >= before + 2 && !waiting.is_finished());
    eventually("all but the wait is over", || {
        let stats = setup.cache.stats();
        (stats.waits, stats.snapshots, stats.states.assembling) == (1, 0, 0)
    })
    .await;
    drop(stalled);
    assert!(waiting.await.unwrap().unwrap()[..] == expected(1, 0));
    assert!(!edition.storage.contains(1), "what comes too late is not written");
    assert!(get(&edition, 1).await.unwrap()[..] == expected(1, 1));
    drop(edition);
    setup.comes_to_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stalls_does_not_outlive_its_film() {
    let setup = setup();
    let edition = setup.edition().await;
    let stalled = setup.fake.stall();
    let player = edition.storage.player(PlayerConfig::default()).unwrap();
    let storage = edition.storage.clone();
    let waiting = tokio::spawn(async move { storage.wait(0).await });
    eventually("reads hang", || setup.fake.reads() > 1).await;
    setup.others_go_on().await;
    edition.end();
    assert_eq!(waiting.await.unwrap().unwrap_err(), Error::Removed);
    drop(player);
    drop(stalled);
    let anew = setup.edition().await;
    assert!(get(&anew, 0).await.unwrap()[..] == expected(1, 0));
    drop((edition, anew));
    setup.comes_to_rest().await;
}

/// What hangs takes threads, and the others need some.
#[test]
fn many_that_stall_hold_up_nobody_else() {
    let runtime = runtime(6).unwrap();
    runtime.block_on(async {
        let setups: Vec<Setup> = (0..6).map(|_| setup()).collect();
        let (good, hanging) = setups.split_first().unwrap();
        let editions = futures_util::future::join_all(hanging.iter().map(Setup::edition)).await;
        let mut stalled = Vec::new();
        for (setup, edition) in hanging.iter().zip(editions) {
            stalled.push(setup.fake.stall());
            setup.fake.set(|mood| mood.deaf = true);
            // Some come and go, and each time leave as many reads hanging as they may.
            for _ in 0..4 {
                let waits = (0..PIECES as u32).map(|piece| edition.storage.wait(piece));
                let waits = futures_util::future::join_all(waits);
                assert!(tokio::time::timeout(Duration::from_millis(20), waits).await.is_err());
            }
            let storage = edition.storage.clone();
            for piece in 0..PIECES as u32 {
                let storage = storage.clone();
                tokio::spawn(async move { storage.wait(piece).await });
            }
        }
        // Each has as many reads hanging as it may, and a look at its state.
        let looks = hanging.iter().map(|setup| setup.film.current());
        let mut looks = Box::pin(futures_util::future::join_all(looks));
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut looks).await.is_err());
        let served = tokio::time::timeout(DEADLINE / 6, good.others_go_on());
        assert!(served.await.is_ok(), "no thread is left for the others");
        stalled.clear();
        assert!(looks.await.into_iter().all(|look| look.is_ok()));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_less_than_it_says_ends_the_film_there() {
    let setup = setup();
    setup.fake.set(|mood| mood.has = LEN - 1);
    // It lies each time it is asked; nothing gathers.
    for round in 0..20 {
        let edition = setup.edition().await;
        assert_eq!(edition.len, LEN);
        assert!(get(&edition, 2).await.unwrap()[..] == expected(1, 2), "round {round}");
        let ended = get(&edition, PIECES as u32 - 1).await.unwrap_err();
        let told = matches!(ended, Error::FetchFailed { .. } | Error::Removed);
        assert!(told, "{ended}");
        eventually("the edition ends", || edition.has_ended()).await;
        assert!(get(&edition, 2).await.is_err(), "what it had is not served any more");
    }
    setup.others_go_on().await;
    setup.fake.set(|mood| mood.has = LEN);
    let edition = setup.edition().await;
    assert!(get(&edition, PIECES as u32 - 1).await.is_ok());
    drop(edition);
    setup.comes_to_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_more_than_it_says_is_served_as_far_as_it_says() {
    let setup = setup();
    let odd = u64::from(PIECE) + 7;
    setup.fake.set(|mood| mood.says = odd);
    let edition = setup.edition().await;
    assert_eq!((edition.len, edition.storage.layout().pieces()), (odd, 0..2));
    assert!(get(&edition, 1).await.unwrap()[..] == bytes(1, u64::from(PIECE)..odd));
    assert!(matches!(get(&edition, 2).await, Err(Error::PieceOutOfRange { .. })));
    // Absurd lengths are refused, or fail when they are read.
    for says in [0, 1 << 50, u64::MAX] {
        setup.fake.set(|mood| mood.says = says);
        let refused = setup.film.current().await.map(drop);
        let fits = matches!(refused, Err(Unavailable::Empty | Unavailable::Refused(_)));
        assert!(fits, "{says}: {refused:?}");
    }
    setup.fake.set(|mood| mood.says = LEN);
    assert_eq!(setup.edition().await.len, LEN);
    setup.others_go_on().await;
    drop(edition);
    setup.comes_to_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_changes_under_us_never_mixes_its_states() {
    let setup = setup();
    let old = setup.edition().await;
    assert!(get(&old, 0).await.unwrap()[..] == expected(1, 0));
    setup.fake.set(|mood| mood.kind = 2);
    // Found out by the fetch, in the absence of any request.
    let ended = get(&old, 1).await.unwrap_err();
    assert!(matches!(ended, Error::FetchFailed { .. } | Error::Removed), "{ended}");
    eventually("the edition ends", || old.has_ended()).await;
    let new = setup.edition().await;
    assert_ne!(new.validators.etag, old.validators.etag);
    assert!(get(&new, 0).await.unwrap()[..] == expected(2, 0));
    // From read to read: what was read before the change cannot be told from what is asked for,
    // so nothing is shown.
    setup.fake.set(|mood| mood.restless = true);
    for _ in 0..10 {
        let edition = setup.edition().await;
        let kind = setup.fake.mood.lock().unwrap().kind;
        let piece = get(&edition, 3).await;
        assert!(piece.is_err(), "read while it changed to {kind}");
    }
    setup.fake.set(|mood| mood.restless = false);
    let kind = setup.fake.mood.lock().unwrap().kind;
    let edition = setup.edition().await;
    assert!(get(&edition, 3).await.unwrap()[..] == expected(kind, 3));
    setup.others_go_on().await;
    drop((old, new, edition));
    setup.comes_to_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_breaks_and_recovers() {
    let setup = setup();
    let edition = setup.edition().await;
    for (fails, panics) in [(1, 0), (0, 1)] {
        setup.fake.set(|mood| (mood.fails, mood.panics) = (fails, panics));
        let error = get(&edition, 4).await.unwrap_err();
        assert!(matches!(error, Error::FetchFailed { piece: 4, .. }), "{error}");
        assert!(!edition.has_ended(), "it may recover");
        setup.others_go_on().await;
        assert!(get(&edition, 4).await.unwrap()[..] == expected(1, 4));
        edition.storage.evict(0..PIECES as u32).unwrap();
    }
    assert_eq!(setup.origin.counters.failed.load(Relaxed), 2);
    // Not even its state is to be had: requests are turned away, and then it is there again.
    setup.fake.set(|mood| mood.unreachable = true);
    let refused = setup.film.current().await.map(drop);
    assert!(matches!(refused, Err(Unavailable::Unreadable(_))), "{refused:?}");
    setup.fake.set(|mood| mood.unreachable = false);
    let anew = setup.edition().await;
    assert!(get(&anew, 4).await.unwrap()[..] == expected(1, 4));
    drop((edition, anew));
    setup.comes_to_rest().await;
}
