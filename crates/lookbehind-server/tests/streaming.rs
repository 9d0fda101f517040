//! Players at work: forward, back, a second range, a slow client, one that goes away.

mod common;

use std::time::{Duration, Instant};

use common::{Client, Folder, Server, bytes, eventually, fill};

/// Reads on to the end of the range and compares.
fn read_on(client: &mut Client, kind: u64, range: std::ops::Range<u64>) {
    let mut expected = vec![0; 64 * 1024];
    let mut at = range.start;
    while at < range.end {
        let size = (range.end - at).min(expected.len() as u64) as usize;
        fill(kind, at, &mut expected[..size]);
        assert!(client.body(size).expect("the body goes on") == expected[..size], "at {at}");
        at += size as u64;
    }
}

#[test]
fn seeking_back_fetches_nothing_again() {
    let folder = Folder::new();
    let film = folder.film("film.mkv", 1, 6 << 20);
    // 10 kB a second: 60 s are 600 kB, 30 s ahead 300 kB. Two viewers' windows come to less than
    // half the budget; all that they read, to more than the budget.
    let server = Server::start(
        &[&film],
        &[
            "--bitrate",
            "80kbit",
            "--budget",
            "4MiB",
            "--piece-size",
            "16KiB",
            "--ahead",
            "30s",
            "--behind",
            "60s",
        ],
    );
    let agent = [("User-Agent", "player")];
    let mut client = server.connect();
    client.send("GET", "/media/0", &agent);
    assert_eq!(client.head().status, 200);
    read_on(&mut client, 1, 0..600_000);
    drop(client);
    // Another viewer makes the cache evict.
    let away = [("Range", "bytes=2000000-5900000"), ("User-Agent", "another player")];
    assert_eq!(server.get("/media/0", &away).body.len(), 3_900_001);
    assert!(server.metric("lookbehind_evictions_total") > 0);
    let quiet = || server.storage(0)["assembling_pieces"] == 0;
    eventually("nothing is being fetched", quiet);
    let before = server.metric("lookbehind_origin_fetches_total");
    let refetched = server.metric("lookbehind_refetches_total");
    // 30 s back, over a new connection, then on over the same one.
    let mut client = server.connect();
    for (asked, range) in
        [("bytes=300000-449999", 300_000..450_000), ("bytes=450000-599999", 450_000..600_000)]
    {
        let fields = [("Range", asked), agent[0]];
        let answer = client.request("GET", "/media/0", &fields);
        assert!(answer.body == bytes(1, range), "{asked}");
    }
    assert_eq!(server.metric("lookbehind_origin_fetches_total"), before, "origin fetches");
    assert_eq!(server.metric("lookbehind_refetches_total"), refetched);
}

