//! A playhead that reads, says what it will need, and protects its windows.

mod common;

use std::io::SeekFrom;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use common::{
    KIB, MIB, PATIENCE, block_on, cache, cause, fill, film, next, of, poll_read, read, schemes,
    seek, timed_cache,
};
use futures_io::ErrorKind;
use lookbehind::{
    Action, Cache, Candidate, Error, Extent, Interval, Layout, Player, PlayerConfig, PlayerEvent,
    Policy, Reclaim, Scene, StorageOptions, Viewer, Wait, WindowStats,
};

const LEN: usize = 4 * KIB;

schemes!(
    a_player_reads_the_film_to_its_end,
    the_stream_gives_each_piece_without_a_copy,
    a_player_waits_for_what_is_missing_and_goes_on,
    a_player_reads_what_is_fetched_through_a_cache_far_smaller_than_the_film,
);

fn bytes(ahead: usize, behind: usize) -> PlayerConfig {
    let config = PlayerConfig::default();
    config.ahead(Extent::Bytes(ahead as u64)).behind(Extent::Bytes(behind as u64))
}

async fn read_all<R: Reclaim>(player: &mut Player<R>, portion: usize) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; portion]);
    loop {
        match read(player, &mut buffer).await.unwrap() {
            0 => return all,
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

fn a_player_reads_the_film_to_its_end<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = cache.add_storage(Layout::fixed(10_000, LEN as u32).unwrap()).unwrap();
    let whole: Vec<u8> = (0..3).flat_map(|p| of(p, LEN)).take(10_000).collect();
    for (piece, part) in whole.chunks(LEN).enumerate() {
        film.insert(piece as u32, part).unwrap();
    }
    for portion in [1, 999, LEN, 20_000] {
        let mut player = film.player(bytes(LEN, LEN)).unwrap();
        assert_eq!(block_on(read_all(&mut player, portion)), whole);
        assert_eq!(player.position(), 10_000);
        assert!(matches!(poll_read(&mut player, &mut [0; 8]), Poll::Ready(Ok(0))));
        assert_eq!(poll_read(&mut player, &mut []).map(Result::unwrap), Poll::Ready(0));
        assert!(block_on(next(&mut player)).is_none());
    }
}

fn the_stream_gives_each_piece_without_a_copy<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = film(&cache, 4, LEN);
    fill(&film, 0..4);
    let mut player = film.player(bytes(LEN, LEN).position(LEN as u64 + 10)).unwrap();
    let first = block_on(next(&mut player)).unwrap().unwrap();
    assert_eq!((&first[..], player.position()), (&of(1, LEN)[10..], 2 * LEN as u64));
    assert_eq!(cache.stats().pinned, LEN as u64 + 128, "pinned, not copied");
    let second = block_on(next(&mut player)).unwrap().unwrap();
    film.evict(0..4).unwrap();
    drop(player);
    assert_eq!((&first[..], &second[..]), (&of(1, LEN)[10..], &of(2, LEN)[..]));
    drop((first, second));
    assert_eq!(cache.stats().pinned, 0);
}

fn a_player_waits_for_what_is_missing_and_goes_on<R: Reclaim>() {
    let film = film(&cache::<R>(MIB), 50, LEN);
    let mut player = film.player(bytes(2 * LEN, 0)).unwrap();
    let reader = thread::spawn(move || block_on(read_all(&mut player, 1500)));
    fill(&film, 0..50);
    let whole: Vec<u8> = (0..50).flat_map(|piece| of(piece, LEN)).collect();
    assert!(reader.join().unwrap() == whole);
}

