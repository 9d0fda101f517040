//! The programs to test.

#[path = "../../../lookbehind-server/tests/common/client.rs"]
mod client;
#[path = "../../../lookbehind-server/tests/common/film.rs"]
mod film;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub use client::{Answer, Client, DEADLINE, eventually};
pub use film::{Folder, bytes};
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

/// Whether the process has a handler for SIGTERM by now.
pub fn heeds_signals(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let Ok(status) = status else { return true }; // no such file system: too early is not tested
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.expect("a mask") & 1 << 14 != 0
}

/// Lines of a program's output, up to the one that starts so.
fn lines_until(child: &mut Child, last: &str) -> Vec<String> {
    let output = child.stdout.take().expect("it is piped");
    let mut lines = Vec::new();
    for line in BufReader::new(output).lines() {
        lines.push(line.expect("the program prints UTF-8"));
        if lines[lines.len() - 1].starts_with(last) {
            return lines;
        }
    }
    panic!("the program ended early: {lines:?}");
}

/// A running seeder; killed when dropped.
pub struct Seeder {
    child: Child,
    torrent: PathBuf,
    pub magnet: String,
    pub address: SocketAddr,
}

impl Seeder {
    pub fn start(path: &Path, torrent: &Path, options: &[&str]) -> Seeder {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lookbehind-seed"));
        command.arg(path).arg(torrent).args(options).stdout(Stdio::piped());
        if !options.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let child = command.spawn().expect("the seeder starts");
        // From here on it is killed and waited for, whatever happens.
        let (torrent, address) = (torrent.to_owned(), ([127, 0, 0, 1], 0).into());
        let mut seeder = Seeder { child, torrent, magnet: String::new(), address };
        let lines = lines_until(&mut seeder.child, "seeding at ");
        seeder.magnet.clone_from(&lines[0]);
        let address = lines[1].trim_start_matches("seeding at ");
        seeder.address = address.parse().expect("an address");
        seeder
    }

    /// Where its torrent file is.
    pub fn torrent(&self) -> String {
        self.torrent.to_str().expect("a path of the test's own").into()
    }
}

impl Drop for Seeder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The running program; killed when dropped.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
    /// What it printed.
    pub lines: Vec<String>,
}

impl Server {
    /// Starts the program with this torrent and these peers, and does not wait for it to serve.
    pub fn spawn(torrent: &str, peers: &[&Seeder], options: &[&str]) -> Server {
        let mut command = program();
        command.arg(torrent).args(options).args(["--listen", "127.0.0.1:0"]);
        for peer in peers {
            command.arg("--peer").arg(peer.address.to_string());
        }
        let child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        Server { child, address: ([127, 0, 0, 1], 0).into(), lines: Vec::new() }
    }

    pub fn start(torrent: &str, peers: &[&Seeder], options: &[&str]) -> Server {
        let mut server = Server::spawn(torrent, peers, options);
        server.lines = lines_until(&mut server.child, "page at http://");
        let page = &server.lines[server.lines.len() - 1];
        let address = page.trim_start_matches("page at http://").trim_end_matches('/');
        server.address = address.parse().expect("an address");
        server
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address).expect("the server listens")
    }

    pub fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.connect().request("GET", path, fields)
    }

    /// The value of a metric.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics", &[]).text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<f64>().expect("a number")
            as u64
    }

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