#[test]
fn requests_of_a_player_are_one_viewer() {
    let folder = Folder::new();
    let film = folder.film("film.mkv", 1, 1 << 20);
    let server = Server::start(&[&film], &["--piece-size", "64KiB"]);
    let viewers = |count: usize| {
        let windows = server.storage(0)["windows"].clone();
        let mut ids: Vec<u64> =
            windows.as_array().unwrap().iter().map(|w| w["viewer"].as_u64().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{windows}");
    };
    let get = |path: &str, agent: &str, range: &str| {
        server.get(path, &[("User-Agent", agent), ("Range", range)]);
    };
    get("/media/0", "one", "bytes=0-9");
    get("/media/0", "one", "bytes=500000-500009");
    viewers(1);
    get("/media/0", "two", "bytes=0-9");
    viewers(2);
    get("/media/0?viewer=me", "two", "bytes=100000-100009");
    get("/media/0?x=1&viewer=me", "three", "bytes=200000-200009");
    viewers(3);
}

#[test]
fn invented_viewers_leave_few_windows() {
    let folder = Folder::new();
    let film = folder.film("film.mkv", 1, 1 << 20);
    let server = Server::start(&[&film], &["--piece-size", "64KiB"]);
    let mut playing = server.connect();
    playing.send("GET", "/media/0?viewer=playing", &[("Range", "bytes=0-999999")]);
    assert_eq!(playing.head().status, 206);
    let mut client = server.connect();
    for number in 0..600 {
        let path = format!("/media/0?viewer={number}");
        let answer = client.request("GET", &path, &[("Range", "bytes=0-9")]);
        assert!(answer.body == bytes(1, 0..10));
    }
    let windows = server.storage(0)["windows"].as_array().unwrap().len();
    assert!((100..=300).contains(&windows), "{windows}");
    read_on(&mut playing, 1, 0..1_000_000);
}

/// TorrServer#845: a seek opened a second range and killed the stream.
#[test]
fn a_second_range_does_not_disturb_the_first() {
    let folder = Folder::new();
    let len = 8 << 20;
    let film = folder.film("film.mp4", 1, len);
    let server = Server::start(
        &[&film],
        &["--budget", "2MiB", "--piece-size", "64KiB", "--origin-delay", "2ms"],
    );
    let mut first = server.connect();
    first.send("GET", "/media/0", &[("Range", "bytes=0-")]);
    assert_eq!(first.head().status, 206);
    for step in 0..16 {
        let at = step * (len / 16);
        read_on(&mut first, 1, at..at + len / 32);
        let seek = (at * 7 + len / 2) % len;
        let mut second = server.connect();
        second.send("GET", "/media/0", &[("Range", &format!("bytes={seek}-"))]);
        assert_eq!(second.head().status, 206);
        read_on(&mut second, 1, seek..(seek + 100_000).min(len));
        drop(second); // in the middle of its body
        read_on(&mut first, 1, at + len / 32..at + len / 16);
    }
}

#[test]
fn a_closed_socket_ends_its_fetches() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, 8 << 20);
    let limit = Duration::from_millis(100);
    let mut took = Vec::new();
    // The machine may be busy with other things; once in three is proof enough.
    for _ in 0..3 {
        let server = Server::start(&[&film], &["--origin-rate", "800kbit"]);
        let mut client = server.connect();
        client.send("GET", "/media/0", &[]);
        assert_eq!(client.head().status, 200);
        eventually("fetches are under way", || {
            server.storage(0)["assembling_pieces"].as_u64().unwrap() > 0
        });
        let fetches = server.metric("lookbehind_origin_fetches_total");
        let begun = Instant::now();
        drop(client);
        eventually("the fetches end", || {
            server.metric("lookbehind_origin_cancelled_total") == fetches
        });
        took.push(begun.elapsed());
        assert_eq!(server.metric("lookbehind_origin_fetches_total"), fetches, "no more begin");
        assert_eq!(server.storage(0)["assembling_pieces"], 0, "their memory is given back");
        if took.iter().any(|took| *took < limit) {
            return;
        }
    }
    panic!("not within {limit:?}: {took:?}");
}

#[test]
fn stalled_clients_pin_a_quarter_of_the_budget() {
    let folder = Folder::new();
    let (len, budget) = (24 << 20, 4 << 20);
    let film = folder.film("film.mp4", 1, len);
    let server = Server::start(&[&film], &["--budget", "4MiB", "--piece-size", "128KiB"]);
    // They ask and read no more than the head; the socket's buffers fill, and there it stays.
    let mut stalled = Vec::new();
    for number in 0..24 {
        let mut client = server.connect();
        client.send("GET", &format!("/media/0?viewer={number}"), &[]);
        assert_eq!(client.head().status, 200);
        stalled.push(client);
    }
    let pinned = || server.metric("lookbehind_response_pinned_bytes");
    let full = budget / 4 / (128 << 10) * (128 << 10);
    eventually("the quarter is pinned", || {
        assert!(pinned() <= budget / 4, "more than a quarter");
        pinned() == full
    });
    let mut client = server.connect();
    client.send("GET", "/media/0?viewer=last", &[]);
    assert_eq!(client.head().status, 200);
    read_on(&mut client, 1, 0..len);
    assert!(pinned() <= budget / 4);
    assert_eq!(server.metric("lookbehind_snapshots"), 0, "no client holds a snapshot");
    assert!(server.metric("lookbehind_resident_bytes_peak") <= budget);
    drop(stalled);
    eventually("all is given back", || pinned() == 0);
    eventually("in the cache too", || server.metric("lookbehind_pinned_bytes") == 0);
}

#[test]
fn the_origin_is_as_slow_as_asked() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, 500_000);
    let options = ["--origin-rate", "8Mbit", "--origin-delay", "100ms", "--piece-size", "64KiB"];
    let server = Server::start(&[&film], &options);
    let begun = Instant::now();
    assert!(server.get("/media/0", &[]).body == bytes(1, 0..500_000));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(590), "{took:?}");
    let begun = Instant::now();
    assert!(server.get("/media/0", &[]).body == bytes(1, 0..500_000));
    assert!(begun.elapsed() < Duration::from_millis(500), "and the cache is not");
}
