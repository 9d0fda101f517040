//! `/api/v1/storages`: what the cache holds of each film, as JSON.

use std::ops::Range;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;

use crate::app::App;
use crate::film::{Edition, Film};
use crate::media::text;

/// Runs listed for a film. A film whose pieces are scattered more is cut short, and says so.
const MAX_RUNS: usize = 10_000;

/// `GET /api/v1/storages`.
pub async fn storages(State(app): State<Arc<App>>) -> Response {
    let films: Vec<FilmView<'_>> = app.films.iter().map(FilmView::new).collect();
    match serde_json::to_string(&films) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "no JSON could be made"),
    }
}

/// A film. `storage` is null until its file can be read (again). Films of one torrent share theirs.
#[derive(Serialize)]
struct FilmView<'a> {
    index: usize,
    name: &'a str,
    media: String,
    storage: Option<StorageView>,
}

#[derive(Serialize)]
struct StorageView {
    layout: LayoutView,
    /// Where in the storage the film is: its first byte, and one past its last.
    film: [u64; 2],
    version: u64,
    /// Runs of pieces present: first, and one past the last.
    runs: Vec<[u32; 2]>,
    runs_cut: bool,
    present_pieces: u32,
    present_bytes: u64,
    assembling_pieces: u32,
    bytes_per_second: u64,
    windows: Vec<WindowView>,
}

#[derive(Serialize)]
struct LayoutView {
    total_len: u64,
    piece_len: u32,
    pieces: u32,
}

#[derive(Serialize)]
struct WindowView {
    viewer: u64,
    position: u64,
    ahead: [u64; 2],
    behind: [u64; 2],
    lingering: bool,
}

impl FilmView<'_> {
    fn new(film: &Film) -> FilmView<'_> {
        let edition = film.latest().filter(|edition| !edition.has_ended());
        FilmView {
            index: film.index,
            name: &film.name,
            media: film.url_path(),
            storage: edition.map(|edition| StorageView::new(&edition)),
        }
    }
}

impl StorageView {
    fn new(edition: &Edition) -> StorageView {
        let reader = edition.storage.reader();
        // One snapshot, so that version and runs belong together; it ends before anything waits.
        let snapshot = reader.snapshot();
        let version = snapshot.version();
        let mut all = snapshot.runs();
        let runs = all.by_ref().take(MAX_RUNS).map(|run| [run.start, run.end]).collect();
        let runs_cut = all.next().is_some();
        drop(all);
        drop(snapshot);
        let layout = edition.storage.layout();
        let stats = edition.storage.stats();
        let pair = |range: Range<u64>| [range.start, range.end];
        StorageView {
            layout: LayoutView {
                total_len: layout.total_len(),
                piece_len: layout.piece_len(0).unwrap_or_default(),
                pieces: layout.pieces().end,
            },
            film: pair(edition.within_storage(&(0..edition.len))),
            version,
            runs,
            runs_cut,
            present_pieces: stats.present_pieces,
            present_bytes: stats.present_bytes,
            assembling_pieces: stats.assembling_pieces,
            bytes_per_second: edition.bitrate,
            windows: stats
                .windows
                .into_iter()
                .map(|window| WindowView {
                    viewer: window.viewer,
                    position: window.position,
                    ahead: pair(window.ahead),
                    behind: pair(window.behind),
                    lingering: window.lingering,
                })
                .collect(),
        }
    }
}
