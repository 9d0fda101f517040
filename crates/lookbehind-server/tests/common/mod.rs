//! A server to test, a client for it, and films.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unused_imports, reason = "as above")]

mod client;
mod film;
mod server;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub use client::{Answer, Client, DEADLINE, eventually};
pub use film::{Folder, bytes, fill};
pub use server::Server;

/// The program, ready to be given options.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lookbehind"))
}

impl Server {
    /// Serves these files with these options on a free port.
    pub fn start(files: &[&Path], options: &[&str]) -> Server {
        let mut command = program();
        command.arg("serve").args(options).args(files);
        if !options.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        Server::serving(command)
    }

    /// The state of the film as the API tells it.
    pub fn storage(&self, film: usize) -> serde_json::Value {
        let answer = self.get("/api/v1/storages", &[]);
        let films: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        films[film]["storage"].clone()
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
