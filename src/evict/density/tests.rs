//! The policy from outside: events in, worth out.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::evict::policy::{Action, Watcher};
use crate::id::StorageId;

/// A piece is a second.
const LEN: u64 = 1000;
const FILM: u32 = 6000;

fn film(index: u32) -> StorageId {
    StorageId { index, generation: 0 }
}

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn event(storage: u32, viewer: u64, now: f64, action: Action, second: u32) -> PlayerEvent {
    PlayerEvent {
        storage: film(storage),
        viewer,
        now: at(now),
        action,
        position: u64::from(second) * LEN,
        ahead: 10 * LEN,
        film: 0..u64::from(FILM) * LEN,
        live: false,
        bitrate: LEN,
    }
}

/// A viewer who plays, and was opened when the clock started.
fn watcher(second: u32, now: f64) -> Watcher {
    Watcher { moved: at(now), ..Watcher::new(u64::from(second) * LEN, 10 * LEN, at(0.0)) }
}

fn worths(policy: &Density, scene: &Scene<'_>, pieces: &[u32]) -> Vec<f64> {
    let bytes = |piece: u32| u64::from(piece) * LEN..u64::from(piece + 1) * LEN;
    let candidate = |piece: &u32| Candidate::new(scene.storage, *piece, bytes(*piece));
    let candidates: Vec<_> = pieces.iter().map(candidate).collect();
    let mut worths = Vec::new();
    policy.rank(scene, &candidates, &mut worths);
    assert!(worths.len() == pieces.len() && worths.iter().all(|worth| worth.is_finite()));
    worths
}

/// What pieces of film 0 are worth to these viewers.
fn worth(policy: &Density, now: f64, watchers: &[Watcher], pieces: &[u32]) -> Vec<f64> {
    let whole = 0..u64::from(FILM) * LEN;
    worths(policy, &Scene::new(film(0), at(now), whole, LEN, LEN, watchers), pieces)
}

/// One viewer who is open since the start.
fn opened() -> Density {
    let policy = Density::new();
    policy.notice(&event(0, 1, 0.0, Action::Open, 0));
    policy
}

#[test]
fn what_a_playhead_comes_by_sooner_is_worth_more_and_what_it_passed_least() {
    let policy = opened();
    let worth = worth(&policy, 2000.0, &[watcher(2000, 2000.0)], &[2001, 2005, 2060, 2500, 1700]);
    assert!(worth.is_sorted_by(|a, b| a > b), "{worth:?}");
    // What its window has asked for already weighs more: its viewer waits for it.
    assert!(worth[1] > 20.0 * worth[2] && worth[2] < 1.0 / 40.0, "{worth:?}");
}

#[test]
fn what_lies_behind_fades_with_distance() {
    let policy = opened();
    let pieces = [1995, 1980, 1900, 1000];
    let worth = worth(&policy, 2000.0, &[watcher(2000, 2000.0)], &pieces);
    assert!(worth.is_sorted_by(|a, b| a > b), "{worth:?}");
}

#[test]
fn a_pause_makes_what_is_ahead_less_urgent_the_longer_it_lasts() {
    let policy = opened();
    let paused = |since: f64| Watcher { playing: false, ..watcher(2000, since) };
    let ahead = |watcher: Watcher| worth(&policy, 3000.0, &[watcher], &[2030])[0];
    let playing = ahead(watcher(2000, 3000.0));
    assert!(playing > 1.5 * ahead(paused(3000.0)));
    assert!(ahead(paused(2900.0)) > 1.5 * ahead(paused(1000.0)));
    // Who does not move without a word is taken for paused.
    assert!(playing > 1.5 * ahead(watcher(2000, 2900.0)));
}

#[test]
fn a_viewer_who_has_just_left_is_expected_back() {
    let policy = opened();
    let left = Watcher { playing: false, open: false, ..watcher(2000, 2000.0) };
    let around = |watchers: &[Watcher]| worth(&policy, 2000.0, watchers, &[2001, 1990]);
    let (there, left, nobody) = (around(&[watcher(2000, 2000.0)]), around(&[left]), around(&[]));
    for piece in 0..2 {
        assert!(there[piece] > left[piece] && left[piece] > 2.0 * nobody[piece]);
    }
}

