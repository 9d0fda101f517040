//! Files that change, shrink or vanish while they are served.

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::{Client, Folder, Server, bytes, eventually};

const LEN: u64 = 2_000_000;
/// Slow enough that a response is under way for some seconds.
const SLOW: [&str; 4] = ["--origin-rate", "4Mbit", "--piece-size", "64KiB"];

/// Begins a whole transfer and reads the first bytes.
fn begin(server: &Server, film: usize) -> (Client, Vec<u8>) {
    let mut client = server.connect();
    client.send("GET", &format!("/media/{film}"), &[]);
    assert_eq!(client.head().status, 200);
    let first = client.body(50_000).unwrap();
    (client, first)
}

/// The transfer ends early, and what came of it is the old film's.
fn ends_early((mut client, mut got): (Client, Vec<u8>), kind: u64) {
    got.extend(client.rest());
    assert!((got.len() as u64) < LEN, "it was to end early");
    assert!(got == bytes(kind, 0..got.len() as u64), "bytes of another state");
}

fn rewrite(path: &Path, kind: u64, len: u64) {
    OpenOptions::new().write(true).open(path).unwrap().write_all(&bytes(kind, 0..len)).unwrap();
}

#[test]
fn a_rewritten_file_is_another_film() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, LEN);
    let server = Server::start(&[&film], &SLOW);
    let old = server.connect().request("HEAD", "/media/0", &[]);
    let transfer = begin(&server, 0);
    rewrite(&film, 2, LEN); // the same length, in place
    ends_early(transfer, 1);
    let new = server.get("/media/0", &[("Range", "bytes=0-99999")]);
    assert_eq!(new.status, 206);
    assert!(new.body == bytes(2, 0..100_000));
    assert_ne!(new.field("etag"), old.field("etag"));
    // Who goes on with the old state's tag gets the new state from its beginning.
    let etag = old.field("etag").unwrap();
    let fields = [("Range", "bytes=50000-"), ("If-Range", etag)];
    let mut client = server.connect();
    client.send("GET", "/media/0", &fields);
    assert_eq!(client.head().status, 200);
    assert!(client.body(50_000).unwrap() == bytes(2, 0..50_000));
    assert_eq!(server.get("/media/0", &[("If-Match", etag)]).status, 412);
    eventually("the old storage is gone", || server.metric("lookbehind_storages") == 1);
}

#[test]
fn a_change_that_hides_its_time_is_seen() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, 100_000);
    let time = SystemTime::now() - Duration::from_secs(1000);
    let set_back = || {
        let file = File::options().write(true).open(&film).unwrap();
        file.set_modified(time).unwrap();
    };
    set_back();
    let server = Server::start(&[&film], &[]);
    let old = server.get("/media/0", &[]);
    assert!(old.body == bytes(1, 0..100_000));
    rewrite(&film, 2, 100_000);
    set_back();
    let new = server.get("/media/0", &[]);
    assert_eq!(new.field("last-modified"), old.field("last-modified"));
    assert!(new.body == bytes(2, 0..100_000));
    assert_ne!(new.field("etag"), old.field("etag"));
}

#[test]
fn times_that_http_cannot_say() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, 5000);
    let century = Duration::from_secs(100 * 365 * 86_400);
    for time in [SystemTime::UNIX_EPOCH - century, SystemTime::now() + century] {
        File::options().write(true).open(&film).unwrap().set_modified(time).unwrap();
        let server = Server::start(&[&film], &[]);
        let whole = server.get("/media/0", &[]);
        assert_eq!(whole.status, 200);
        assert!(whole.body == bytes(1, 0..5000));
        let date = "Thu, 01 Jan 1970 00:00:00 GMT";
        for condition in ["If-Range", "If-Modified-Since", "If-Unmodified-Since"] {
            let fields = [("Range", "bytes=0-9"), (condition, date)];
            let status = server.get("/media/0", &fields).status;
            assert!([200, 206, 412].contains(&status), "{condition}: {status}");
        }
    }
}

#[test]
fn a_replaced_file_is_another_film() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, LEN);
    let server = Server::start(&[&film], &SLOW);
    let transfer = begin(&server, 0);
    let other = folder.film("other.mp4", 2, LEN);
    fs::rename(&other, &film).unwrap();
    ends_early(transfer, 1);
    assert!(server.get("/media/0", &[("Range", "bytes=0-9")]).body == bytes(2, 0..10));
}

