//! Programs that run, and those that serve.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::client::{Answer, Client};

/// A program that runs; killed when dropped.
pub struct Running(Child);

impl Running {
    pub fn start(mut command: Command) -> Running {
        Running(command.stdout(Stdio::piped()).spawn().expect("the program starts"))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Lines of its output, up to the one that starts so.
    pub fn lines_until(&mut self, last: &str) -> Vec<String> {
        let output = self.0.stdout.take().expect("it is piped, and was not read before");
        let mut lines = Vec::new();
        for line in BufReader::new(output).lines() {
            lines.push(line.expect("the program prints UTF-8"));
            if lines[lines.len() - 1].starts_with(last) {
                return lines;
            }
        }
        panic!("the program ended early: {lines:?}");
    }

    /// Whether it has a handler for SIGTERM by now. Only Linux tells; elsewhere it is said to have.
    pub fn heeds_signals(&self) -> bool {
        if !cfg!(target_os = "linux") {
            return true;
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        caught.expect("a mask") & 1 << 14 != 0
    }

    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    }

    /// Waits until it has ended.
    pub fn ended(&mut self, within: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("it is our child") {
                return status;
            }
            assert!(begun.elapsed() < within, "the program has not ended in {within:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that serves films.
pub struct Server {
    pub program: Running,
    pub address: SocketAddr,
    /// What it printed.
    pub lines: Vec<String>,
}

impl Server {
    /// Starts it, and does not wait for it to serve.
    pub fn begin(command: Command) -> Server {
        let program = Running::start(command);
        Server { program, address: ([127, 0, 0, 1], 0).into(), lines: Vec::new() }
    }

    pub fn serving(command: Command) -> Server {
        let mut server = Server::begin(command);
        let start = "page at http://";
        server.lines = server.program.lines_until(start);
        let page = &server.lines[server.lines.len() - 1];
        let address = page.trim_start_matches(start).trim_end_matches('/');
        server.address = address.parse().expect("an address");
        server
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
}
