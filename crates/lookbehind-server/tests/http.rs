//! What HTTP says about an answer with ranges, conditions and methods.

mod common;

use common::{Answer, Folder, Server, bytes};

const LEN: u64 = 300_000;

fn serve() -> (Folder, Server) {
    let folder = Folder::new();
    let film = folder.film("a film.mp4", 1, LEN);
    let server = Server::start(&[&film], &["--piece-size", "64KiB", "--budget", "2MiB"]);
    (folder, server)
}

/// The parts of a multipart answer: their Content-Range and bytes.
fn parts(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let kind = answer.field("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let (delimiter, mut rest) = (format!("\r\n--{boundary}"), &answer.body[..]);
    let find = |hay: &[u8], needle: &[u8]| hay.windows(needle.len()).position(|w| w == needle);
    let mut parts = Vec::new();
    assert_eq!(find(rest, delimiter.as_bytes()), Some(0));
    loop {
        rest = &rest[delimiter.len()..];
        if rest == b"--\r\n" {
            return parts;
        }
        let end = find(rest, b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        assert!(head.contains("Content-Type: video/mp4"), "{head}");
        let range = head.split_once("Content-Range: ").unwrap().1.lines().next().unwrap();
        rest = &rest[end + 4..];
        let end = find(rest, delimiter.as_bytes()).unwrap();
        parts.push((range.to_owned(), rest[..end].to_vec()));
        rest = &rest[end..];
    }
}

#[test]
fn a_whole_film() {
    let (_folder, server) = serve();
    let answer = server.get("/media/0", &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), Some("video/mp4"));
    assert_eq!(answer.field("accept-ranges"), Some("bytes"));
    assert_eq!(answer.field("content-length"), Some("300000"));
    let etag = answer.field("etag").unwrap();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "a strong tag: {etag}");
    assert!(answer.field("last-modified").unwrap().ends_with(" GMT"));
    assert!(answer.body == bytes(1, 0..LEN));
    assert!(server.get("/media/0/any%20name", &[]).body == answer.body, "a name may follow");
}

#[test]
fn head_is_get_without_the_body() {
    let (_folder, server) = serve();
    let mut client = server.connect();
    let get = client.request("GET", "/media/0", &[]);
    let head = client.request("HEAD", "/media/0", &[("Range", "bytes=0-9")]);
    assert_eq!(head.status, 200, "only GET knows ranges");
    for name in ["content-length", "content-type", "etag", "last-modified", "accept-ranges"] {
        assert_eq!(head.field(name), get.field(name), "{name}");
    }
    assert_eq!(client.request("HEAD", "/healthz", &[]).status, 200, "nothing is left in between");
}

#[test]
fn one_range() {
    let (_folder, server) = serve();
    let mut client = server.connect();
    for (asked, range) in [
        ("bytes=0-0", 0..1),
        ("bytes=0-65535", 0..65536),
        ("bytes=65535-65536", 65535..65537),
        ("bytes=1000-200000", 1000..200_001),
        ("bytes=299999-", 299_999..LEN),
        ("bytes=200000-", 200_000..LEN),
        ("bytes=-1", 299_999..LEN),
        ("bytes=-70000", 230_000..LEN),
        ("bytes=-99999999", 0..LEN),
        ("bytes=299990-999999999", 299_990..LEN),
        ("bytes=0-18446744073709551615", 0..LEN),
        ("bytes=5-99999999999999999999999999", 5..LEN),
        ("bytes=900000-,7-8", 7..9),
    ] {
        let answer = client.request("GET", "/media/0", &[("Range", asked)]);
        assert_eq!(answer.status, 206, "{asked}");
        let expected = format!("bytes {}-{}/{LEN}", range.start, range.end - 1);
        assert_eq!(answer.field("content-range"), Some(&expected[..]), "{asked}");
        assert_eq!(answer.field("content-type"), Some("video/mp4"));
        assert!(answer.body == bytes(1, range), "{asked}");
    }
}

#[test]
fn several_ranges() {
    let (_folder, server) = serve();
    let answer = server.get("/media/0", &[("Range", "bytes=200000-200009, 0-99999,-5, 900000-")]);
    assert_eq!(answer.status, 206);
    assert_eq!(answer.field("content-range"), None, "the parts have theirs");
    let expected = [200_000..200_010, 0..100_000, LEN - 5..LEN]
        .map(|range| (format!("bytes {}-{}/{LEN}", range.start, range.end - 1), bytes(1, range)));
    assert!(parts(&answer) == expected);
}

#[test]
fn ranges_that_cannot_be() {
    let (_folder, server) = serve();
    let mut client = server.connect();
    let many = format!("bytes={}", vec!["0-1"; 4000].join(","));
    for asked in [
        "bytes=300000-",
        "bytes=300000-400000",
        "bytes=-0",
        "bytes=99999999999999999999999999-",
        "bytes=5-1",
        "bytes=",
        "bytes=a-b",
        "bytes=1-2;3-4",
        "bytes=0-,0-",
        &many,
    ] {
        let answer = client.request("GET", "/media/0", &[("Range", asked)]);
        assert_eq!(answer.status, 416, "{asked}");
        assert_eq!(answer.field("content-range"), Some("bytes */300000"), "{asked}");
        assert!(!answer.body.is_empty(), "a reason: {asked}");
    }
    let twice = [("Range", "bytes=0-1"), ("Range", "bytes=2-3")];
    assert_eq!(client.request("GET", "/media/0", &twice).status, 416);
    let other = client.request("GET", "/media/0", &[("Range", "seconds=0-1")]);
    assert_eq!((other.status, other.body.len() as u64), (200, LEN), "an unknown unit is ignored");
}

