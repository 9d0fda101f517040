//! Each policy on sequences whose outcome follows from its definition.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::trace::{Kind, Storage};

/// A film for each, whose players read `window` pieces ahead.
fn trace(films: usize, window: u32) -> Measure {
    let storage =
        Storage { id: 0, pieces: 1000, piece_bytes: 1, piece_seconds: 5.0, live_window: 0.0 };
    Measure {
        storages: vec![storage; films],
        windows: vec![window; films],
        distinct: 1000,
        ..Measure::default()
    }
}

/// A cache and the players whose events it sees.
struct Bench {
    cache: Box<dyn Cache>,
    players: Players,
}

impl Bench {
    fn new(policy: Policy, capacity: usize, films: usize, window: u32) -> Bench {
        let trace = trace(films, window);
        let cache = build(policy, &trace, capacity, 1).expect("it need not look ahead");
        Bench { cache, players: Players::new(&trace) }
    }

    fn event(&mut self, viewer: u64, storage: u32, kind: Kind, piece: u32) -> bool {
        let event = Event { time: 0.0, viewer, storage, kind, piece };
        self.players.heed(&event);
        self.cache.tell(&event, &self.players);
        kind.touches() && self.cache.access(&event, &self.players)
    }

    /// Probes for pieces, a letter each, and says which were there: `+` or `-`.
    fn probe(&mut self, pieces: &str) -> String {
        let hit = |letter: u8| self.event(0, 0, Kind::Probe, u32::from(letter - b'a'));
        pieces.bytes().map(hit).map(|hit| if hit { '+' } else { '-' }).collect()
    }
}

#[track_caller]
fn expect(policy: Policy, capacity: usize, pieces: &str, outcome: &str) {
    assert_eq!(Bench::new(policy, capacity, 1, 0).probe(pieces), outcome, "{policy}");
}

/// Those that heed windows: not OPT, and not the library's own.
fn common() -> impl Iterator<Item = Policy> {
    let compared = Policy::COMPARED.into_iter().chain([Policy::LruReserved]);
    compared.filter(|policy| !matches!(policy, Policy::Opt | Policy::Density))
}

#[test]
fn names_are_read_back() {
    for policy in Policy::all() {
        assert_eq!(policy.name().parse::<Policy>().unwrap(), policy);
    }
    assert!("best".parse::<Policy>().is_err());
}

#[test]
fn fifo_evicts_what_came_first() {
    // The use of a does not save it.
    expect(Policy::Fifo, 3, "abcadbca", "---+-++-");
}

#[test]
fn lru_evicts_what_was_used_least_recently() {
    expect(Policy::Lru, 3, "abcadacb", "---+-++-");
}

#[test]
fn reserved_pieces_go_last() {
    // a is the first piece of the film; b and c go before it.
    expect(Policy::LruReserved, 3, "abcdeab", "-----+-");
    let mut bench = Bench::new(Policy::LruReserved, 2, 1, 0);
    bench.event(0, 0, Kind::Probe, 999);
    assert_eq!(bench.probe("bcd"), "---");
    assert!(bench.event(0, 0, Kind::Probe, 999));
    // With nothing else there they go as well.
    assert_eq!(bench.probe("abab"), "--++");
    assert!(!bench.event(0, 0, Kind::Probe, 999));
}

#[test]
fn clock_passes_over_what_was_used() {
    // The hand clears a, evicts b; comes to c, which was not used.
    expect(Policy::Clock, 3, "abcadab", "---+-+-");
    // With all used it goes round and evicts the first.
    expect(Policy::Clock, 3, "abcabcda", "---+++--");
}

#[test]
fn sieve_goes_on_where_it_was() {
    // d: a is spared and stays the oldest, b goes, the hand is at c. e: c goes, although a is
    // older and unmarked. f: the hand is at d.
    expect(Policy::Sieve, 3, "abcadeaf", "---+--+-");
    expect(Policy::Sieve, 3, "abcadeafd", "---+--+--");
    expect(Policy::Sieve, 3, "abcadeafe", "---+--+-+");
}

#[test]
fn s3_fifo_moves_on_what_was_used_and_remembers_what_was_not() {
    // Ten places, one for the small queue. a was used twice and moves to the main queue when k
    // needs room; b was used only once and goes, and is remembered.
    let mut bench = Bench::new(Policy::S3Fifo, 10, 1, 0);
    assert_eq!(bench.probe("abcdefghijaabk"), "----------+++-");
    assert_eq!(bench.probe("a"), "+");
    // b comes back into the main queue, c goes. More new ones pass by, and leave both.
    assert_eq!(bench.probe("b"), "-");
    assert_eq!(bench.probe("lmnopqrstuvwxyz"), "---------------");
    assert_eq!(bench.probe("ab"), "++");
    assert_eq!(bench.probe("c"), "-");
}

#[test]
fn w_tinylfu_keeps_what_is_used_often() {
    // Ten places, one for the window. A scan of new pieces does not displace what was used.
    let mut bench = Bench::new(Policy::WTinyLfu, 10, 1, 0);
    bench.probe("abcdefghi");
    bench.probe("abcdefgh");
    assert_eq!(bench.probe("jklmnopqrstuvw"), "--------------");
    assert_eq!(bench.probe("abcdefgh"), "++++++++");
    // The newest is in the window.
    assert_eq!(bench.probe("w"), "+");
}

