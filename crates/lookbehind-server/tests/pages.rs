//! The page, the API, the metrics, and what none of them may tell.

mod common;

use common::{Folder, Server, bytes, eventually};

#[test]
fn films_of_the_same_name_keep_apart() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("one")).unwrap();
    std::fs::create_dir(folder.path("two")).unwrap();
    let (one, two) = (folder.film("one/film.webm", 1, 5000), folder.film("two/film.webm", 2, 6000));
    let server = Server::start(&[&one, &two], &[]);
    let port = server.address.port();
    let url = |n| format!("serving film.webm at http://127.0.0.1:{port}/media/{n}/film.webm");
    let page = format!("page at http://127.0.0.1:{port}/");
    assert_eq!(server.lines, [url(0), url(1), page]);
    assert!(server.get("/media/0/film.webm", &[]).body == bytes(1, 0..5000));
    let second = server.get("/media/1/film.webm", &[]);
    assert!(second.body == bytes(2, 0..6000));
    assert_eq!(second.field("content-type"), Some("video/webm"));
}

#[test]
fn the_clip_is_served_without_a_file() {
    let server = Server::start(&[], &[]);
    let answer = server.get("/media/0", &[]);
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("video/mp4")));
    let clip = include_bytes!("../assets/clip.mp4");
    assert!(answer.body == clip);
    let tail = server.get("/media/0", &[("Range", "bytes=-1000")]);
    assert!(tail.body == clip[clip.len() - 1000..]);
    let etag = answer.field("etag").unwrap();
    assert_eq!(server.get("/media/0", &[("If-None-Match", etag)]).status, 304);
}

#[test]
fn names_are_escaped_and_paths_are_secret() {
    let folder = Folder::new();
    let evil = "a\"><script>alert(1)</script>&' ü%2f\n.mp4".replace("</", "<\u{2044}");
    let film = folder.film(&evil, 1, 5000);
    let gone = folder.film("gone.mp4", 2, 5000);
    let server = Server::start(&[&film, &gone], &[]);
    let html = server.get("/", &[]);
    assert_eq!(html.field("content-type"), Some("text/html; charset=utf-8"));
    let html = html.text();
    assert!(!html.contains("<script"), "{html}");
    assert_eq!(html.matches("<video").count(), 2, "{html}");
    // The addresses on the page lead to the films.
    let src = html.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(src.bytes().all(|b| b.is_ascii_graphic()), "{src}");
    assert!(server.get(src, &[]).body == bytes(1, 0..5000));

    std::fs::remove_file(&gone).unwrap();
    let secret = folder.path("").to_string_lossy().into_owned();
    let secret = secret.trim_end_matches('/');
    for path in [
        "/",
        "/metrics",
        "/api/v1/storages",
        "/media/0",
        "/media/1",
        "/media/2",
        "/nothing",
        "/healthz",
    ] {
        for fields in [&[][..], &[("Range", "bytes=9-1")], &[("Host", "x.example")]] {
            let answer = server.get(path, fields);
            let all = format!("{:?} {}", answer.fields, answer.text());
            assert!(!all.contains(secret), "{path}: {all}");
        }
    }
}

#[test]
fn the_api_tells_what_is_cached() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, 1_000_000);
    let server =
        Server::start(&[&film], &["--piece-size", "64KiB", "--ahead", "0", "--behind", "0"]);
    assert_eq!(server.storage(0)["present_pieces"], 0);
    server.get("/media/0?viewer=one", &[("Range", "bytes=70000-140000")]);
    let storage = server.storage(0);
    assert_eq!(storage["layout"]["total_len"], 1_000_000);
    assert_eq!(storage["layout"]["piece_len"], 65536);
    assert_eq!(storage["layout"]["pieces"], 16);
    assert_eq!(storage["runs"][0][0], 1, "{storage}");
    assert!(storage["runs"][0][1].as_u64().unwrap() >= 3, "{storage}");
    assert!(storage["version"].as_u64().unwrap() >= 2);
    assert!(storage["present_bytes"].as_u64().unwrap() >= 2 * 65536);
    assert_eq!(storage["windows"][0]["position"], 140_001, "{storage}");
    eventually("the window lingers", || server.storage(0)["windows"][0]["lingering"] == true);
}

#[test]
fn the_metrics_have_their_names_and_add_up() {
    let folder = Folder::new();
    let film = folder.film("film.mp4", 1, 2 << 20);
    let server = Server::start(&[&film], &["--piece-size", "64KiB", "--budget", "1MiB"]);
    for _ in 0..3 {
        assert!(server.get("/media/0", &[]).body == bytes(1, 0..2 << 20));
    }
    let answer = server.get("/metrics", &[]);
    assert!(answer.field("content-type").unwrap().starts_with("text/plain"));
    let text = answer.text();
    for (name, kind) in [
        ("lookbehind_budget_bytes", "gauge"),
        ("lookbehind_resident_bytes", "gauge"),
        ("lookbehind_pinned_bytes", "gauge"),
        ("lookbehind_resident_bytes_peak", "gauge"),
        ("lookbehind_origin_fetches_total", "counter"),
        ("lookbehind_refetches_total", "counter"),
        ("lookbehind_piece_hits_total", "counter"),
        ("lookbehind_piece_misses_total", "counter"),
        ("lookbehind_evictions_total", "counter"),
    ] {
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} in {text}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name} in {text}");
    }
    assert_eq!(server.metric("lookbehind_budget_bytes"), 1 << 20);
    let states = ["assembling", "published", "limbo", "held", "pooled", "table"];
    let sum: u64 = states
        .iter()
        .map(|s| server.metric(&format!("lookbehind_resident_bytes{{state=\"{s}\"}}")))
        .sum();
    assert!(sum <= 1 << 20, "{sum}");
    let fetches = server.metric("lookbehind_origin_fetches_total");
    let refetches = server.metric("lookbehind_refetches_total");
    // 32 pieces, of which the budget holds less than 16: nearly all are fetched anew.
    assert!(fetches >= 32 + 2 * 16, "{fetches}");
    assert!(refetches >= 2 * 16 && refetches <= fetches - 32, "{refetches} of {fetches}");
    assert!(server.metric("lookbehind_evictions_total") >= 2 * 16);
    assert!(server.metric("lookbehind_piece_hits_total") > 0);
    assert!(server.metric("lookbehind_resident_bytes_peak") <= 1 << 20);
}