#[test]
fn if_range() {
    let (_folder, server) = serve();
    let head = server.connect().request("HEAD", "/media/0", &[]);
    let (etag, date) = (head.field("etag").unwrap(), head.field("last-modified").unwrap());
    let status = |condition: &str| {
        let fields = [("Range", "bytes=0-9"), ("If-Range", condition)];
        server.get("/media/0", &fields).status
    };
    assert_eq!(status(etag), 206);
    assert_eq!(status("\"other\""), 200);
    assert_eq!(status(&format!("W/{etag}")), 200, "a weak tag never matches");
    assert_eq!(status("Mon, 01 Jan 2001 00:00:00 GMT"), 200);
    assert_eq!(status("Fri, 01 Jan 2100 00:00:00 GMT"), 200, "a later date is another one");
    // The film was made a moment ago; its date stands for one state only once it is past.
    common::eventually("the date counts", || status(date) == 206);
}

#[test]
fn conditions() {
    let (_folder, server) = serve();
    let mut client = server.connect();
    let head = client.request("HEAD", "/media/0", &[]);
    let etag = head.field("etag").unwrap();
    let date = head.field("last-modified").unwrap();
    let old = "Mon, 01 Jan 2001 00:00:00 GMT";
    for method in ["GET", "HEAD"] {
        for (name, value, status) in [
            ("If-None-Match", etag, 304),
            ("If-None-Match", "*", 304),
            ("If-None-Match", "\"other\"", 200),
            ("If-Modified-Since", date, 304),
            ("If-Modified-Since", old, 200),
            ("If-Modified-Since", "nonsense", 200),
            ("If-Match", etag, 200),
            ("If-Match", "*", 200),
            ("If-Match", "\"other\"", 412),
            ("If-Unmodified-Since", date, 200),
            ("If-Unmodified-Since", old, 412),
        ] {
            let answer = client.request(method, "/media/0", &[(name, value)]);
            assert_eq!(answer.status, status, "{method} {name}: {value}");
            assert_eq!(answer.field("etag"), Some(etag), "{name}: {value}");
            if status == 304 {
                assert_eq!(answer.field("content-type"), None, "nothing about a body");
            }
        }
    }
    let both = [("If-None-Match", etag), ("Range", "bytes=0-9")];
    assert_eq!(client.request("GET", "/media/0", &both).status, 304, "before the range");
}

#[test]
fn methods_and_places() {
    let (_folder, server) = serve();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        for path in ["/media/0", "/", "/metrics", "/api/v1/storages", "/healthz"] {
            let answer = server.connect().request(method, path, &[("Content-Length", "0")]);
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.field("allow"), Some("GET,HEAD"));
        }
    }
    for path in [
        "/media/1",
        "/media/",
        "/media",
        "/media/-1",
        "/media/x",
        "/media/00x",
        "/media/0/a/b",
        "/media/99999999999999999999999",
        "/media/%2e%2e/%2e%2e/etc/passwd",
        "/media/0/../../etc",
        "/nothing",
        "/api/v1",
        "/media/%00",
    ] {
        assert_eq!(server.get(path, &[]).status, 404, "{path}");
    }
    assert_eq!(server.get("/healthz", &[]).body, b"ok\n");
}

#[test]
fn a_connection_serves_many_requests() {
    let (_folder, server) = serve();
    let mut client = server.connect();
    for round in 0..50 {
        let range = format!("bytes={}-{}", round * 1000, round * 1000 + 99);
        let answer = client.request("GET", "/media/0", &[("Range", &range)]);
        assert!(answer.body == bytes(1, round * 1000..round * 1000 + 100));
    }
    // and takes several at once
    let one = "GET /media/0 HTTP/1.1\r\nHost: localhost\r\nRange: bytes=5-6\r\n\r\n";
    client.raw(one.repeat(3).as_bytes());
    for _ in 0..3 {
        assert!(client.answer("GET").unwrap().body == bytes(1, 5..7));
    }
}

#[test]
fn foreign_hosts_are_turned_away() {
    let (_folder, server) = serve();
    let port = server.address.port();
    for host in ["localhost", "127.0.0.1", &format!("127.0.0.1:{port}"), "[::1]:80"] {
        assert_eq!(server.get("/healthz", &[("Host", host)]).status, 200, "{host}");
    }
    for path in ["/", "/media/0", "/metrics", "/api/v1/storages", "/healthz", "/nothing"] {
        let answer = server.get(path, &[("Host", "rebound.example")]);
        assert_eq!(answer.status, 421, "{path}");
        assert_eq!(answer.field("etag"), None);
    }
    let mut client = server.connect();
    client.raw(b"GET /media/0 HTTP/1.1\r\n\r\n");
    assert_eq!(client.head().status, 400);
    let mut client = server.connect();
    client.raw(b"GET http://rebound.example/media/0 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().status, 421);
    let mut client = server.connect();
    client.raw(b"GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(client.head().status, 200);
}

#[test]
fn allowed_hosts_are_answered() {
    let server = Server::start(&[], &["--allow-host", "films.example"]);
    assert_eq!(server.get("/healthz", &[("Host", "films.example:8080")]).status, 200);
    assert_eq!(server.get("/healthz", &[("Host", "other.example")]).status, 421);
}
