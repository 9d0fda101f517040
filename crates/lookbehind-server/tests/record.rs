//! `serve --record` writes down what viewers did, and `simulate` reads it.
#![cfg(unix)]

mod common;

use std::time::Duration;

use common::{Folder, Server, bytes, program};

/// The pieces of all events of that kind, in their order.
fn pieces(trace: &str, kind: &str) -> Vec<u32> {
    let fields = trace.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let of_kind = fields.filter(|fields| fields.get(3) == Some(&kind));
    of_kind.map(|fields| fields[4].parse().expect("a piece")).collect()
}

#[test]
fn what_viewers_did_is_a_trace() {
    let folder = Folder::new();
    let film = folder.film("film.mkv", 1, 1 << 20);
    let trace = folder.path("trace.csv");
    let record = ["--record", trace.to_str().expect("a plain name")];
    let options = ["--piece-size", "64KiB", "--bitrate", "512KiB", "--ahead", "128KiB"];
    let mut server = Server::start(&[&film], &[&record[..], &options].concat());
    let play = |range: std::ops::Range<u64>| {
        let field = format!("bytes={}-{}", range.start, range.end - 1);
        let fields = [("Range", field.as_str()), ("User-Agent", "one")];
        assert!(server.get("/media/0", &fields).body == bytes(1, range));
    };
    // Four pieces, on over another connection, and back to the second.
    play(0..0x4_0000);
    play(0x4_0000..0x6_0000);
    play(0x1_8000..0x2_0000);
    let simulated = || {
        let simulate = ["simulate", "--format", "csv", "--policy", "opt,density", "--budget", "8"];
        let output = program().args(simulate).arg(&trace).output().expect("the program runs");
        // An error, should nothing be written yet.
        let said = if output.status.success() { output.stdout } else { output.stderr };
        String::from_utf8(said).expect("UTF-8")
    };
    // It is a trace while it is written, too; all but that somebody leaves is there soon.
    let right = |csv: &str| csv.lines().any(|line| line.ends_with(",11,6,0,0"));
    let mut patience = 0..500;
    while !right(&simulated()) {
        patience.next().expect("what viewers did is written at once");
        std::thread::sleep(Duration::from_millis(10));
    }
    server.program.signal("TERM");
    assert!(server.program.ended(Duration::from_secs(20)).success());
    let text = std::fs::read_to_string(&trace).expect("it was written");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.contains(&"# storage,0,16,65536,0.125,0"), "{text}");
    let kinds = |kind| pieces(&text, kind);
    assert_eq!(kinds("open"), [0], "{text}");
    assert_eq!(kinds("seek"), [0, 1]);
    assert_eq!(kinds("play"), [1, 2, 3, 4, 5]);
    assert_eq!(kinds("close"), [1]);
    // No further than a response goes.
    assert_eq!(kinds("readahead"), [1, 2, 3, 5]);
    let csv = simulated();
    assert!(right(&csv), "{csv}");
}

#[test]
fn of_two_responses_at_once_each_goes_on_by_itself() {
    let folder = Folder::new();
    // Far more than waits in sockets.
    let film = folder.film("film.mkv", 1, 32 << 20);
    let trace = folder.path("trace.csv");
    let record = ["--record", trace.to_str().expect("a plain name")];
    let options = ["--piece-size", "256KiB", "--bitrate", "1MiB", "--ahead", "1MiB"];
    let mut server = Server::start(&[&film], &[&record[..], &options].concat());
    let mut halves = [0_u64, 16 << 20].map(|start| {
        let mut client = server.connect();
        let field = format!("bytes={start}-{}", start + (16 << 20) - 1);
        client.send("GET", "/media/0", &[("Range", &field), ("User-Agent", "one")]);
        client.head();
        (client, start)
    });
    for _ in 0..16 {
        for (client, at) in &mut halves {
            assert!(client.body(1 << 20).expect("it goes on") == bytes(1, *at..*at + (1 << 20)));
            *at += 1 << 20;
        }
    }
    drop(halves);
    server.program.signal("TERM");
    assert!(server.program.ended(Duration::from_secs(20)).success());
    let text = std::fs::read_to_string(&trace).expect("it was written");
    assert_eq!(pieces(&text, "seek"), [0, 64]);
    let mut played = pieces(&text, "play");
    played.sort_unstable();
    played.dedup();
    assert!((1..64).chain(65..128).all(|piece| played.contains(&piece)), "{played:?}");
    let mut ahead = pieces(&text, "readahead");
    let count = ahead.len();
    ahead.sort_unstable();
    ahead.dedup();
    assert_eq!(count, ahead.len(), "none twice");
}

#[test]
fn what_is_there_is_not_recorded_over() {
    let folder = Folder::new();
    let film = folder.film("film.mkv", 1, 1 << 16);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--record"];
    let output = program().args(serve).args([&film, &film]).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("--record ") && error.contains("film.mkv: "), "{error}");
    assert!(std::fs::read(&film).expect("it is there") == bytes(1, 0..1 << 16));
}

#[test]
fn a_recording_that_cannot_be_written_is_refused() {
    let folder = Folder::new();
    let nowhere = folder.path("no/trace.csv");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--record"];
    let output = program().args(serve).arg(&nowhere).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("--record ") && error.contains("trace.csv: "), "{error}");
}
