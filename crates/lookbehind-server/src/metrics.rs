//! `/metrics`: the cache's and the origin's figures in Prometheus' text format.
//!
//! Nothing is recorded while the server works; each scrape reads the figures where they are kept
//! anyway, so that a hit costs nothing more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::extract::State;
use axum::response::IntoResponse;
use http::header;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::app::App;

/// `GET /metrics`.
pub async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render(&app))
}

fn render(app: &App) -> String {
    // A recorder of its own for each scrape: several servers may live in one process.
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        describe(app);
        record(app);
        if let Some(further) = &app.figures {
            further();
        }
    });
    handle.render()
}

fn describe(app: &App) {
    let bytes = |name: &'static str, text: &'static str| describe_gauge!(name, Unit::Bytes, text);
    bytes("lookbehind_budget_bytes", "What the cache may use");
    bytes("lookbehind_effective_budget_bytes", "What it may use while a lower budget is reached");
    bytes("lookbehind_resident_bytes", "What the cache uses, by state");
    bytes("lookbehind_resident_bytes_peak", "The most that it used at any time");
    bytes("lookbehind_pinned_bytes", "Bytes under at least one handle");
    bytes("lookbehind_response_pinned_bytes", "Bytes that responses were given leave to pin");
    describe_counter!("lookbehind_piece_hits_total", "Reads that found their piece");
    describe_counter!("lookbehind_piece_misses_total", "Reads that did not");
    describe_counter!("lookbehind_evictions_total", "Pieces unpublished to make room");
    describe_counter!("lookbehind_published_total", "Pieces published");
    describe_gauge!("lookbehind_storages", "Storages in the cache");
    describe_gauge!("lookbehind_snapshots", "Snapshots alive");
    describe_gauge!("lookbehind_connections", "Connections open");
    if app.origin.is_none() {
        return;
    }
    describe_counter!("lookbehind_origin_fetches_total", "Pieces asked of the origin");
    describe_counter!("lookbehind_origin_bytes_total", Unit::Bytes, "Bytes read from the origin");
    describe_counter!("lookbehind_origin_cancelled_total", "Fetches that nobody wanted any more");
    describe_counter!("lookbehind_origin_dropped_total", "Fetches that memory was too short for");
    describe_counter!("lookbehind_origin_failures_total", "Fetches that failed");
    describe_counter!("lookbehind_refetches_total", "Pieces fetched again after eviction");
}

fn record(app: &App) {
    let stats = app.cache.stats();
    // Prometheus knows floats only; bytes are exact up to 2^53.
    let set = |name: &'static str, value: u64| gauge!(name).set(value as f64);
    set("lookbehind_budget_bytes", stats.budget);
    set("lookbehind_effective_budget_bytes", stats.effective_budget);
    set("lookbehind_resident_bytes_peak", stats.resident_peak);
    set("lookbehind_pinned_bytes", stats.pinned);
    set("lookbehind_response_pinned_bytes", app.pins.used());
    let states = &stats.states;
    for (state, bytes) in [
        ("assembling", states.assembling),
        ("published", states.published),
        ("limbo", states.limbo),
        ("held", states.held),
        ("pooled", states.pooled),
        ("table", states.table),
    ] {
        gauge!("lookbehind_resident_bytes", "state" => state).set(bytes as f64);
    }
    gauge!("lookbehind_storages").set(stats.storages as f64);
    gauge!("lookbehind_snapshots").set(stats.snapshots as f64);
    gauge!("lookbehind_connections").set(app.connections.load(Relaxed) as f64);
    let count = |name: &'static str, value: u64| counter!(name).absolute(value);
    count("lookbehind_piece_hits_total", stats.hits);
    count("lookbehind_piece_misses_total", stats.misses);
    count("lookbehind_evictions_total", stats.evictions);
    count("lookbehind_published_total", stats.published);
    let Some(origin) = app.origin.as_ref().map(|origin| &origin.counters) else { return };
    let counted = |name: &'static str, value: &AtomicU64| count(name, value.load(Relaxed));
    counted("lookbehind_origin_fetches_total", &origin.fetches);
    counted("lookbehind_origin_bytes_total", &origin.bytes);
    counted("lookbehind_origin_cancelled_total", &origin.cancelled);
    counted("lookbehind_origin_dropped_total", &origin.dropped);
    counted("lookbehind_origin_failures_total", &origin.failed);
    counted("lookbehind_refetches_total", &origin.refetches);
}
