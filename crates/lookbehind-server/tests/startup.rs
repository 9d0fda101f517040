//! Bad options end the program with one clear line; signals end it in good order.

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use common::{Folder, Server, program};

fn run(options: &[&str], files: &[&Path]) -> Output {
    let mut command = program();
    command.arg("serve").args(options).args(files).output().expect("the program runs")
}

/// The program ends with code 1 and one line that has these words.
#[track_caller]
fn refuses(options: &[&str], files: &[&Path], words: &[&str]) {
    let output = run(options, files);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{options:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("lookbehind: "), "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn files_that_cannot_be_served() {
    let folder = Folder::new();
    let good = folder.film("good.mp4", 1, 1000);
    let (empty, missing) = (folder.film("empty.mp4", 1, 0), folder.path("missing.mp4"));
    refuses(&[], &[&good, &empty], &["empty.mp4", "empty"]);
    refuses(&[], &[&missing, &good], &["missing.mp4", "no such file"]);
    refuses(&[], &[&folder.path("")], &["directory"]);
}

#[cfg(unix)]
#[test]
fn files_that_cannot_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let film = folder.film("locked.mp4", 1, 1000);
    std::fs::set_permissions(&film, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(&film).is_ok() {
        println!("skipped in part: this user may read everything");
    } else {
        refuses(&[], &[&film], &["locked.mp4", "cannot be read"]);
    }
    refuses(&[], &[Path::new("/dev/zero")], &["not a regular file"]);
    // To open a pipe would wait for ever.
    let pipe = folder.path("pipe.mp4");
    if Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        refuses(&[], &[&pipe], &["pipe.mp4", "not a regular file"]);
    }
}

#[test]
fn sizes_that_cannot_be() {
    refuses(&["--piece-size", "0"], &[], &["--piece-size", "0"]);
    refuses(&["--piece-size", "3MiB", "--budget", "5MiB"], &[], &["more than half the --budget"]);
    // Half, but for what is needed beside; the clip is longer than such a piece.
    let half = ["--piece-size", "32KiB", "--budget", "64KiB"];
    refuses(&half, &[], &["a piece of 32768 bytes, with what", "budget of 65536 bytes"]);
    refuses(&["--budget", "0"], &[], &["--piece-size", "--budget"]);
    refuses(&["--piece-size", "8GiB", "--budget", "64GiB"], &[], &["--piece-size", "4 GiB"]);
}

#[test]
fn addresses_that_cannot_be() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    refuses(&["--listen", &taken], &[], &["cannot listen on", &taken]);
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        refuses(&["--listen", open], &[], &["--insecure", "access control"]);
    }
    // With --insecure it tries, and fails for another reason: that address is not ours.
    refuses(&["--listen", "192.0.2.1:0", "--insecure"], &[], &["cannot listen on"]);
}

#[test]
fn usage_errors_are_claps() {
    for options in [
        &["--budget", "much"][..],
        &["--budget", "-5"],
        &["--ahead", "30"],
        &["--origin-rate", "fast"],
        &["--origin-rate", "0"],
        &["--origin-delay", "soon"],
        &["--listen", "here"],
        &["--unknown"],
    ] {
        let output = run(options, &[]);
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn insecure_allows_other_machines() {
    let server = Server::start(&[], &["--listen", "0.0.0.0:0", "--insecure"]);
    assert!(server.lines[0].contains("http://127.0.0.1:"), "{:?}", server.lines);
    assert_eq!(server.get("/healthz", &[("Host", "10.1.2.3")]).status, 421);
}

#[cfg(unix)]
mod signals {
    use super::*;
    use common::bytes;
    use std::time::{Duration, Instant};

    const LEN: u64 = 1_000_000;

    #[test]
    fn an_idle_server_ends_at_once() {
        for name in ["INT", "TERM"] {
            let mut server = Server::start(&[], &[]);
            let _silent = server.connect();
            let mut client = server.connect();
            client.request("GET", "/healthz", &[]);
            server.program.signal(name);
            assert!(server.program.ended(Duration::from_secs(3)).success(), "SIG{name}");
        }
    }

    #[test]
    fn transfers_may_end() {
        let folder = Folder::new();
        let film = folder.film("film.mp4", 1, LEN);
        // a second or so
        let options = ["--origin-rate", "8Mbit", "--piece-size", "64KiB"];
        let mut server = Server::start(&[&film], &options);
        let mut client = server.connect();
        client.send("GET", "/media/0", &[]);
        let head = client.head();
        server.program.signal("TERM");
        common::eventually("no connection is accepted", || {
            common::Client::connect(server.address).is_err()
        });
        assert_eq!(head.status, 200);
        assert!(client.body(LEN as usize).unwrap() == bytes(1, 0..LEN));
        assert!(server.program.ended(Duration::from_secs(3)).success());
    }

    #[test]
    fn what_does_not_end_is_aborted() {
        let folder = Folder::new();
        let film = folder.film("film.mp4", 1, LEN);
        let mut server = Server::start(&[&film], &["--origin-rate", "80kbit"]);
        let mut client = server.connect();
        client.send("GET", "/media/0", &[]);
        client.head();
        let begun = Instant::now();
        server.program.signal("INT");
        let status = server.program.ended(Duration::from_secs(10));
        assert!(status.success(), "{status}");
        assert!(begun.elapsed() >= Duration::from_secs(4), "transfers were given time");
        assert!(client.rest().len() < LEN as usize);
    }

    #[test]
    fn a_second_signal_ends_it_at_once() {
        let folder = Folder::new();
        let film = folder.film("film.mp4", 1, LEN);
        let mut server = Server::start(&[&film], &["--origin-rate", "80kbit"]);
        let mut client = server.connect();
        client.send("GET", "/media/0", &[]);
        client.head();
        let begun = Instant::now();
        server.program.signal("INT");
        common::eventually("the first signal is heeded", || {
            common::Client::connect(server.address).is_err()
        });
        server.program.signal("INT");
        assert_eq!(server.program.ended(Duration::from_secs(3)).code(), Some(130));
        assert!(begun.elapsed() < Duration::from_secs(4));
    }
}
