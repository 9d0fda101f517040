//! A seeder, the program that downloads from it, and a client that watches: three processes on one
//! machine. Nothing here depends on how fast they are.
#![cfg(unix)]

mod common;

use std::fs;
use std::ops::Range;

use common::{Client, DEADLINE, Folder, Seeder, Server, bytes, eventually, refuses};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A film of `kind` and `len` with a seeder, in pieces of 128 KiB.
fn seeded(folder: &Folder, kind: u64, len: u64, options: &[&str]) -> Seeder {
    let film = folder.film("film.mkv", kind, len);
    let mut all = vec!["--piece-size", "128KiB"];
    all.extend(options);
    Seeder::start(&film, &folder.path("film.torrent"), &all)
}

fn asks(client: &mut Client, path: &str, range: &Range<u64>) -> Vec<u8> {
    let asked = format!("bytes={}-{}", range.start, range.end - 1);
    let answer = client.request("GET", path, &[("Range", &asked)]);
    assert_eq!(answer.status, 206);
    answer.body
}

#[test]
fn a_film_is_right_out_of_a_budget_far_below_its_size() {
    let folder = Folder::new();
    let (len, budget) = (24 * MIB + 12_345, 3 * MIB);
    let seeder = seeded(&folder, 1, len, &[]);
    let server = Server::start(&seeder.torrent(), &[&seeder], &["--budget", "3MiB"]);
    let answer = server.get("/media/0", &[]);
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("video/x-matroska")));
    assert_eq!(common::sha256(&answer.body), common::sha256(&bytes(1, 0..len)));
    assert!(server.metric("lookbehind_resident_bytes_peak") <= budget);
    assert!(server.metric("lookbehind_evictions_total") > 0);
    assert!(server.metric("lookbehind_torrent_received_bytes_total") >= len);
    assert_eq!(server.metric("lookbehind_torrent_peers"), 1);
}

#[test]
fn seeks_back_and_forth_find_what_is_there_and_what_was_evicted() {
    let folder = Folder::new();
    let (len, budget) = (16 * MIB, 2 * MIB);
    let seeder = seeded(&folder, 2, len, &[]);
    let options = ["--budget", "2MiB", "--ahead", "512KiB", "--behind", "512KiB"];
    let server = Server::start(&seeder.torrent(), &[&seeder], &options);
    let mut client = server.connect();
    for round in 0..3 {
        for place in [0, 9, 1, 15, 4, 3, 14, 2, 0, 8] {
            let start = place * MIB + 1000 * round;
            let range = start..(start + 300 * KIB).min(len);
            assert!(asks(&mut client, "/media/0", &range) == bytes(2, range), "{place} MiB");
        }
    }
    assert!(server.metric("lookbehind_evictions_total") > 0);
    assert!(server.metric("lookbehind_resident_bytes_peak") <= budget);
}

#[test]
fn a_seek_downloads_what_lies_there_and_little_else() {
    let folder = Folder::new();
    let seeder = seeded(&folder, 3, 32 * MIB, &[]);
    let options = ["--budget", "16MiB", "--ahead", "256KiB"];
    let server = Server::start(&seeder.torrent(), &[&seeder], &options);
    let mut client = server.connect();
    for start in [20 * MIB, 5 * MIB, 30 * MIB] {
        let range = start..start + 200 * KIB;
        assert!(asks(&mut client, "/media/0", &range) == bytes(3, range));
    }
    let received = server.metric("lookbehind_torrent_received_bytes_total");
    assert!(received < 8 * MIB, "{received} bytes for 600 KiB, of a film of 32 MiB");
}

#[test]
fn viewers_watch_different_places_at_once() {
    let folder = Folder::new();
    let len = 12 * MIB;
    let seeder = seeded(&folder, 4, len, &[]);
    let server = Server::start(&seeder.torrent(), &[&seeder], &["--budget", "3MiB"]);
    std::thread::scope(|scope| {
        for viewer in 0..4 {
            let server = &server;
            scope.spawn(move || {
                let path = format!("/media/0?viewer={viewer}");
                let range = viewer * 2 * MIB..viewer * 2 * MIB + 4 * MIB;
                assert!(asks(&mut server.connect(), &path, &range) == bytes(4, range));
            });
        }
    });
    assert!(server.metric("lookbehind_resident_bytes_peak") <= 3 * MIB);
}

