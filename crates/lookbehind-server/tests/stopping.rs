//! A signal at any moment ends the program in good order: in time, with the code that it documents,
//! and with its port free for the next one.
#![cfg(unix)]

mod common;

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use common::{Client, Folder, Random, Server, bytes, program};

const LEN: u64 = 2 << 20;
/// Transfers have 5 s to end, what hangs some more; and the machine may be busy.
const IN_TIME: Duration = Duration::from_secs(20);
const SIGTERM: i32 = 15;

/// Reads ranges until the server is gone; what comes is right, also where it ends early.
fn read_until_the_end(server: std::net::SocketAddr, mut random: Random) {
    while let Ok(mut client) = Client::connect(server) {
        loop {
            let start = random.below(LEN);
            client.send_if_it_listens("/media/0", start);
            let Ok(head) = client.try_head() else { break };
            assert_eq!(head.status, 206);
            let whole = client.body((LEN - start) as usize);
            let Ok(body) = whole else { break };
            assert!(body == bytes(1, start..LEN));
        }
    }
}

#[test]
fn at_any_moment_while_it_serves() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, LEN);
    let mut random = Random::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            let (film, mut random) = (&film, random.split());
            scope.spawn(move || {
                for round in 0..5 {
                    let options = ["--budget", "1MiB", "--piece-size", "32KiB"];
                    let mut server = Server::start(&[film], &options);
                    let address = server.address;
                    let status = thread::scope(|scope| {
                        for _ in 0..3 {
                            let random = random.split();
                            scope.spawn(move || read_until_the_end(address, random));
                        }
                        thread::sleep(random.millis(300));
                        server.program.signal(if round % 2 == 0 { "TERM" } else { "INT" });
                        server.program.ended(IN_TIME)
                    });
                    assert_eq!(status.code(), Some(0), "{status}");
                    TcpListener::bind(address).expect("the port is free again");
                }
            });
        }
    });
}

#[test]
fn at_any_moment_while_it_starts() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, 100_000);
    let mut random = Random::new();
    let mut in_order = 0;
    for _ in 0..20 {
        let mut command = program();
        command.args(["serve", "--listen", "127.0.0.1:0"]).arg(&film).stderr(Stdio::null());
        let mut server = Server::begin(command);
        thread::sleep(random.millis(40));
        server.program.signal("TERM");
        let status = server.program.ended(IN_TIME);
        // Before the program's own first steps the system ends it.
        let by_the_system = status.signal() == Some(SIGTERM);
        assert!(by_the_system || status.code() == Some(0), "{status}");
        in_order += u32::from(!by_the_system);
    }
    println!("{in_order} of 20 ended in good order");
}

/// The first thing it does is to heed signals: what comes right after that ends it in good order,
/// though it is not listening yet.
#[cfg(target_os = "linux")]
#[test]
fn as_soon_as_it_heeds_signals() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, 100_000);
    for _ in 0..10 {
        let mut command = program();
        command.args(["serve", "--listen", "127.0.0.1:0"]).arg(&film).stderr(Stdio::null());
        let mut server = Server::begin(command);
        let started = std::time::Instant::now();
        while !server.program.heeds_signals() {
            assert!(started.elapsed() < IN_TIME, "it never heeds signals");
            thread::yield_now();
        }
        server.program.signal("TERM");
        let status = server.program.ended(IN_TIME);
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

#[test]
fn a_second_one_at_any_moment_ends_it_at_once() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, LEN);
    let mut random = Random::new();
    for _ in 0..6 {
        let mut server = Server::start(&[&film], &["--origin-rate", "80kbit"]);
        let mut client = server.connect();
        client.send("GET", "/media/0", &[]);
        assert_eq!(client.head().status, 200);
        server.program.signal("TERM");
        thread::sleep(random.millis(30));
        server.program.signal("INT");
        let status = server.program.ended(IN_TIME);
        // If both come before it has looked, either may count as the first.
        assert!(matches!(status.code(), Some(130 | 143)), "{status}");
        TcpListener::bind(server.address).expect("the port is free again");
    }
}
