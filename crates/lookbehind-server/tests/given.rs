//! Films whose pieces somebody else brings, several in one storage, as the files of a torrent.
//!
//! The server runs in the test's own process.

mod common;

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

use clap::Parser;
use common::{Answer, Client, bytes};
use lookbehind::{Cache, Layout};
use lookbehind_server::app::App;
use lookbehind_server::cli::ServerArgs;
use lookbehind_server::film::Film;
use lookbehind_server::serve::{Server, listen};
use tokio::sync::oneshot;

const PIECE: u32 = 16 << 10;
/// Neither begins nor ends where a piece does, but for the last.
const FILMS: [(u64, u64); 3] = [(0, 100_001), (100_001, 100_001), (100_001, 350_000)];
const LEN: u64 = 350_000;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: ServerArgs,
}

struct Inside {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Inside {
    fn start() -> Inside {
        let args = Options::parse_from(["test", "--listen", "127.0.0.1:0"]).server;
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = lookbehind_server::serve::runtime(0).unwrap();
        let server = runtime.block_on(async {
            let cache = Cache::builder().budget(128 << 10).build().unwrap();
            let storage = cache.add_storage(Layout::fixed(LEN, PIECE).unwrap()).unwrap();
            let films = FILMS.iter().enumerate().map(|(index, &(start, end))| {
                let etag = format!("\"tag-{index}\"").parse().unwrap();
                let name = format!("film{index}.webm");
                Film::given(index, name, storage.clone(), start..end, etag, 10_000)
            });
            let app = App::given(&args, cache, films.collect()).unwrap();
            tokio::spawn(async move {
                let mut wanted = storage.wanted();
                while let Some(fetch) = wanted.next().await {
                    let piece = bytes(7, fetch.byte_range());
                    storage.insert_async(fetch.piece(), &piece, None).await.unwrap();
                }
            });
            Server::new(app, listen(&args).await.unwrap())
        });
        let address = server.address();
        let thread = thread::spawn(move || {
            runtime.block_on(server.run(async {
                let _ = stopped.await;
            }));
        });
        Inside { address, stop: Some(stop), thread: Some(thread) }
    }

    fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        Client::connect(self.address).expect("it listens").request("GET", path, fields)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))));
    }
}

#[test]
fn each_has_its_own_bytes() {
    let server = Inside::start();
    for (film, whole) in [("/media/0", 0..100_001), ("/media/2/name", 100_001..LEN)] {
        let answer = server.get(film, &[]);
        assert_eq!((answer.status, answer.field("content-type")), (200, Some("video/webm")));
        assert!(answer.body == bytes(7, whole.clone()), "{film}");
        let start = whole.start;
        for (asked, range) in [
            ("bytes=5-40000", start + 5..start + 40_001),
            ("bytes=-1", whole.end - 1..whole.end),
            ("bytes=90000-", start + 90_000..whole.end),
        ] {
            let answer = server.get(film, &[("Range", asked)]);
            assert_eq!(answer.status, 206);
            assert!(answer.body == bytes(7, range), "{film}: {asked}");
        }
        let several = server.get(film, &[("Range", "bytes=0-9,50000-50009")]);
        for at in [start, start + 50_000] {
            let part = bytes(7, at..at + 10);
            assert!(several.body.windows(10).any(|ten| *ten == part));
        }
        let beyond = format!("bytes={}-", whole.end - start);
        assert_eq!(server.get(film, &[("Range", &beyond)]).status, 416);
    }
    assert_eq!(server.get("/media/1", &[]).status, 500, "an empty file is no film");
}

#[test]
fn their_tags_are_as_given_and_strong() {
    let server = Inside::start();
    let answer = server.get("/media/2", &[("Range", "bytes=0-9")]);
    assert_eq!(answer.field("etag"), Some("\"tag-2\""));
    assert_eq!(answer.field("last-modified"), None);
    assert_eq!(server.get("/media/2", &[("If-None-Match", "\"tag-2\"")]).status, 304);
    let if_range = [("If-Range", "\"tag-2\""), ("Range", "bytes=0-9")];
    assert_eq!(server.get("/media/2", &if_range).status, 206);
}

#[test]
fn what_is_told_of_them() {
    let server = Inside::start();
    server.get("/media/2", &[("Range", "bytes=0-9")]);
    let text = server.get("/api/v1/storages", &[]).text();
    let films: serde_json::Value = serde_json::from_str(&text).unwrap();
    let storage = &films[2]["storage"];
    assert_eq!(storage["film"], serde_json::json!([100_001, LEN]));
    assert_eq!(storage["layout"]["total_len"], LEN);
    assert_eq!(storage["windows"][0]["position"], 100_011);
    assert_eq!(storage["bytes_per_second"], 10_000);
    let metrics = server.get("/metrics", &[]).text();
    assert!(metrics.contains("lookbehind_published_total"));
    assert!(!metrics.contains("origin"), "there is none");
}
