//! A server to test, a client for it, and films.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unused_imports, reason = "as above")]

mod client;
mod film;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub use client::{Answer, Client, DEADLINE, eventually};
pub use film::{Folder, bytes, fill};

/// The program, ready to be given options.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lookbehind"))
}

/// A running server; killed when dropped.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
    /// What it printed.
    pub lines: Vec<String>,
}

impl Server {
    /// Serves these files with these options on a free port.
    pub fn start(files: &[&Path], options: &[&str]) -> Server {
        let mut command = program();
        command.arg("serve").args(options).args(files);
        if !options.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        // From here on it is killed and waited for, whatever happens.
        let address = ([127, 0, 0, 1], 0).into();
        let mut server = Server { child, address, lines: Vec::new() };
        let output = server.child.stdout.take().expect("it is piped");
        for line in BufReader::new(output).lines() {
            let line = line.expect("the program prints UTF-8");
            let page = line.strip_prefix("page at http://").map(str::to_owned);
            server.lines.push(line);
            if let Some(page) = page {
                server.address = page.trim_end_matches('/').parse().expect("an address");
                return server;
            }
        }
        panic!("the program ended early: {:?}", server.lines);
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address).expect("the server listens")
    }

    /// One request over a connection of its own.
    pub fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.connect().request("GET", path, fields)
    }

    /// The value of a metric, with its labels if it has some.
    pub fn metric(&self, name: &str) -> u64 {
        let text = String::from_utf8(self.get("/metrics", &[]).body).expect("metrics are UTF-8");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<f64>().expect("a number")
            as u64
    }

    /// The state of the film as the API tells it.
    pub fn storage(&self, film: usize) -> serde_json::Value {
        let answer = self.get("/api/v1/storages", &[]);
        let films: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        films[film]["storage"].clone()
    }

    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    }

    /// Waits until the program has ended.
    pub fn ended(&mut self, within: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(begun.elapsed() < within, "the program has not ended in {within:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the tests at the scale of the project's promises were asked for.
pub fn full() -> bool {
    std::env::var_os("LOOKBEHIND_FULL").is_some_and(|value| value == "1")
}

/// Random numbers; the seed is LOOKBEHIND_SEED, or one from the time, and printed.
pub struct Random(u64);

impl Random {
    pub fn new() -> Random {
        let given = std::env::var("LOOKBEHIND_SEED").ok().and_then(|text| text.parse().ok());
        let time = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64);
        let seed = given.unwrap_or_else(time);
        println!("LOOKBEHIND_SEED={seed}");
        Random(seed)
    }

    /// Another one, with numbers of its own.
    pub fn split(&mut self) -> Random {
        Random(self.next())
    }

    fn next(&mut self) -> u64 {
        let mut word = [0; 8];
        fill(self.0 & 0xffff, self.0 & !7, &mut word);
        self.0 = u64::from_le_bytes(word);
        self.0
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn millis(&mut self, limit: u64) -> Duration {
        Duration::from_micros(self.below(limit * 1000))
    }
}
