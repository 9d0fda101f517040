//! The headline hits, by criterion: `cargo bench -p lookbehind-benches --bench hits`.
//!
//! Criterion measures one contender after another, so what it says about two of them contains
//! what changed about the machine meanwhile; the report lets them take turns. This is for working
//! on one of them.
#![allow(missing_docs, reason = "criterion's macros write functions without")]

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use lookbehind_benches::contenders;
use lookbehind_benches::draw::Draw;
use lookbehind_benches::hits::{Gate, Hits};
use lookbehind_benches::stock::{Shape, Stock};
use lookbehind_benches::thread::pin;

fn hot(criterion: &mut Criterion) {
    group(criterion, "hot", Shape { storages: 1, pieces: 64, len: 64 << 10 });
}

fn uniform(criterion: &mut Criterion) {
    group(criterion, "uniform", Shape { storages: 8, pieces: 1024, len: 16 << 10 });
}

fn group(criterion: &mut Criterion, name: &str, shape: Shape) {
    pin(0);
    let stock = Stock::new(shape);
    let mut group = criterion.benchmark_group(name);
    for case in contenders::all(&stock) {
        group.bench_function(case.name(), |bencher| {
            bencher.iter_custom(|hits| {
                let (draw, gate) = (Draw::all(&shape, 1), Gate::new(1));
                let sample = case.hits(Hits { draw, hits, gate: &gate, turn: 0 });
                Duration::from_secs_f64(sample.nanos * hits as f64 / 1e9)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hot, uniform);
criterion_main!(benches);
