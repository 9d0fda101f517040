//! Instructions of a hit, by Callgrind: `cargo bench -p lookbehind-benches --bench instructions`.
//!
//! They do not depend on how busy the machine is, and so they are a gate: it fails if a way to
//! read takes more than it may. Each figure is of a thousand hits, the draw of the key included,
//! and of what a thread takes once, a reader and a snapshot; limits are a few percent above what
//! was seen. Needs valgrind, and the program `gungraun-runner` in the version of the crate.
#![allow(missing_docs, reason = "gungraun's macros write items without")]

use std::hint::black_box;

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use lookbehind::{Epoch, Hyaline, Interval, Reclaim};
use lookbehind_benches::contender::Case;
use lookbehind_benches::contenders::{
    Convenience, DrawAlone, Films, Floor, HeldHandle, Kept, PerCall,
};
use lookbehind_benches::draw::Draw;
use lookbehind_benches::stock::{Shape, Stock};

const HOT: Shape = Shape { storages: 1, pieces: 64, len: 1 << 10 };
const HITS: u64 = 1_000;

type Boxed = Box<dyn Case>;

/// After a first look at each piece: its mark is set, and what is lazy is there.
fn warm(case: Boxed) -> Boxed {
    black_box(case.count(Draw::all(&HOT, 2), HITS));
    case
}

fn draw_alone() -> Boxed {
    warm(Box::new(DrawAlone))
}

fn floor() -> Boxed {
    warm(Box::new(Floor::new(&Stock::new(HOT))))
}

fn kept<R: Reclaim>() -> Boxed {
    warm(Box::new(Kept(Films::<R>::new(&Stock::new(HOT)))))
}

fn per_call<R: Reclaim>() -> Boxed {
    warm(Box::new(PerCall(Films::<R>::new(&Stock::new(HOT)))))
}

fn convenience<R: Reclaim>() -> Boxed {
    warm(Box::new(Convenience(Films::<R>::new(&Stock::new(HOT)))))
}

fn held<R: Reclaim>() -> Boxed {
    warm(Box::new(HeldHandle(Films::<R>::new(&Stock::new(HOT)))))
}

/// Instructions that a hit may take, and a thread once.
fn at_most(each: u64) -> LibraryBenchmarkConfig {
    const ONCE: u64 = 2_000;
    let limit = each * HITS + ONCE;
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, limit)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

// The cache is not dropped within the measurement: it is handed back.
#[library_benchmark]
#[bench::draw_alone(draw_alone())]
#[bench::floor(floor())]
#[bench::kept(args = (kept::<Interval>()), config = at_most(50))]
#[bench::per_call(args = (per_call::<Interval>()), config = at_most(74))]
#[bench::convenience(args = (convenience::<Interval>()), config = at_most(144))]
#[bench::held(args = (held::<Interval>()), config = at_most(88))]
#[bench::epoch_kept(args = (kept::<Epoch>()), config = at_most(50))]
#[bench::epoch_per_call(args = (per_call::<Epoch>()), config = at_most(124))]
#[bench::hyaline_kept(args = (kept::<Hyaline>()), config = at_most(50))]
#[bench::hyaline_per_call(args = (per_call::<Hyaline>()), config = at_most(244))]
fn thousand_hits(case: Boxed) -> Boxed {
    black_box(case.count(Draw::all(&HOT, 1), HITS));
    case
}

library_benchmark_group!(name = hits, benchmarks = thousand_hits);
main!(library_benchmark_groups = hits);
