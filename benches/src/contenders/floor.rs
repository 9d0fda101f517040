//! What the machine takes.

use std::hint::black_box;

use crate::contender::{Body, Contender};
use crate::stock::{Key, Piece, Stock, touch};

/// A plain table, no protection. Its writer makes the copy, and publishes it to nobody.
pub struct Floor(Vec<Vec<Piece>>);

impl Floor {
    /// With all pieces.
    #[must_use]
    pub fn new(stock: &Stock) -> Self {
        Self(stock.table())
    }
}

impl Contender for Floor {
    fn name(&self) -> String {
        "floor: a plain Vec".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        let Self(table) = self;
        body.run(|key| {
            let piece =
                table.get(key.storage as usize).and_then(|film| film.get(key.piece as usize));
            piece.map_or(0, |piece| touch(piece))
        })
    }

    fn replace(&self, _: Key, bytes: &[u8]) -> bool {
        drop(black_box(Piece::from(bytes)));
        true
    }
}

/// The loop around a hit, and nothing else.
pub struct DrawAlone;

impl Contender for DrawAlone {
    // It has nothing that could be replaced.
    const KEPT: bool = true;

    fn name(&self) -> String {
        "draw alone".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        body.run(|key| u64::from(black_box(key.piece)) + u64::from(black_box(key.storage)))
    }

    fn replace(&self, _: Key, _: &[u8]) -> bool {
        true
    }
}