#[test]
fn next_use_evicts_what_is_reached_last() {
    // First what nobody comes by, the film that nobody watches included, by recency. Then what is
    // furthest ahead of the playhead behind it. 99 is 89 pieces ahead of one, but just behind the
    // other, and kept.
    let victims = [(0, 5), (1, 7), (0, 150), (0, 40), (0, 120)];
    let new = [11, 13, 14, 15, 16];
    for count in 0..=victims.len() {
        let begun = || {
            let mut bench = Bench::new(Policy::NextUse, 8, 2, 2);
            bench.event(1, 0, Kind::Open, 10);
            bench.event(2, 0, Kind::Open, 100);
            for piece in [5, 12, 40, 99, 101, 120, 150] {
                bench.event(0, 0, Kind::Probe, piece);
            }
            bench.event(0, 1, Kind::Probe, 7);
            for piece in &new[..count] {
                assert!(!bench.event(0, 0, Kind::Probe, *piece));
            }
            bench
        };
        for (order, (storage, piece)) in victims.into_iter().enumerate() {
            let there = begun().event(0, storage, Kind::Probe, piece);
            assert_eq!(there, order >= count, "{piece} after {count} evictions");
        }
        for piece in [12, 99, 101] {
            assert!(begun().event(0, 0, Kind::Probe, piece));
        }
    }
}

#[test]
fn what_is_passed_goes_by_recency_and_comes_back_with_a_viewer() {
    let mut bench = Bench::new(Policy::NextUse, 3, 1, 0);
    bench.event(1, 0, Kind::Open, 500);
    assert_eq!(bench.probe("abcad"), "---+-", "b was used least recently");
    assert_eq!(bench.probe("acd"), "+++");
    // Somebody starts: now the pieces are ahead, and the furthest goes.
    bench.event(2, 0, Kind::Open, 0);
    assert_eq!(bench.probe("e"), "-");
    assert_eq!(bench.probe("ac"), "++");
    bench.event(2, 0, Kind::Close, 0);
    assert_eq!(bench.probe("fac"), "-++", "e was used least recently");
}

#[test]
fn a_window_is_evicted_last() {
    for (policy, open) in common().flat_map(|policy| [(policy, true), (policy, false)]) {
        let mut bench = Bench::new(policy, 10, 1, 3);
        if open {
            bench.event(1, 0, Kind::Open, 50);
        }
        for piece in 50..=53 {
            assert!(!bench.event(1, 0, Kind::Readahead, piece));
        }
        for piece in 100..200 {
            bench.event(0, 0, Kind::Probe, piece);
        }
        let there = (50..=53).filter(|piece| bench.event(1, 0, Kind::Readahead, *piece)).count();
        // Without a viewer they are nothing special.
        let wanted = if open { 4 } else { 0 };
        assert_eq!(there, wanted, "{policy}, open: {open}");
    }
}

#[test]
fn if_everything_is_in_a_window_something_goes_all_the_same() {
    for policy in common() {
        let mut bench = Bench::new(policy, 8, 1, 100);
        bench.event(1, 0, Kind::Open, 0);
        for piece in (0..50).chain(0..50) {
            bench.event(1, 0, Kind::Readahead, piece);
        }
        let resident = (0..50).filter(|piece| bench.event(1, 0, Kind::Probe, *piece)).count();
        assert!(resident <= 8, "{policy}");
        assert!(bench.event(1, 0, Kind::Readahead, 49), "{policy}: what was stored last is there");
    }
}

#[test]
fn what_fell_out_of_a_live_films_window_goes_first() {
    for policy in [Policy::Density, Policy::Library] {
        let mut trace = trace(1, 3);
        // Eleven pieces.
        (trace.storages[0].piece_seconds, trace.storages[0].live_window) = (1.0, 10.0);
        let cache = build(policy, &trace, 8, 1).unwrap();
        let mut bench = Bench { cache, players: Players::new(&trace) };
        // One who fell behind; his window would be worth most.
        bench.event(1, 0, Kind::Seek, 0);
        for piece in 1..4 {
            bench.event(1, 0, Kind::Readahead, piece);
        }
        bench.event(2, 0, Kind::Open, 30);
        for piece in 22..30 {
            bench.event(2, 0, Kind::Probe, piece);
        }
        let there = (22..30).filter(|piece| bench.event(2, 0, Kind::Probe, *piece)).count();
        assert_eq!(there, 8, "{policy}");
    }
}

#[test]
fn to_play_what_was_read_ahead_is_no_second_use() {
    let mut bench = Bench::new(Policy::Sieve, 3, 1, 1);
    bench.event(1, 0, Kind::Seek, 0);
    bench.event(1, 0, Kind::Readahead, 1);
    bench.event(1, 0, Kind::Play, 1);
    bench.event(1, 0, Kind::Close, 1);
    bench.event(0, 0, Kind::Probe, 0);
    bench.event(0, 0, Kind::Probe, 2);
    // 0 was used again, 1 was not.
    bench.event(0, 0, Kind::Probe, 3);
    assert!(bench.event(0, 0, Kind::Probe, 0));
    assert!(!bench.event(0, 0, Kind::Probe, 1));
}