#[test]
fn how_far_viewers_jump_back_is_learnt() {
    let policy = opened();
    let behind = |policy: &Density, seconds: u32, now: f64| {
        worth(policy, now, &[watcher(2000, now)], &[2000 - seconds])[0]
    };
    let before = behind(&policy, 110, 10.0) / behind(&policy, 20, 10.0);
    for n in 0..200u32 {
        let from = u64::from(500 + 120 * n % 2000) * LEN;
        let to = (from / LEN) as u32 - 120;
        policy.notice(&event(0, 1, 10.0 + f64::from(n) * 60.0, Action::Seek { from }, to));
    }
    let after = behind(&policy, 110, 12_010.0) / behind(&policy, 20, 12_010.0);
    assert!(before < 0.6 && after > 0.9, "{before} {after}");
    assert!(behind(&policy, 110, 12_010.0) > 5.0 * behind(&policy, 200, 12_010.0));
}

#[test]
fn when_viewers_quit_is_learnt() {
    let policy = Density::new();
    // All but a few leave within five minutes; who stays longer stays for the film.
    for viewer in 0..200 {
        let start = viewer as f64 * 100.0;
        policy.notice(&event(1, viewer, start, Action::Open, 0));
        policy.notice(&event(1, viewer, start + 99.0, Action::Close, 99));
    }
    policy.notice(&event(0, 1000, 30_000.0, Action::Open, 0));
    policy.notice(&event(1, 1001, 36_000.0, Action::Open, 0));
    let seen = |opened: f64| Watcher { opened: at(opened), ..watcher(1000, 36_000.0) };
    let ahead = |opened: f64| worth(&policy, 36_000.0, &[seen(opened)], &[1400])[0];
    assert!(ahead(30_000.0) > 2.0 * ahead(35_990.0));
}

#[test]
fn films_that_viewers_open_often_keep_their_heads_and_tails() {
    let policy = Density::new();
    for viewer in 0..40 {
        policy.notice(&event(0, viewer, viewer as f64 * 100.0, Action::Open, 0));
    }
    policy.notice(&event(1, 100, 4000.0, Action::Open, 0));
    let popular = worth(&policy, 4100.0, &[], &[0, 200, 5000, FILM - 1]);
    assert!(popular[0] > popular[1] && popular[1] > popular[2] && popular[3] > popular[2]);
    let whole = 0..u64::from(FILM) * LEN;
    let other = Scene::new(film(1), at(4100.0), whole, LEN, LEN, &[]);
    let other = worths(&policy, &other, &[0, 200, 5000, FILM - 1]);
    let more = [0, 1, 3].map(|piece| popular[piece] / other[piece]);
    assert!(more.iter().all(|more| *more > 4.0), "{popular:?} {other:?}");
}

#[test]
fn at_a_live_films_end_new_viewers_are_expected_and_old_pieces_are_not_needed() {
    let policy = Density::new();
    let live = |event: PlayerEvent, edge: f64| {
        let end = edge as u64 * LEN;
        PlayerEvent { live: true, film: end - 3600 * LEN..end, ..event }
    };
    for viewer in 0..40 {
        let edge = 3600.0 + viewer as f64 * 50.0;
        let open = event(0, viewer, edge, Action::Open, edge as u32 - 10);
        policy.notice(&live(open, edge));
    }
    let film_now = 1960 * LEN..5560 * LEN;
    let scene = Scene::new(film(0), at(5560.0), film_now, LEN, LEN, &[]).live();
    let worth = worths(&policy, &scene, &[5558, 5000, 3000]);
    assert!(worth[0] > 5.0 * worth[1] && worth[1] >= worth[2], "{worth:?}");
    assert!(worth[0] > 1.0 / 100.0, "{worth:?}");
}

#[test]
fn an_http_client_that_seeks_by_a_new_request_has_not_quit_and_does_not_arrive() {
    let policy = opened();
    let arrivals = policy.popularity.arrivals(film(0), at(1000.0));
    policy.notice(&event(0, 1, 1000.0, Action::Close, 1000));
    policy.notice(&event(0, 1, 1001.0, Action::Open, 880));
    // He stays there.
    policy.notice(&event(0, 1, 1003.0, Action::Resume, 882));
    assert_eq!(policy.popularity.arrivals(film(0), at(1000.0)), arrivals);
    let jumped = worth(&policy, 1001.0, &[watcher(2000, 1001.0)], &[1885])[0];
    let fresh = worth(&opened(), 1001.0, &[watcher(2000, 1001.0)], &[1885])[0];
    assert!(jumped > 1.2 * fresh, "a jump back by two minutes was seen: {jumped} {fresh}");
    // One that stays away has quit, and one that comes back later arrives.
    policy.notice(&event(0, 1, 1100.0, Action::Close, 900));
    policy.notice(&event(0, 1, 1200.0, Action::Open, 0));
    assert!(policy.popularity.arrivals(film(0), at(1200.0)) > arrivals);
}

