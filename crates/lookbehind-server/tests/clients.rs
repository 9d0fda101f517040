//! Clients that vanish, crawl, say nothing or talk nonsense. The others are served as ever, and
//! of those that are gone nothing is left: no connection, task, wait, pin or fetch.
//!
//! The server runs in the test's own process, to be looked into.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Parser;
use common::{Client, DEADLINE, Folder, Random, bytes, eventually};
use lookbehind_server::app::App;
use lookbehind_server::cli::{Cli, Command};
use lookbehind_server::serve::Server;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

const BUDGET: u64 = 2 << 20;
const LEN: u64 = 4 << 20;

/// A server in this process; stopped when dropped.
struct Inside {
    app: Arc<App>,
    address: SocketAddr,
    runtime: Handle,
    /// Tasks that are alive while nobody is connected.
    tasks: usize,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Inside {
    fn start(film: &Path, options: &[&str]) -> Inside {
        let budget = BUDGET.to_string();
        let fixed = ["lookbehind", "serve", "--listen", "127.0.0.1:0", "--budget", &budget];
        let film = film.to_str().expect("a path of the test's own");
        let all = fixed.iter().chain(&["--piece-size", "64KiB"]).chain(options).chain([&film]);
        let Command::Serve(args) = Cli::parse_from(all).command else { panic!("it is to serve") };
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(Server::bind(args)).expect("it starts");
        let (app, address, handle) = (server.app(), server.address(), runtime.handle().clone());
        let tasks = handle.metrics().num_alive_tasks();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            runtime.block_on(server.run(async {
                let _ = stopped.await;
            }));
        });
        Inside { app, address, runtime: handle, tasks, stop: Some(stop), thread: Some(thread) }
    }

    fn connect(&self) -> Client {
        Client::connect(self.address).expect("the server listens")
    }

    /// Asks for the film from `start` on.
    fn ask(&self, start: u64) -> Client {
        let mut client = self.connect();
        client.send("GET", "/media/0", &[("Range", &format!("bytes={start}-"))]);
        client
    }

    /// The whole film is right.
    fn serves(&self) {
        let answer = self.connect().request("GET", "/media/0", &[]);
        assert_eq!(answer.status, 200);
        assert!(answer.body == bytes(1, 0..LEN));
    }

    /// Nothing is left of those who were here.
    fn comes_to_rest(&self) {
        let rest = || {
            let stats = self.app.cache.stats();
            let tasks = self.runtime.metrics().num_alive_tasks();
            let inside = (stats.waits, stats.snapshots, stats.pinned, stats.states.assembling);
            (self.app.connections.load(Relaxed), self.app.pins.used(), tasks, inside)
        };
        let begun = Instant::now();
        let all_gone = (0, 0, self.tasks, (0, 0, 0, 0));
        while rest() != all_gone {
            assert!(begun.elapsed() < DEADLINE, "still there: {:?}, not {all_gone:?}", rest());
            thread::sleep(Duration::from_millis(5));
        }
        let stats = self.app.cache.stats();
        assert!(stats.resident_peak <= BUDGET, "{} bytes", stats.resident_peak);
        let count = &self.app.origin.as_ref().expect("it serves a file").counters;
        assert_eq!(count.failed.load(Relaxed), 0, "no fetch failed");
        let ended = stats.published + count.cancelled.load(Relaxed) + count.dropped.load(Relaxed);
        assert_eq!(ended, count.fetches.load(Relaxed), "each fetch has ended");
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

/// Does something that no client should, and is gone.
fn misbehave(server: &Inside, random: &mut Random) {
    let (start, count) = (random.below(LEN - 1), random.below(200_000) as usize);
    let expected = |got: usize| bytes(1, start..start + got as u64);
    match random.below(8) {
        // Gone at once, before the answer begins.
        0 => drop(server.ask(start)),
        // Gone in the middle of the body; what lies unread makes it a reset.
        1 | 2 => {
            let mut client = server.ask(start);
            assert_eq!(client.head().status, 206);
            let count = count.min((LEN - start) as usize);
            assert!(client.body(count).unwrap() == expected(count));
        }
        // Gone in the middle of its request.
        3 => {
            let head = b"GET /media/0 HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-\r\n";
            server.connect().raw(&head[..random.below(head.len() as u64) as usize]);
        }
        // Nothing that is HTTP.
        4 => {
            let mut client = server.connect();
            let noise = bytes(random.below(100), 0..count as u64);
            let _ = client.stream.get_mut().write_all(&noise);
            let _ = client.stream.get_mut().shutdown(Shutdown::Write);
            client.rest();
        }
        // Says nothing for a while.
        5 => {
            let client = server.connect();
            thread::sleep(random.millis(50));
            drop(client);
        }
        // Says that it is done, but listens on: the answer may end early, and is right so far.
        6 => {
            let mut client = server.ask(start);
            client.stream.get_mut().shutdown(Shutdown::Write).unwrap();
            if client.try_head().is_ok_and(|head| head.status == 206) {
                let got = client.rest();
                assert!(got == expected(got.len()));
            }
        }
        // Asks for more while it is answered, and is gone.
        _ => {
            let mut client = server.ask(start);
            for _ in 0..3 {
                client.send("GET", "/media/0", &[]);
            }
            assert_eq!(client.head().status, 206);
        }
    }
}

/// Bytes of memory that this process uses.
#[cfg(target_os = "linux")]
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn of_clients_that_vanish_nothing_is_left() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, LEN);
    let server = Inside::start(&film, &["--origin-delay", "3ms"]);
    server.serves();
    #[cfg(target_os = "linux")]
    let before = memory();
    let (mut random, done) = (Random::new(), AtomicBool::new(false));
    thread::scope(|scope| {
        let steady = scope.spawn(|| {
            while !done.load(Relaxed) {
                server.serves();
            }
        });
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (server, mut random) = (&server, random.split());
                scope.spawn(move || (0..25).for_each(|_| misbehave(server, &mut random)))
            })
            .collect();
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Relaxed);
        assert!(ended.into_iter().all(|ended| ended.is_ok()) && steady.join().is_ok());
    });
    server.comes_to_rest();
    #[cfg(target_os = "linux")]
    {
        let grown = memory().saturating_sub(before);
        println!("{} KiB more than before", grown >> 10);
        // This test's own clients included.
        assert!(grown <= BUDGET + (40 << 20), "{grown} bytes");
    }
    server.serves();
}

