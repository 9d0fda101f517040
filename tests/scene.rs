//! What a policy is told of the players of a film, when a piece of it is to go.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{KIB, MIB, block_on, built, film, of, read};
use lookbehind::{
    Cache, Candidate, Clock, Extent, PlayerConfig, Policy, Scene, Storage, StorageId, Watcher,
};

const LEN: usize = 64 * KIB;
/// More pieces of LEN bytes than the budget has room for.
const PIECES: u32 = 40;

/// Notes the last that it was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Option<Seen>>>);

struct Seen {
    storage: StorageId,
    now: Duration,
    bitrate: u64,
    watchers: Vec<Watcher>,
}

impl Policy for Told {
    fn worth(&self, _: &Candidate) -> f64 {
        0.0
    }

    fn rank(&self, scene: &Scene<'_>, candidates: &[Candidate], worth: &mut Vec<f64>) {
        let Scene { storage, now, bitrate, .. } = *scene;
        let seen = Seen { storage, now, bitrate, watchers: scene.watchers.to_vec() };
        *self.0.lock().unwrap() = Some(seen);
        worth.resize(candidates.len(), 0.0);
    }

    fn soft_windows(&self) -> bool {
        true
    }
}

impl Told {
    fn film(&self) -> (Storage, Clock) {
        let clock = Clock::manual();
        let builder = Cache::builder().policy(self.clone()).clock(clock.clone());
        (film(&built(builder, MIB), PIECES, LEN), clock)
    }

    /// Inserts pieces until one must go.
    fn now(&self, film: &Storage) -> Seen {
        *self.0.lock().unwrap() = None;
        let mut pieces = film.layout().pieces().cycle();
        loop {
            insert(film, pieces.next().unwrap());
            if let Some(seen) = self.0.lock().unwrap().take() {
                return seen;
            }
        }
    }
}

fn insert(film: &Storage, piece: u32) {
    if !film.contains(piece) {
        film.insert(piece, &of(piece, LEN)).unwrap();
    }
}

/// Position and window, when it was opened and moved, whether it plays and is open.
type Place = (u64, u64, Duration, Duration, bool, bool);

fn place(watcher: &Watcher) -> Place {
    let Watcher { position, ahead, opened, moved, playing, open, .. } = *watcher;
    (position, ahead, opened, moved, playing, open)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_policy_is_told_where_players_are_what_they_want_and_since_when() {
    let told = Told::default();
    let (film, clock) = told.film();
    let check = |expected: &[Place]| {
        let mut seen = told.now(&film);
        seen.watchers.sort_by_key(|watcher| watcher.opened);
        assert_eq!(seen.storage, film.id());
        assert_eq!(seen.watchers.iter().map(place).collect::<Vec<_>>(), expected);
        seen.now
    };
    assert_eq!(check(&[]), seconds(0));
    clock.advance(seconds(10));
    let config = PlayerConfig::default().ahead(Extent::Bytes(3000)).position(500);
    let mut one = film.player(config.linger(seconds(60))).unwrap();
    let opened = seconds(10);
    check(&[(500, 3000, opened, opened, true, true)]);
    clock.advance(seconds(5));
    one.seek_to(7000);
    check(&[(7000, 3000, opened, seconds(15), true, true)]);
    clock.advance(seconds(5));
    one.pause();
    check(&[(7000, 3000, opened, seconds(20), false, true)]);
    clock.advance(seconds(5));
    one.resume();
    // A window is told as it was asked for, up to where the reader stops, not as it was fitted.
    one.limit(9000);
    let ahead = Extent::Time(seconds(10));
    let config = PlayerConfig::default().ahead(ahead).bitrate(MIB as u64);
    let two = film.player(config).unwrap();
    let other = (0, 10 * MIB as u64, seconds(25), seconds(25), true, true);
    check(&[(7000, 2000, opened, seconds(25), true, true), other]);
    clock.advance(seconds(5));
    one.close();
    assert_eq!(check(&[(7000, 2000, opened, seconds(30), false, false), other]), seconds(30));
    drop(two);
    clock.advance(seconds(60));
    check(&[]);
}

#[test]
fn a_policy_is_told_when_a_playhead_came_to_its_piece() {
    let told = Told::default();
    let (film, clock) = told.film();
    let mut player = film.player(PlayerConfig::default().position(LEN as u64 - 4)).unwrap();
    let mut moved = |bytes: usize| {
        clock.advance(seconds(10));
        insert(&film, (player.position() / LEN as u64) as u32);
        block_on(read(&mut player, &mut vec![0; bytes])).unwrap();
        told.now(&film).watchers[0].moved
    };
    // Within a piece, to its end, and within the next one.
    assert_eq!([1, 3, 5].map(&mut moved), [0, 20, 20].map(seconds));
}

#[test]
fn a_closed_player_no_longer_says_the_bitrate_of_its_film() {
    let told = Told::default();
    let (film, _) = told.film();
    let bitrate = || told.now(&film).bitrate;
    let mut player = film.player(PlayerConfig::default().bitrate(1000)).unwrap();
    assert_eq!(bitrate(), 1000);
    player.set_bitrate(2000);
    assert_eq!(bitrate(), 2000);
    player.close();
    player.set_bitrate(3000);
    assert_eq!(bitrate(), 2000);
}
