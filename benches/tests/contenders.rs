//! What is compared does the same: a contender that finds nothing would be the fastest.

use std::thread;
use std::time::Duration;

use lookbehind_benches::contender::{Body, Case};
use lookbehind_benches::contenders;
use lookbehind_benches::draw::Draw;
use lookbehind_benches::hits::Count;
use lookbehind_benches::rounds::{Plan, hits};
use lookbehind_benches::stock::{Shape, Stock, content, touch};

const SHAPES: [Shape; 2] =
    [Shape { storages: 1, pieces: 64, len: 100 }, Shape { storages: 8, pieces: 32, len: 100 }];
const HITS: u64 = 1_000;

/// What so many hits add up to.
fn expected(shape: Shape, draw: Draw) -> u64 {
    Count { draw, hits: HITS }.run(|key| touch(&content(key, shape.len)))
}

#[test]
fn each_contender_finds_each_piece() {
    for shape in SHAPES {
        let draw = Draw::all(&shape, 1);
        for case in contenders::all(&Stock::new(shape)) {
            if case.name() == "draw alone" {
                continue;
            }
            let sum = case.count(draw.clone(), HITS);
            assert_eq!(sum, expected(shape, draw.clone()), "{} of {shape:?}", case.name());
        }
    }
}

#[test]
fn each_contender_that_is_read_beside_a_writer_shows_what_was_replaced() {
    let shape = SHAPES[1];
    let stock = Stock::new(shape);
    let all = contenders::watching(&stock).into_iter().chain(contenders::writing(&stock));
    for case in all.filter(|case| !case.name().starts_with("floor")) {
        replace_all(&*case, shape);
        let sum = case.count(Draw::all(&shape, 1), HITS);
        assert_eq!(sum, HITS * 2 * 200, "{}", case.name());
    }
}

fn replace_all(case: &dyn Case, shape: Shape) {
    for key in shape.keys() {
        assert!(case.replace(key, &vec![200; shape.len]), "{} replaces {key:?}", case.name());
    }
}

#[test]
fn a_spread_draw_comes_to_its_pieces_alone_and_to_all_of_them() {
    let shape = Shape { storages: 2, pieces: 1024, len: 1 };
    let mut seen = std::collections::HashSet::new();
    let count = Count { draw: Draw::spread(&shape, 16, 1), hits: 10 * HITS };
    count.run(|key| {
        assert!(key.piece.is_multiple_of(1024 / 16) && key.piece < 1024 && key.storage < 2);
        u64::from(seen.insert(key))
    });
    assert_eq!(seen.len(), 2 * 16);
}

#[test]
fn two_threads_take_turns_with_all_contenders_and_end() {
    let shape = SHAPES[1];
    let cases = contenders::all(&Stock::new(shape));
    let plan = Plan { rounds: 2, operations: 50 };
    let rows = hits(&cases, &Draw::all(&shape, 1), 2, plan);
    assert_eq!(rows.len(), cases.len());
    for row in rows {
        assert_eq!(row.kept + row.dropped, 2 * 2, "{}: a sample a round and thread", row.name);
    }
}

#[test]
fn a_tail_beside_a_writer_counts_every_hit_and_every_miss() {
    let shape = Shape { storages: 1, pieces: 16, len: 64 };
    // On a thread of its own, for it is bound to a core.
    let rows = thread::spawn(move || {
        lookbehind_benches::tails::measure(shape, 1, Duration::from_millis(5))
    });
    for row in rows.join().expect("no panic") {
        let (hits, misses) = (row.sample.nanos.len(), row.sample.misses);
        assert_eq!(hits + misses, row.sample.kept * 256, "{}", row.name);
    }
}