#[test]
fn what_was_just_read_lies_behind_whatever_the_bitrate() {
    // Times are compared, and these do not come out even.
    let policy = opened();
    for rate in 1..3000 {
        let seen = [watcher(1000, 1000.0)];
        let whole = 0..u64::from(FILM) * LEN;
        let scene = Scene::new(film(0), at(1000.0), whole, LEN, rate, &seen);
        let worth = worths(&policy, &scene, &[999, 1000]);
        assert!(worth[0] < worth[1], "{rate}: {worth:?}");
    }
}

#[test]
fn bitrate_matters_and_bytes_do_not() {
    let policy = opened();
    let whole = 0..u64::from(FILM) * LEN;
    let seen = [watcher(1000, 1000.0)];
    let slow = Scene::new(film(0), at(1000.0), whole.clone(), LEN, LEN, &seen);
    let fast = Scene::new(film(0), at(1000.0), whole, LEN, 4 * LEN, &seen);
    let (slow, fast) = (worths(&policy, &slow, &[1100])[0], worths(&policy, &fast, &[1100])[0]);
    assert!(fast > 3.0 * slow, "{fast} {slow}");
}

#[test]
fn in_a_film_that_nobody_opened_the_read_and_the_new_stay() {
    let policy = opened();
    let piece = |visited, age| {
        let mut piece = Candidate::new(film(7), 0, 0..LEN);
        (piece.visited, piece.age) = (visited, age);
        piece
    };
    let scene = Scene::new(film(7), at(0.0), 0..LEN, LEN, LEN, &[]);
    let mut worth = Vec::new();
    policy.rank(&scene, &[piece(true, 9), piece(false, 1), piece(false, 9)], &mut worth);
    assert!(worth.is_sorted_by(|a, b| a > b), "{worth:?}");
}

#[test]
fn viewers_count_in_a_film_that_they_were_not_seen_to_open() {
    // So it is where a film has been forgotten, for many others are more popular.
    for policy in [Density::new(), opened()] {
        let seen = [watcher(2000, 2000.0)];
        let whole = 0..u64::from(FILM) * LEN;
        let scene = Scene::new(film(7), at(2000.0), whole, LEN, LEN, &seen);
        for scene in [scene.clone(), scene.alone()] {
            let worth = worths(&policy, &scene, &[2001, 2060, 2500, 1000]);
            assert!(worth.is_sorted_by(|a, b| a > b), "{worth:?}");
        }
    }
}

#[test]
fn where_one_film_has_all_the_room_what_was_read_last_stays() {
    let policy = opened();
    let piece = |idle, age| {
        let mut piece = Candidate::new(film(7), 0, 0..LEN);
        (piece.visited, piece.idle, piece.age) = (age % 2 == 0, idle, age);
        piece
    };
    let scene = Scene::new(film(7), at(0.0), 0..LEN, LEN, LEN, &[]).alone();
    let mut worth = Vec::new();
    let pieces = [piece(0, 0), piece(0, 1), piece(0, 5000), piece(1, 1), piece(900, 1 << 40)];
    policy.rank(&scene, &pieces, &mut worth);
    assert!(worth.is_sorted_by(|a, b| a > b), "{worth:?}");
}

#[test]
fn tables_are_made_at_most_once_a_second() {
    let policy = opened();
    let made = |now: f64| {
        let before = policy.habits.load_full();
        policy.notice(&event(0, 77, now, Action::Open, 0));
        !Arc::ptr_eq(&before, &policy.habits.load())
    };
    let times = [5000.0, 5000.9, 5001.0, 5001.5, 5010.0, 4000.0];
    assert_eq!(times.map(made), [true, false, true, false, true, false]);
}