fn a_player_reads_what_is_fetched_through_a_cache_far_smaller_than_the_film<R: Reclaim>() {
    let cache = cache::<R>(256 * KIB);
    let film = film(&cache, 300, LEN);
    let fetcher = {
        let film = film.clone();
        thread::spawn(move || {
            let mut wanted = film.wanted();
            while let Some(fetch) = wanted.next_blocking() {
                let piece = fetch.piece();
                film.insert_wait(piece, &of(piece, LEN), PATIENCE).unwrap();
            }
        })
    };
    let mut player = film.player(bytes(8 * LEN, 4 * LEN)).unwrap();
    let whole: Vec<u8> = (0..300).flat_map(|piece| of(piece, LEN)).collect();
    assert!(block_on(read_all(&mut player, 3000)) == whole);
    film.remove().unwrap();
    fetcher.join().unwrap();
    assert!(cache.stats().resident_peak <= 256 * KIB as u64);
}

#[test]
fn seeking_moves_the_playhead_and_nothing_else() {
    let film = film(&cache::<Interval>(MIB), 4, LEN);
    fill(&film, 0..4);
    let end = 4 * LEN as u64;
    let mut player = film.player(bytes(LEN, LEN)).unwrap();
    assert_eq!(seek(&mut player, SeekFrom::End(-1)).unwrap(), end - 1);
    let mut byte = [0; 2];
    assert_eq!(block_on(read(&mut player, &mut byte)).unwrap(), 1);
    assert_eq!(byte[0], of(3, LEN)[LEN - 1]);
    assert_eq!(seek(&mut player, SeekFrom::Current(-(LEN as i64))).unwrap(), end - LEN as u64);
    assert_eq!(seek(&mut player, SeekFrom::Start(5)).unwrap(), 5);
    block_on(read(&mut player, &mut byte)).unwrap();
    assert_eq!(byte, of(0, LEN)[5..7]);
    for bad in [SeekFrom::Current(i64::MIN), SeekFrom::End(i64::MIN)] {
        assert_eq!(seek(&mut player, bad).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(player.position(), 7, "a bad seek goes nowhere");
    for past in [SeekFrom::Start(end), SeekFrom::Start(u64::MAX), SeekFrom::End(10)] {
        seek(&mut player, past).unwrap();
        assert_eq!(block_on(read(&mut player, &mut byte)).unwrap(), 0);
    }
}

#[test]
fn a_read_ends_by_deadline_removal_abort_and_close() {
    let (cache, clock) = timed_cache::<Interval>(MIB);
    let (film, other) = (film(&cache, 4, LEN), film(&cache, 4, LEN));
    let mut buffer = [0; 8];
    let mut player = film.player(bytes(LEN, 0).deadline(Duration::from_secs(2))).unwrap();
    assert!(poll_read(&mut player, &mut buffer).is_pending());
    clock.advance(Duration::from_secs(2));
    let Poll::Ready(Err(error)) = poll_read(&mut player, &mut buffer) else { panic!("not ended") };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(poll_read(&mut player, &mut buffer).is_pending(), "a new read, a new deadline");
    film.remove().unwrap();
    let error = block_on(read(&mut player, &mut buffer)).unwrap_err();
    let gone = cause(error);
    assert!(matches!(gone, Error::Removed | Error::UnknownStorage { .. }), "{gone}");
    let mut player = other.player(bytes(LEN, 0)).unwrap();
    assert!(poll_read(&mut player, &mut buffer).is_pending());
    player.close();
    let closed = cause(block_on(read(&mut player, &mut buffer)).unwrap_err());
    assert_eq!(closed, Error::Dropped);
    let mut player = other.player(bytes(LEN, 0)).unwrap();
    assert!(poll_read(&mut player, &mut buffer).is_pending());
    cache.abort(Wait::No);
    assert_eq!(cause(block_on(read(&mut player, &mut buffer)).unwrap_err()), Error::Aborted);
    assert_eq!(other.player(bytes(1, 1)).unwrap_err(), Error::Aborted);
}

#[test]
fn a_player_reads_the_trusted_prefix_while_the_piece_arrives() {
    let cache = cache::<Interval>(MIB);
    let layout = common::layout(2, LEN);
    let film =
        cache.add_storage_with(layout, StorageOptions::default().readable_prefix(true)).unwrap();
    let whole = [of(0, LEN), of(1, LEN)].concat();
    let mut player = film.player(bytes(LEN, 0)).unwrap();
    let reader = thread::spawn(move || block_on(read_all(&mut player, 700)));
    for piece in 0..2u32 {
        for (block, n) in of(piece, LEN).chunks(500).zip(0..) {
            film.write(piece, n * 500, block).unwrap();
        }
        // The first piece is never committed, and read all the same.
    }
    film.commit(1).unwrap();
    assert!(reader.join().unwrap() == whole);
}

fn windows<R: Reclaim>(film: &lookbehind::Storage<R>) -> Vec<WindowStats> {
    film.stats().windows
}

#[test]
fn windows_follow_the_playhead_and_go_when_the_player_does() {
    let film = film(&cache::<Interval>(4 * MIB), 100, LEN);
    let mut player = film.player(bytes(1000, 500).position(300)).unwrap();
    assert_eq!(
        (windows(&film)[0].ahead.clone(), windows(&film)[0].behind.clone()),
        (300..1300, 0..300)
    );
    player.seek_to(5000);
    let window = &windows(&film)[0];
    assert_eq!(
        (&window.ahead, &window.behind, window.position),
        (&(5000..6000), &(4500..5000), 5000)
    );
    assert_eq!(window.viewer, player.viewer().id());
    drop(player);
    assert!(windows(&film).is_empty());
}

#[test]
fn windows_in_time_follow_the_bitrate() {
    let film = film(&cache::<Interval>(16 * MIB), 100, LEN);
    let seconds = |n| Extent::Time(Duration::from_secs(n));
    let config = PlayerConfig::default().ahead(seconds(10)).behind(seconds(5)).position(10_000);
    let player = film.player(config.bitrate(1000)).unwrap();
    assert_eq!(
        (&windows(&film)[0].ahead, &windows(&film)[0].behind),
        (&(10_000..20_000), &(5000..10_000))
    );
    player.set_bitrate(100);
    assert_eq!(
        (&windows(&film)[0].ahead, &windows(&film)[0].behind),
        (&(10_000..11_000), &(9500..10_000))
    );
}

#[test]
fn all_windows_together_are_fitted_to_half_the_budget() {
    let cache = cache::<Interval>(4 * MIB);
    let (a, b) = (film(&cache, 1000, LEN), film(&cache, 1000, LEN));
    let unbounded = Extent::Time(Duration::MAX);
    let config = || PlayerConfig::default().position(MIB as u64 * 2);
    let players = [
        a.player(config().ahead(unbounded).behind(unbounded)).unwrap(),
        a.player(config().ahead(Extent::Bytes(MIB as u64 * 3))).unwrap(),
        b.player(config().ahead(Extent::Bytes(u64::MAX)).behind(Extent::Bytes(u64::MAX))).unwrap(),
    ];
    let total = || -> u64 {
        let all = [windows(&a), windows(&b)].concat();
        all.iter().map(|w| w.ahead.end - w.behind.start).sum()
    };
    assert!(total() <= 2 * MIB as u64, "{}", total());
    cache.set_budget(2 * MIB as u64).unwrap();
    assert!(total() <= MIB as u64, "{}", total());
    drop(players);
    assert_eq!(total(), 0);
}

#[test]
fn joined_players_share_the_room_of_one_viewer() {
    let cache = cache::<Interval>(4 * MIB);
    let film = film(&cache, 1000, LEN);
    let viewer = Viewer::new();
    let config = || bytes(2 * MIB, 0);
    let one = film.player(config().viewer(viewer.clone())).unwrap();
    let alone = film.player(config()).unwrap();
    let before = windows(&film)[1].ahead.end;
    let two = film.player(config().viewer(viewer)).unwrap();
    assert_eq!((one.viewer(), windows(&film)[2].viewer), (two.viewer(), one.viewer().id()));
    assert_ne!(one.viewer(), alone.viewer());
    assert_eq!(windows(&film)[1].ahead.end, before, "the other viewer loses nothing");
    assert_eq!(windows(&film)[0].ahead.end, before / 2);
}

#[test]
fn windows_linger_as_long_as_asked_and_protect_less_meanwhile() {
    let (cache, clock) = timed_cache::<Interval>(4 * MIB);
    let film = film(&cache, 100, LEN);
    let player = film.player(bytes(LEN, LEN).linger(Duration::from_secs(60))).unwrap();
    assert!(!windows(&film)[0].lingering);
    drop(player);
    assert!(windows(&film)[0].lingering);
    assert!(film.wanted().try_next().is_none(), "nothing is fetched for who is gone");
    clock.advance(Duration::from_millis(59_999));
    assert_eq!(windows(&film).len(), 1);
    clock.advance(Duration::from_millis(1));
    assert!(windows(&film).is_empty());
    // A viewer who opens and closes again and again leaves only so many behind.
    let viewer = Viewer::new();
    for n in 0..50 {
        let config = bytes(LEN, LEN).viewer(viewer.clone()).linger(Duration::MAX);
        drop(film.player(config.position(n * LEN as u64)).unwrap());
    }
    assert!(windows(&film).len() <= 4, "{}", windows(&film).len());
    assert!(windows(&film).iter().any(|w| w.position == 49 * LEN as u64), "the newest stays");
}

#[test]
fn a_player_of_a_live_film_waits_at_its_end_until_it_grows_or_ends() {
    let cache = cache::<Interval>(MIB);
    let film = cache.add_storage(Layout::segments()).unwrap();
    let mut player = film.player(bytes(LEN, 0)).unwrap();
    assert!(poll_read(&mut player, &mut [0; 8]).is_pending(), "no segment yet");
    let reader = thread::spawn(move || block_on(read_all(&mut player, 300)));
    let mut whole = Vec::new();
    for piece in 0..50u32 {
        let len = 100 + piece as usize;
        assert_eq!(film.append_segment(len as u32), Ok(piece));
        whole.extend(of(piece, len));
        film.insert(piece, &of(piece, len)).unwrap();
    }
    assert!(!reader.is_finished(), "it may still grow");
    film.end();
    assert!(reader.join().unwrap() == whole);
}

#[test]
fn a_player_that_fell_out_of_the_live_window_is_told_so() {
    let cache = cache::<Interval>(MIB);
    let film = cache.add_storage(Layout::segments()).unwrap();
    for _ in 0..10 {
        film.append_segment(100).unwrap();
    }
    let mut player = film.player(bytes(100, 0).position(250)).unwrap();
    let mut streaming = film.player(bytes(100, 0).position(250)).unwrap();
    assert!(poll_read(&mut player, &mut [0; 8]).is_pending());
    let waiting = thread::spawn(move || block_on(next(&mut streaming)));
    common::eventually("both wait", || film.stats().waits == 2);
    let fetch = film.wanted().try_next().unwrap();
    film.drop_segments_before(5).unwrap();
    assert!(fetch.is_cancelled());
    let told = cause(block_on(read(&mut player, &mut [0; 8])).unwrap_err());
    let gone = |error: &Error| {
        matches!(error, Error::PieceOutOfRange { .. } | Error::OffsetOutOfRange { .. })
    };
    assert!(gone(&told), "{told}");
    assert!(gone(&waiting.join().unwrap().unwrap().unwrap_err()));
    // It may catch up.
    player.seek_to(500);
    film.insert(5, &of(5, 100)).unwrap();
    let mut buffer = [0; 100];
    assert_eq!(block_on(read(&mut player, &mut buffer)).unwrap(), 100);
    assert_eq!(buffer[..], of(5, 100));
}

#[test]
fn a_fetch_goes_on_where_another_window_takes_over_as_it_grows() {
    let leave: [fn(&mut Player); 3] = [
        |player| player.limit(7 * LEN as u64),
        |player| player.seek_to(20 * LEN as u64),
        |player| player.close(),
    ];
    for leave in leave {
        let film = film(&cache::<Interval>(64 * KIB), 40, LEN);
        // Half the budget is eight pieces: the first player has six of them, while the other is
        // there.
        let _first = film.player(bytes(12 * LEN, 0)).unwrap();
        let mut other = film.player(bytes(4 * LEN, 0).position(7 * LEN as u64)).unwrap();
        other.limit(20 * LEN as u64);
        assert!(poll_read(&mut other, &mut [0; 8]).is_pending());
        let fetch = film.wanted().try_next().unwrap();
        assert_eq!((fetch.piece(), windows(&film)[0].ahead.end), (7, 6 * LEN as u64));
        leave(&mut other);
        assert_eq!(windows(&film)[0].ahead.end, 8 * LEN as u64);
        assert!(!fetch.is_cancelled());
    }
}

#[test]
fn a_policy_is_told_what_a_player_does_until_it_is_closed() {
    struct Listening(Arc<Mutex<Vec<(Action, u64)>>>);
    impl Policy for Listening {
        fn worth(&self, _: &Candidate) -> f64 {
            0.0
        }
        fn notice(&self, event: &PlayerEvent) {
            self.0.lock().unwrap().push((event.action, event.position));
        }
    }
    let told = Arc::default();
    let cache =
        Cache::builder().budget(MIB as u64).policy(Listening(Arc::clone(&told))).build().unwrap();
    let film = film(&cache, 4, LEN);
    let config = bytes(LEN, 0).position(1).linger(Duration::from_secs(60));
    let mut player = film.player(config).unwrap();
    player.resume();
    for _ in 0..2 {
        player.pause();
    }
    player.seek_to(7);
    player.resume();
    player.close();
    let lingering = windows(&film);
    for _ in 0..2 {
        // A viewer who pauses what is closed would count as paused where he watches next.
        player.close();
        player.pause();
        player.seek_to(9);
        player.resume();
        player.limit(0);
        player.set_bitrate(1);
        let sought = seek(&mut player, SeekFrom::Start(3)).unwrap_err();
        assert_eq!((cause(sought), player.position()), (Error::Dropped, 7));
    }
    assert_eq!(windows(&film), lingering);
    drop(player);
    let expected = [
        (Action::Open, 1),
        (Action::Pause, 1),
        (Action::Seek { from: 1 }, 7),
        (Action::Resume, 7),
        (Action::Close, 7),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[test]
fn a_film_that_has_ended_is_not_said_to_grow() {
    struct Listening(Arc<Mutex<Vec<(bool, bool)>>>);
    impl Policy for Listening {
        fn worth(&self, _: &Candidate) -> f64 {
            0.0
        }
        fn rank(&self, scene: &Scene<'_>, candidates: &[Candidate], worth: &mut Vec<f64>) {
            self.0.lock().unwrap().push((false, scene.live));
            worth.resize(candidates.len(), 0.0);
        }
        fn notice(&self, event: &PlayerEvent) {
            self.0.lock().unwrap().push((true, event.live));
        }
    }
    let told = Arc::default();
    let cache =
        Cache::builder().budget(MIB as u64).policy(Listening(Arc::clone(&told))).build().unwrap();
    let film = cache.add_storage(Layout::segments()).unwrap();
    for live in [true, false] {
        if !live {
            film.end();
        }
        drop(film.player(PlayerConfig::default()).unwrap());
        let before = cache.stats().evictions;
        while cache.stats().evictions == before {
            if live {
                let piece = film.append_segment(LEN as u32).unwrap();
                film.insert(piece, &of(piece, LEN)).unwrap();
            } else {
                let gone = film.layout().pieces().find(|piece| !film.contains(*piece)).unwrap();
                film.insert(gone, &of(gone, LEN)).unwrap();
            }
        }
        let told = std::mem::take(&mut *told.lock().unwrap());
        assert!(told.iter().any(|(event, _)| *event) && told.iter().any(|(event, _)| !*event));
        assert!(told.iter().all(|(_, said)| *said == live), "{told:?}");
    }
}