#[test]
fn a_file_that_shrinks_ends_its_responses_only() {
    let folder = Folder::new();
    let (film, other) = (folder.film("film.mp4", 1, LEN), folder.film("other.mp4", 2, 100_000));
    let server = Server::start(&[&film, &other], &SLOW);
    let transfer = begin(&server, 0);
    OpenOptions::new().write(true).open(&film).unwrap().set_len(1000).unwrap();
    ends_early(transfer, 1);
    assert!(server.get("/media/1", &[]).body == bytes(2, 0..100_000));
    let short = server.get("/media/0", &[]);
    assert_eq!((short.status, short.body.len()), (200, 1000));
    File::create(&film).unwrap();
    assert_eq!(server.get("/media/0", &[]).status, 500, "an empty film");
    assert_eq!(server.get("/", &[]).status, 200);
}

#[test]
fn a_file_that_vanishes_ends_its_responses_only() {
    let folder = Folder::new();
    let (film, other) = (folder.film("film.mp4", 1, LEN), folder.film("other.mp4", 2, 100_000));
    let server = Server::start(&[&film, &other], &SLOW);
    let transfer = begin(&server, 0);
    fs::remove_file(&film).unwrap();
    ends_early(transfer, 1);
    for _ in 0..2 {
        assert_eq!(server.get("/media/0", &[]).status, 404);
    }
    assert!(server.storage(0).is_null());
    assert!(server.get("/media/1", &[]).body == bytes(2, 0..100_000));
    folder.film("film.mp4", 3, 5000);
    assert!(server.get("/media/0", &[]).body == bytes(3, 0..5000), "and may come back");
}

#[test]
fn what_is_cached_of_a_vanished_file_is_not_served() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, 5000);
    let server = Server::start(&[&film], &[]);
    assert_eq!(server.get("/media/0", &[]).status, 200);
    fs::remove_file(&film).unwrap();
    assert_eq!(server.get("/media/0", &[]).status, 404);
    fs::create_dir(&film).unwrap();
    assert_eq!(server.get("/media/0", &[]).status, 500);
}

/// Each look at a file that is being written takes a while; those who ask share it.
#[test]
fn many_may_ask_for_a_file_that_is_being_written() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, 5000);
    let server = Server::start(&[&film], &[]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = OpenOptions::new().append(true).open(&film).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all(&[1]).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        std::thread::sleep(Duration::from_millis(50));
        let begun = std::time::Instant::now();
        let asking: Vec<_> =
            (0..64).map(|_| scope.spawn(|| server.get("/media/0", &[]).status)).collect();
        let statuses: Vec<u16> = asking.into_iter().map(|asked| asked.join().unwrap()).collect();
        let took = begun.elapsed();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        // One by one they would take 64 times three looks, 20 ms apart.
        let writing = statuses.iter().filter(|status| **status == 503).count();
        println!("{writing} were told that it is being written, after {took:?}");
        assert!(took < Duration::from_millis(64 * 3 * 20 / 2), "{took:?}");
    });
}

#[test]
fn a_file_that_never_rests_mixes_nothing() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, 300_000);
    let server = Server::start(&[&film], &["--piece-size", "16KiB"]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for kind in (2..).take_while(|_| !stop.load(std::sync::atomic::Ordering::Relaxed)) {
                // A new file each time, put in place at once: every state is of one kind.
                let next = folder.film("next.mp4", kind, 300_000);
                fs::rename(next, &film).unwrap();
                std::thread::sleep(Duration::from_millis(kind % 7 * 10));
            }
        });
        let mut whole = 0;
        eventually("some transfers are whole", || {
            let mut client = server.connect();
            client.send("GET", "/media/0", &[]);
            let head = client.head();
            assert!([200, 503].contains(&head.status), "{}", head.status);
            if head.status == 200
                && let Ok(body) = client.body(300_000)
            {
                whole += 1;
                let kind = (1..10_000).find(|kind| bytes(*kind, 0..8) == body[..8]).unwrap();
                assert!(body == bytes(kind, 0..300_000), "two states in one body");
            }
            whole == 10
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