/// Their borders are not those of pieces, in version 1; in the others zeros lie between them.
#[test]
fn each_file_of_a_torrent_is_a_film() {
    for version in [&["--only", "v1"][..], &["--only", "v2"], &[]] {
        let folder = Folder::new();
        fs::create_dir_all(folder.path("show/season")).unwrap();
        let files =
            [("show/notes.txt", 5), ("show/season/1.mp4", 700_001), ("show/season/2.mp4", 500_000)];
        for (kind, (name, len)) in (1..).zip(files) {
            folder.film(name, kind, len);
        }
        fs::write(folder.path("show/empty.mp4"), "").unwrap();
        let mut options = vec!["--piece-size", "64KiB"];
        options.extend(version);
        let seeder = Seeder::start(&folder.path("show"), &folder.path("show.torrent"), &options);
        let server = Server::start(&seeder.torrent(), &[&seeder], &["--budget", "1MiB"]);
        assert_eq!(server.lines.len(), 4, "three films and the page: {:?}", server.lines);
        let mut tags = Vec::new();
        for (name, len) in files {
            let name = name.rsplit('/').next().unwrap();
            let kind = files.iter().position(|(full, _)| full.ends_with(name)).unwrap() as u64 + 1;
            let number = server.lines.iter().position(|line| line.contains(name)).unwrap();
            let path = format!("/media/{number}");
            let answer = server.get(&path, &[]);
            assert!(answer.body == bytes(kind, 0..len), "{version:?}: {name}");
            let end = len - len / 3..len;
            assert!(asks(&mut server.connect(), &path, &end) == bytes(kind, end), "{name}");
            tags.push(answer.field("etag").expect("a tag").to_owned());
            assert_eq!(answer.field("last-modified"), None);
            let again = server.get(&path, &[("If-None-Match", &tags[tags.len() - 1])]);
            assert_eq!(again.status, 304);
        }
        assert!(tags.iter().all(|tag| tag.starts_with('"') && tag.len() >= 40), "{tags:?}");
        tags.dedup();
        assert_eq!(tags.len(), 3);
    }
}

#[test]
fn a_magnet_link_gets_its_metadata_from_the_peer() {
    for version in [&["--only", "v1"][..], &["--only", "v2"], &[]] {
        let folder = Folder::new();
        let seeder = seeded(&folder, 5, 3 * MIB, version);
        let server = Server::start(&seeder.magnet, &[&seeder], &["--budget", "2MiB"]);
        assert!(server.lines[0].starts_with("serving film.mkv at "), "{:?}", server.lines);
        assert!(server.get("/media/0", &[]).body == bytes(5, 0..3 * MIB), "{version:?}");
    }
}

#[test]
fn what_a_peer_sends_wrong_is_never_shown() {
    let folder = Folder::new();
    let len = 4 * MIB;
    let good = seeded(&folder, 6, len, &[]);
    let other = folder.path("other");
    fs::create_dir(&other).unwrap();
    fs::copy(folder.path("film.mkv"), other.join("film.mkv")).unwrap();
    let options = ["--piece-size", "128KiB"];
    let bad = Seeder::start(&other.join("film.mkv"), &folder.path("other.torrent"), &options);
    // Every piece of it is wrong by now, in its first byte.
    let file = fs::File::options().write(true).open(other.join("film.mkv")).unwrap();
    for piece in 0..len / (128 * KIB) {
        let at = piece * 128 * KIB;
        let wrong = !bytes(6, at..at + 1)[0];
        std::os::unix::fs::FileExt::write_all_at(&file, &[wrong], at).unwrap();
    }
    let server = Server::start(&good.torrent(), &[&bad], &["--budget", "2MiB"]);
    let mut client = server.connect();
    client.send("GET", "/media/0", &[]);
    assert_eq!(client.head().status, 200);
    eventually("it finds out", || server.metric("lookbehind_torrent_wasted_bytes_total") > 0);
    drop((client, server));
    let server = Server::start(&good.torrent(), &[&bad, &good], &["--budget", "2MiB"]);
    assert!(server.get("/media/0", &[]).body == bytes(6, 0..len));
}

