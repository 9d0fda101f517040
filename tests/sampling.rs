//! What an eviction looks at, and how often.

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use common::{KIB, MIB, built, fill, film, of, present};
use lookbehind::{Cache, Candidate, Eviction, Interval, NextUse, PlayerConfig, Policy, Storage};

const LEN: usize = 64 * KIB;
/// Pieces of LEN bytes that fit into the budgets used here.
const FIT: u32 = 15;
const SMALL: usize = 4 * KIB;
/// Candidates that an eviction draws where nobody watches, and those that it knows from the one before.
const SAMPLE: usize = 40;
const SHORTLIST: usize = 16;

/// A film and a piece that a policy is asked about, and whether it was read.
type Look = (u32, u32, bool);

/// Notes what it is asked about, and how many pieces go.
#[derive(Clone, Default)]
struct Asked {
    looks: Arc<Mutex<Vec<Look>>>,
    evictions: Arc<AtomicU32>,
}

impl Policy for Asked {
    fn worth(&self, candidate: &Candidate) -> f64 {
        let look = (candidate.storage.index, candidate.piece, candidate.visited);
        self.looks.lock().unwrap().push(look);
        NextUse.worth(candidate)
    }
}

impl Asked {
    fn cache(&self) -> Cache {
        let evictions = Arc::clone(&self.evictions);
        let count = move |_: &Eviction| {
            evictions.fetch_add(1, Ordering::Relaxed);
        };
        built(Cache::builder().policy(self.clone()).observer(count), MIB)
    }

    /// What is asked about when that piece is inserted, and for how many evictions.
    fn by(&self, film: &Storage, piece: u32) -> (Vec<Look>, usize) {
        self.evictions.store(0, Ordering::Relaxed);
        self.looks.lock().unwrap().clear();
        fill(film, piece..piece + 1);
        let looks = std::mem::take(&mut *self.looks.lock().unwrap());
        (looks, self.evictions.load(Ordering::Relaxed) as usize)
    }
}

/// A full cache of small pieces, and what is asked about when one more is inserted.
fn small_pieces() -> (Cache, Storage, impl Fn(u32) -> Vec<Look>) {
    let asked = Asked::default();
    let cache = asked.cache();
    let film = film(&cache, 1000, SMALL);
    fill(&film, 0..300);
    let own = film.clone();
    let insert = move |piece: u32| {
        let (looks, evictions) = asked.by(&own, piece);
        assert_eq!(evictions, 1);
        looks
    };
    (cache, film, insert)
}

#[test]
fn an_eviction_looks_at_a_sample_and_at_all_only_if_that_is_protected() {
    let (_cache, film, insert) = small_pieces();
    let asked = insert(300).len();
    assert!((SAMPLE..=SAMPLE + SHORTLIST).contains(&asked), "{asked}");
    // One in the middle is not protected, whatever is in the sample.
    let free = present(&film)[100];
    film.reserve(0..free);
    film.reserve(free + 1..1000);
    assert!(insert(301).len() <= SAMPLE + SHORTLIST + present(&film).len());
    assert!(!film.contains(free));
}

#[test]
fn an_eviction_looks_at_more_where_a_few_watch() {
    let (_cache, film, insert) = small_pieces();
    let mut players = Vec::new();
    for (more, count) in [(1, 128), (7, 128), (1, SAMPLE)] {
        let player = |_| film.player(PlayerConfig::default()).unwrap();
        players.extend((0..more).map(player));
        let asked = insert(300 + players.len() as u32).len();
        assert!((count..=count + SHORTLIST).contains(&asked), "{asked}");
    }
}

#[test]
fn what_an_eviction_looks_at_does_not_depend_on_how_many_films_there_are() {
    let asked = Asked::default();
    let cache = asked.cache();
    let films: Vec<_> = (0..200).map(|_| film(&cache, 20, KIB)).collect();
    let mut seen = HashSet::new();
    let mut full = false;
    // Three times around, so that most of what comes is new, and all are many.
    for (round, piece) in (0..3).flat_map(|round| (0..20).map(move |piece| (round, piece))) {
        for film in films.iter().filter(|film| !film.contains(piece)) {
            let (looks, evictions) = asked.by(film, piece);
            full |= evictions > 0;
            let expected = SAMPLE * evictions..=(SAMPLE + SHORTLIST) * evictions;
            assert!(expected.contains(&looks.len()), "{} looks, {evictions} go", looks.len());
            if round == 2 {
                seen.extend(looks.into_iter().map(|(film, piece, _)| (film, piece)));
            }
        }
    }
    assert!(full);
    // In the long run all are looked at, but for some of those that came last.
    let there =
        films.iter().flat_map(|film| present(film).into_iter().map(|p| (film.id().index, p)));
    let there: Vec<_> = there.collect();
    let never = there.iter().filter(|entry| !seen.contains(entry)).count();
    assert!(never * 50 < there.len(), "{never} of {}", there.len());
}