/// At most so many hits can be had, found by trying everything.
fn best(pieces: &[u32], resident: &mut Vec<u32>, capacity: usize) -> usize {
    let Some((&piece, rest)) = pieces.split_first() else { return 0 };
    if resident.contains(&piece) {
        return 1 + best(rest, resident, capacity);
    }
    // Not to store it.
    let mut most = best(rest, resident, capacity);
    if resident.len() < capacity {
        resident.push(piece);
        most = most.max(best(rest, resident, capacity));
        resident.pop();
        return most;
    }
    for place in 0..resident.len() {
        let victim = std::mem::replace(&mut resident[place], piece);
        most = most.max(best(rest, resident, capacity));
        resident[place] = victim;
    }
    most
}

#[test]
fn opt_is_as_good_as_everything_that_can_be_tried() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..200 {
        let length = random.random_range(1..12);
        let capacity = random.random_range(1..4);
        let pieces: Vec<u32> = (0..length).map(|_| random.random_range(0..6)).collect();
        let trace = looking_ahead(&pieces.iter().map(|piece| (0, *piece)).collect::<Vec<_>>());
        let mut cache = build(Policy::Opt, &trace, capacity, 1).unwrap();
        let players = Players::new(&trace);
        let hits = pieces.iter().filter(|piece| {
            let kind = Kind::Probe;
            let event = Event { time: 0.0, viewer: 0, storage: 0, kind, piece: **piece };
            cache.access(&event, &players)
        });
        let hits = hits.count();
        assert_eq!(hits, best(&pieces, &mut Vec::new(), capacity), "{capacity}: {pieces:?}");
    }
}

#[test]
fn opt_needs_to_look_ahead() {
    assert!(matches!(build(Policy::Opt, &trace(1, 0), 8, 1), Err(Unbuilt::TooLong)));
}

/// The number of the next access to the same piece, for each.
fn looking_ahead(keys: &[(u32, u32)]) -> Measure {
    let next = keys.iter().enumerate().map(|(at, key)| {
        let later = keys[at + 1..].iter().position(|later| later == key);
        later.map_or(NEVER, |later| (at + 1 + later) as u32)
    });
    Measure { next: Some(std::sync::Arc::new(next.collect())), ..trace(3, 4) }
}

#[test]
fn no_policy_beats_opt() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let events: Vec<Event> = (0..1000)
        .map(|_| {
            let kinds =
                [Kind::Open, Kind::Seek, Kind::Play, Kind::Readahead, Kind::Pause, Kind::Close];
            let (kind, viewer) = (kinds[random.random_range(0..6)], random.random_range(0..5));
            let (storage, piece) = (random.random_range(0..3), random.random_range(0..10));
            Event { time: 0.0, viewer, storage, kind, piece }
        })
        .collect();
    let touching = events.iter().filter(|event| event.kind.touches());
    let trace = looking_ahead(&touching.map(|e| (e.storage, e.piece)).collect::<Vec<_>>());
    for capacity in [8, 13, 29] {
        // The library has room for a few more at times, where its tables leave it.
        let not = |policy: &Policy| !matches!(policy, Policy::Library | Policy::Without(_));
        let policies: Vec<_> = Policy::all().filter(not).collect();
        let hits: Vec<_> = policies
            .iter()
            .map(|&policy| {
                let mut cache = build(policy, &trace, capacity, 1).unwrap();
                let mut players = Players::new(&trace);
                let mut hits = 0;
                for event in &events {
                    players.heed(event);
                    cache.tell(event, &players);
                    hits += u32::from(event.kind.touches() && cache.access(event, &players));
                }
                hits
            })
            .collect();
        for (policy, hits_of_it) in policies.iter().zip(&hits) {
            assert!(*hits_of_it <= hits[0], "{policy} with {capacity}: {hits:?}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_outcome() {
    let misses = || {
        let mut bench = Bench::new(Policy::Density, 60, 1, 2);
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut misses = Vec::new();
        for n in 0..3000_u32 {
            // Many at the same places, who came at different times.
            let viewer = u64::from(random.random_range(0..40_u32));
            let piece = random.random_range(0..20_u32) * 10;
            let kind = if random.random_bool(0.1) { Kind::Close } else { Kind::Seek };
            let time = f64::from(n);
            let event = Event { time, viewer, storage: 0, kind, piece };
            bench.players.heed(&event);
            bench.cache.tell(&event, &bench.players);
            if kind.touches() && !bench.cache.access(&event, &bench.players) {
                misses.push(n);
            }
            let event = Event { kind: Kind::Probe, piece: random.random_range(0..1000), ..event };
            if !bench.cache.access(&event, &bench.players) {
                misses.push(n);
            }
        }
        misses
    };
    let first = misses();
    assert!((0..4).all(|_| misses() == first));
}