#[test]
fn a_request_waits_for_a_peer_to_come() {
    let folder = Folder::new();
    let seeder = seeded(&folder, 7, MIB, &[]);
    let (torrent, address) = (seeder.torrent(), seeder.address);
    drop(seeder);
    let peer = address.to_string();
    let server = Server::start(&torrent, &[], &["--peer", &peer]);
    let mut client = server.connect();
    client.send("GET", "/media/0", &[]);
    assert_eq!(client.head().status, 200);
    let listen = ["--listen", &peer, "--piece-size", "128KiB"];
    let _seeder = Seeder::start(&folder.path("film.mkv"), &folder.path("again.torrent"), &listen);
    assert!(client.body(MIB as usize).expect("it comes") == bytes(7, 0..MIB));
}

#[test]
fn without_peers_clients_give_up_and_the_program_goes_on() {
    let folder = Folder::new();
    let seeder = seeded(&folder, 8, MIB, &[]);
    let torrent = seeder.torrent();
    drop(seeder);
    let mut server = Server::start(&torrent, &[], &[]);
    for _ in 0..3 {
        let mut client = server.connect();
        client.send("GET", "/media/0", &[]);
        assert_eq!(client.head().status, 200);
        assert_eq!(server.get("/healthz", &[]).status, 200);
    }
    eventually("their connections are closed", || {
        // The one that asks is still there.
        server.metric("lookbehind_connections") == 1
    });
    server.program.signal("TERM");
    assert_eq!(server.program.ended(DEADLINE).code(), Some(0));
}

#[test]
fn signals_end_it_in_good_order() {
    let folder = Folder::new();
    let seeder = seeded(&folder, 9, 8 * MIB, &[]);
    for (name, reads) in [("TERM", 0), ("INT", 1000), ("TERM", 2 << 20)] {
        let mut server = Server::start(&seeder.torrent(), &[&seeder], &["--budget", "2MiB"]);
        let mut client = server.connect();
        client.send("GET", "/media/0", &[]);
        assert_eq!(client.head().status, 200);
        assert!(client.body(reads).unwrap() == bytes(9, 0..reads as u64));
        server.program.signal(name);
        // Transfers may go on for a while; this one has all that it wants.
        drop(client);
        assert_eq!(server.program.ended(DEADLINE).code(), Some(0), "SIG{name}");
        std::net::TcpListener::bind(server.address).expect("the port is free again");
    }
}

#[test]
fn a_signal_ends_it_while_it_waits_for_metadata() {
    let folder = Folder::new();
    let seeder = seeded(&folder, 10, MIB, &[]);
    let magnet = seeder.magnet.clone();
    drop(seeder);
    let mut waiting = Server::spawn(&magnet, &[], &[]);
    eventually("it heeds signals", || waiting.program.heeds_signals());
    waiting.program.signal("TERM");
    assert_eq!(waiting.program.ended(DEADLINE).code(), Some(0));
}

#[test]
fn what_is_no_torrent_is_said_in_one_line() {
    let folder = Folder::new();
    let film = folder.film("film.mkv", 1, 100_000);
    let film = film.to_str().unwrap();
    let missing = folder.path("missing.torrent");
    let missing = missing.to_str().unwrap();
    refuses(&[film], &["film.mkv: "]);
    refuses(&[missing], &["missing.torrent", "cannot be read"]);
    refuses(&[folder.path("").to_str().unwrap()], &["not a regular file"]);
    refuses(&["/dev/zero"], &["not a regular file"]);
    refuses(&["magnet:?xt=urn:nothing"], &["magnet:?xt=urn:nothing: "]);
    let seeder = seeded(&folder, 11, MIB, &[]);
    let torrent = seeder.torrent();
    refuses(
        &[&torrent, "--budget", "200KiB"],
        &["8 pieces of 131072 bytes", "--budget of 204800 bytes"],
    );
    refuses(&[&torrent, "--budget", "1"], &["film.torrent", "budget"]);
    refuses(&[&torrent, "--peer", "nobody.invalid:1"], &["--peer nobody.invalid:1"]);
    refuses(&[&torrent, "--listen", "0.0.0.0:0"], &["--insecure"]);
}