#[test]
fn of_films_that_are_worth_the_same_each_loses_some() {
    struct Alike;
    impl Policy for Alike {
        fn worth(&self, _: &Candidate) -> f64 {
            1.0
        }
    }
    let lost = Arc::new(Mutex::new([0; 16]));
    let count = Arc::clone(&lost);
    let count = move |gone: &Eviction| count.lock().unwrap()[gone.storage.index as usize] += 1;
    let cache = built::<Interval>(Cache::builder().policy(Alike).observer(count), MIB);
    let films: Vec<_> = (0..16).map(|_| film(&cache, 200, KIB)).collect();
    for piece in 0..80 {
        films.iter().for_each(|film| fill(film, piece..piece + 1));
    }
    let lost = *lost.lock().unwrap();
    let alike = lost.iter().sum::<u32>() / 16;
    assert!(alike >= 20, "{lost:?}");
    assert!(lost.iter().all(|lost| (alike / 2..2 * alike).contains(lost)), "{lost:?}");
}

#[test]
fn where_many_small_pieces_were_the_oldest_of_few_still_goes() {
    struct Oldest;
    impl Policy for Oldest {
        fn worth(&self, candidate: &Candidate) -> f64 {
            -(candidate.age as f64)
        }
    }
    let cache = built::<Interval>(Cache::builder().policy(Oldest), 16 * MIB);
    let small = film(&cache, 30_000, 1);
    fill(&small, 0..30_000);
    small.remove().unwrap();
    // Of the seats that were taken one in hundreds is.
    let film = film(&cache, 400, 100 * KIB);
    for piece in 0..400 {
        let before = present(&film);
        fill(&film, piece..piece + 1);
        let gone: Vec<_> = before.iter().copied().filter(|piece| !film.contains(*piece)).collect();
        assert_eq!(gone, before[..gone.len()]);
    }
    assert!(cache.stats().evictions > 100);
}

#[test]
fn runners_up_are_looked_at_again() {
    let (_cache, film, insert) = small_pieces();
    // Nobody reads, so that what was published first is worth least.
    let mut again = 0;
    for piece in 300..320 {
        let mut old = insert(piece);
        old.sort_unstable_by_key(|(_, piece, _)| *piece);
        let left = old.iter().map(|(_, piece, _)| *piece).filter(|piece| film.contains(*piece));
        let expected: Vec<_> = left.take(SHORTLIST).collect();
        assert_eq!(expected.len(), SHORTLIST);
        let next = insert(720 - piece);
        again += expected.iter().filter(|piece| next.iter().any(|(_, p, _)| p == *piece)).count();
    }
    assert_eq!(again, 20 * SHORTLIST);
}

#[test]
fn what_a_look_at_all_has_found_is_not_looked_for_again() {
    let asked = Asked::default();
    let cache = asked.cache();
    let film = film(&cache, 4000, KIB);
    fill(&film, 0..800);
    // All but a few are protected, so that samples hardly ever find one.
    let free: Vec<_> = present(&film)[400..412].to_vec();
    film.reserve(0..free[0]);
    film.reserve(free[11] + 1..4000);
    let left = || free.iter().filter(|piece| film.contains(**piece)).count();
    let mut looks_at_all = 0;
    for piece in 1000.. {
        let before = left();
        let (looks, evictions) = asked.by(&film, piece);
        looks_at_all += usize::from(looks.len() > (SAMPLE + SHORTLIST) * evictions);
        assert_eq!(left(), before.saturating_sub(evictions), "those go first");
        if left() == 0 {
            break;
        }
    }
    assert_eq!(looks_at_all, 1);
}

#[test]
fn a_look_at_all_leaves_the_marks_alone() {
    let (_cache, film, insert) = small_pieces();
    film.reserve(0..1000);
    let all = present(&film);
    all.iter().for_each(|piece| drop(film.get(*piece).unwrap()));
    // First the sample, which takes the marks of what is in it; then everything.
    let asked = insert(300);
    let (sample, every) = asked.split_at(asked.len() - all.len());
    assert!((SAMPLE..=SAMPLE + SHORTLIST).contains(&sample.len()));
    assert!(sample.iter().all(|(_, _, read)| *read));
    let read = |piece: u32| every.iter().any(|asked| *asked == (film.id().index, piece, true));
    let sampled = |piece: u32| sample.iter().any(|(_, p, _)| *p == piece);
    assert!(all.iter().all(|piece| read(*piece) != sampled(*piece)));
    // So the next sample finds those of all others.
    let asked = insert(301);
    for (_, piece, read) in &asked[..asked.len() - all.len()] {
        assert!(*read || sampled(*piece) || *piece == 300, "{piece}");
    }
}

#[test]
fn a_search_in_vain_is_made_a_few_times_at_most() {
    let asked = Asked::default();
    let cache = asked.cache();
    let film = film(&cache, 40, LEN);
    fill(&film, 0..FIT);
    let held: Vec<_> = (0..FIT).map(|piece| film.get(piece).unwrap()).collect();
    assert!(film.insert(30, &of(30, LEN)).is_err());
    let asked = asked.looks.lock().unwrap().len();
    assert!((FIT as usize..=5 * FIT as usize).contains(&asked), "{asked}");
    drop(held);
}