#[test]
fn clients_that_crawl_hold_up_nobody() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, LEN);
    let server = Inside::start(&film, &[]);
    let start = |number: u64| number * LEN / 8;
    let mut crawling: Vec<_> = (0..8).map(|number| server.ask(start(number))).collect();
    for client in &mut crawling {
        assert_eq!(client.head().status, 206);
    }
    // One byte a second each, past what their buffers hold already.
    for at in 0..3 {
        for (client, number) in crawling.iter_mut().zip(0..) {
            let mut byte = [0];
            client.stream.read_exact(&mut byte).expect("the body goes on");
            assert_eq!(byte[..], bytes(1, start(number) + at..start(number) + at + 1));
        }
        let second = Instant::now() + Duration::from_secs(1);
        server.serves();
        server.serves();
        thread::sleep(second.saturating_duration_since(Instant::now()));
    }
    assert!(server.app.pins.used() <= BUDGET / 4);
    assert_eq!(server.app.cache.stats().snapshots, 0);
    drop(crawling);
    server.comes_to_rest();
}

#[test]
fn clients_that_take_nothing_are_cut_off() {
    let folder = Folder::new();
    // More than the socket's buffers take on behalf of a client.
    let (len, film) = (32 << 20, folder.path("film.mp4"));
    folder.film("film.mp4", 1, len);
    let server = Inside::start(&film, &["--send-timeout", "300ms"]);
    let mut stalled: Vec<_> = (0..6).map(|_| server.ask(0)).collect();
    for client in &mut stalled {
        assert_eq!(client.head().status, 206);
    }
    eventually("they are cut off", || server.app.connections.load(Relaxed) == 0);
    server.comes_to_rest();
    for mut client in stalled {
        let got = client.rest();
        assert!((got.len() as u64) < len && got == bytes(1, 0..got.len() as u64));
    }
    // Silence between requests is another matter.
    let mut client = server.connect();
    for _ in 0..2 {
        let answer = client.request("GET", "/media/0", &[("Range", "bytes=0-99999")]);
        assert!(answer.body == bytes(1, 0..100_000));
        thread::sleep(Duration::from_millis(400));
    }
}
