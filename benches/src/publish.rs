//! What publishing costs beside the copy: a given piece is replaced by another one of 64 bytes,
//! in tables of a thousand to a million pieces.

use crate::contenders::{self, Cases};
use crate::draw::Draw;
use crate::figures::Row;
use crate::rounds::{Plan, Probe, probes};
use crate::stock::{Shape, Stock, content, mark};

/// Bytes of a piece.
pub const LEN: usize = 64;

/// Replacing, in a film of so many pieces (a power of two), by every table that can be written.
/// This crate needs two versions for it, one without the piece and one with it again.
#[must_use]
pub fn measure(pieces: u32, plan: Plan) -> Vec<Row> {
    let shape = Shape { storages: 1, pieces, len: LEN };
    let stock = Stock::new(shape);
    let cases: Cases = contenders::writing(&stock);
    let replacing = cases.iter().map(|case| {
        let mut draw = Draw::all(&shape, 1);
        let mut bytes = content(draw.key(), LEN);
        Probe::new(case.name(), move |times| {
            for _ in 0..times {
                let key = draw.key();
                mark(&mut bytes, key);
                assert!(case.replace(key, &bytes), "nothing is in the way of a piece");
            }
        })
    });
    probes(replacing.collect(), plan)
}
