//! The programs to test.

#[path = "../../../lookbehind-server/tests/common/client.rs"]
mod client;
#[path = "../../../lookbehind-server/tests/common/film.rs"]
mod film;
#[path = "../../../lookbehind-server/tests/common/server.rs"]
mod server;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use client::{Client, DEADLINE, eventually};
pub use film::{Folder, bytes};
use server::Running;
pub use server::Server;
use sha2::{Digest, Sha256};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lookbehind-torrent"))
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The program ends with code 1 and one line that has these words, but for what it logs.
#[track_caller]
pub fn refuses(arguments: &[&str], words: &[&str]) {
    let mut command = program();
    command.args(arguments).env("RUST_LOG", "off");
    if !arguments.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    let output = command.output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("lookbehind-torrent: "), "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
}

/// A seeder, which runs for as long as this lives.
pub struct Seeder {
    _program: Running,
    torrent: PathBuf,
    pub magnet: String,
    pub address: SocketAddr,
}

impl Seeder {
    pub fn start(path: &Path, torrent: &Path, options: &[&str]) -> Seeder {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lookbehind-seed"));
        command.arg(path).arg(torrent).args(options);
        if !options.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut program = Running::start(command);
        let lines = program.lines_until("seeding at ");
        let address = lines[1].trim_start_matches("seeding at ").parse().expect("an address");
        Seeder { _program: program, torrent: torrent.to_owned(), magnet: lines[0].clone(), address }
    }

    /// Where its torrent file is.
    pub fn torrent(&self) -> String {
        self.torrent.to_str().expect("a path of the test's own").into()
    }
}

fn streaming(torrent: &str, peers: &[&Seeder], options: &[&str]) -> Command {
    let mut command = program();
    command.arg(torrent).args(options).args(["--listen", "127.0.0.1:0"]);
    for peer in peers {
        command.arg("--peer").arg(peer.address.to_string());
    }
    command
}

impl Server {
    /// Starts the program with this torrent and these peers, and does not wait for it to serve.
    pub fn spawn(torrent: &str, peers: &[&Seeder], options: &[&str]) -> Server {
        Server::begin(streaming(torrent, peers, options))
    }

    pub fn start(torrent: &str, peers: &[&Seeder], options: &[&str]) -> Server {
        Server::serving(streaming(torrent, peers, options))
    }
}
