//! A server to test, and a small HTTP client that sends what it is told, right or wrong.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The longest that anything here may take; far more than it should.
pub const DEADLINE: Duration = Duration::from_secs(60);

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

/// An answer, its field names in lower case.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| field.0 == name).map(|field| field.1.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection.
pub struct Client {
    pub stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the server reads");
    }

    pub fn send(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !fields.iter().any(|field| field.0 == "Host") {
            head.push_str("Host: localhost\r\n");
        }
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.raw(head.as_bytes());
    }

    /// Asks for a film from `start` on; the connection may be closed already.
    pub fn send_if_it_listens(&mut self, path: &str, start: u64) {
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nRange: bytes={start}-\r\n\r\n");
        let _ = self.stream.get_mut().write_all(head.as_bytes());
    }

    /// Status and fields; the body is still to be read.
    pub fn head(&mut self) -> Answer {
        self.try_head().expect("an answer")
    }

    pub fn try_head(&mut self) -> io::Result<Answer> {
        let bad = |line: &str| io::Error::new(io::ErrorKind::InvalidData, line.to_owned());
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.get(9..12).and_then(|s| s.parse().ok()).ok_or_else(|| bad(&line))?;
        let mut fields = Vec::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            if line == "\r\n" {
                return Ok(Answer { status, fields, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad(&line))?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    pub fn body(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    /// What comes until the connection ends, however it ends.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        let _ = self.stream.read_to_end(&mut body);
        body
    }

    pub fn answer(&mut self, method: &str) -> io::Result<Answer> {
        let mut answer = self.try_head()?;
        if method != "HEAD" && answer.status != 304 {
            let len = answer.field("content-length").expect("a length").parse().expect("a number");
            answer.body = self.body(len)?;
        }
        Ok(answer)
    }

    pub fn request(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(method, path, fields);
        self.answer(method).expect("a whole answer")
    }
}

/// Fills the buffer with the bytes that a film of this kind has at the offset.
pub fn fill(kind: u64, offset: u64, mut buffer: &mut [u8]) {
    let mut at = offset;
    while !buffer.is_empty() {
        // splitmix64 of the word's number
        let mut x = ((at / 8) ^ (kind << 48)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let word = (x ^ (x >> 31)).to_le_bytes();
        let part = &word[(at % 8) as usize..];
        let size = part.len().min(buffer.len());
        buffer[..size].copy_from_slice(&part[..size]);
        buffer = &mut buffer[size..];
        at += size as u64;
    }
}

/// The bytes of a range of a film of this kind.
pub fn bytes(kind: u64, range: std::ops::Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    fill(kind, range.start, &mut bytes);
    bytes
}

/// A folder for one test; removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Folder(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a film of this kind and length.
    pub fn film(&self, name: &str, kind: u64, len: u64) -> PathBuf {
        let path = self.path(name);
        let mut file = File::create(&path).expect("a file for the test");
        let mut block = vec![0; 1 << 20];
        for start in (0..len).step_by(block.len()) {
            let size = (len - start).min(block.len() as u64) as usize;
            fill(kind, start, &mut block[..size]);
            file.write_all(&block[..size]).expect("room on the disk");
        }
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Asks until it is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
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