#[test]
fn each_term_can_be_left_out() {
    let policy = |without: &[Term]| {
        let policy = without.iter().fold(Density::new(), |policy, term| policy.without(*term));
        for viewer in 0..10 {
            policy.notice(&event(0, viewer, viewer as f64 * 100.0, Action::Open, 0));
        }
        policy
    };
    let paused = Watcher { playing: false, ..watcher(100, 1000.0) };
    let seen = [watcher(2000, 1000.0), paused];
    let worth =
        |without: &[Term]| worth(&policy(without), 1000.0, &seen, &[0, 50, 120, 1990, 2400]);
    let whole = worth(&[]);
    // The term, and a piece that is worth less without it; or more.
    for (term, piece, more) in [
        (Term::Quitting, 4, true),
        (Term::Skipping, 4, true),
        (Term::JumpingBack, 3, false),
        (Term::Pausing, 2, true),
        (Term::Arriving, 1, false),
        (Term::Probing, 0, false),
    ] {
        let without = worth(&[term]);
        assert_eq!(without[piece] > whole[piece], more, "{term:?}: {without:?} {whole:?}");
        assert_ne!(without[piece], whole[piece], "{term:?}");
    }
    // With none of them left it is the next use that counts.
    let none = worth(&Term::ALL);
    assert!(none[0] == 0.0 && none[1] == 0.0 && none[4] > 0.0, "{none:?}");
}

#[test]
fn whatever_players_do_every_worth_is_a_sensible_number() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let policy = Density::new();
    let edge = [0, 1, LEN, u64::MAX / 2, u64::MAX - 1, u64::MAX];
    let mut now = 0.0;
    for _ in 0..500 {
        now += [0.0, 1e-9, 1.0, 1e5][rng.random_range(0..4)];
        let mut any = |most: u64| match rng.random_range(0..3) {
            0 => edge[rng.random_range(0..edge.len())],
            _ => rng.random_range(0..most),
        };
        let (position, from, end) = (any(1 << 40), any(1 << 40), any(1 << 40));
        let (ahead, bitrate) = (any(1 << 30), any(1 << 24));
        let actions =
            [Action::Open, Action::Seek { from }, Action::Pause, Action::Resume, Action::Close];
        let event = PlayerEvent {
            action: actions[rng.random_range(0..5)],
            viewer: rng.random_range(0..8),
            position,
            ahead,
            film: end / 2..end,
            live: rng.random(),
            bitrate,
            ..event(rng.random_range(0..3), 0, now, Action::Open, 0)
        };
        policy.notice(&event);
        let seen = Watcher {
            position: from,
            ahead: position,
            opened: at(now / 2.0),
            moved: at(now * 2.0),
            playing: rng.random(),
            open: rng.random(),
        };
        let seen = [watcher(100, now), seen];
        let scene = Scene::new(event.storage, at(now), event.film, ahead, bitrate, &seen);
        let scene = if event.live { scene.live() } else { scene };
        let bytes = [0..LEN, position..position.saturating_add(LEN), from..end, 0..0];
        let candidates: Vec<_> = bytes.map(|b| Candidate::new(scene.storage, 0, b)).into();
        let mut worth = Vec::new();
        policy.rank(&scene, &candidates, &mut worth);
        assert!(worth.iter().all(|w| w.is_finite() && *w >= 0.0), "{worth:?} {scene:?}");
    }
}

/// A player over HTTP reads the index at the film's end by a request of its own, and goes on at the
/// beginning, as a reader does who seeks to the end for the length. Nothing was played: neither is
/// what viewers skip, or jump back to see again.
#[test]
fn a_look_at_the_films_end_before_it_is_played_is_no_jump() {
    let (quiet, looks) = (Density::new(), Density::new());
    for viewer in 0..40u32 {
        let begin = f64::from(viewer) * 100.0;
        for policy in [&quiet, &looks] {
            policy.notice(&event(0, u64::from(viewer), begin, Action::Open, 0));
        }
        for (action, second) in [(Action::Close, 0), (Action::Open, FILM - 2)] {
            looks.notice(&event(0, u64::from(viewer), begin + 0.1, action, second));
        }
        for (action, second) in [(Action::Close, FILM - 2), (Action::Open, 0)] {
            looks.notice(&event(0, u64::from(viewer), begin + 0.2, action, second));
        }
        for policy in [&quiet, &looks] {
            let close = event(0, u64::from(viewer), begin + 600.0, Action::Close, 600);
            policy.notice(&close);
        }
    }
    let worth = |policy: &Density| worth(policy, 4700.0, &[watcher(100, 4700.0)], &[1000, 3000]);
    let (quiet, looks) = (worth(&quiet), worth(&looks));
    for (quiet, looks) in quiet.iter().zip(&looks) {
        assert!((looks / quiet - 1.0).abs() < 0.1, "{looks} {quiet}");
    }
}
