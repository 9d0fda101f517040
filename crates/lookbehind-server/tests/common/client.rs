//! A small HTTP client that sends what it is told, right or wrong.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The longest that anything here may take; far more than it should.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until it is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
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
