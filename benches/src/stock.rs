//! What every contender holds.

use std::sync::Arc;

/// Where a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The film.
    pub storage: u32,
    /// The piece of it.
    pub piece: u32,
}

/// A piece as the peers hold it: one allocation, one counter.
pub type Piece = Arc<[u8]>;

/// How many pieces of which length.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Films; a power of two.
    pub storages: u32,
    /// Pieces of each; a power of two.
    pub pieces: u32,
    /// Bytes of a piece.
    pub len: usize,
}

impl Shape {
    /// All pieces.
    #[must_use]
    pub fn count(&self) -> usize {
        self.storages as usize * self.pieces as usize
    }

    /// Bytes of all pieces.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.count() * self.len
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = Key> + use<> {
        let Shape { storages, pieces, .. } = *self;
        (0..storages).flat_map(move |storage| (0..pieces).map(move |piece| Key { storage, piece }))
    }
}

/// The pieces: made once, and shared by all contenders that do not copy them.
pub struct Stock {
    /// How many of which length.
    pub shape: Shape,
    pieces: Vec<Piece>,
}

impl Stock {
    /// Makes all pieces.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let pieces = shape.keys().map(|key| Piece::from(content(key, shape.len))).collect();
        Self { shape, pieces }
    }

    /// Each piece with its key.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Piece)> {
        self.shape.keys().zip(&self.pieces)
    }

    /// The same as a table, by storage and piece.
    #[must_use]
    pub fn table(&self) -> Vec<Vec<Piece>> {
        self.pieces.chunks(self.shape.pieces as usize).map(<[Piece]>::to_vec).collect()
    }
}

/// What the piece contains.
#[must_use]
pub fn content(key: Key, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xa5; len];
    mark(&mut bytes, key);
    bytes
}

/// Makes bytes those of another piece: its ends tell it from others, and are never 0.
pub fn mark(bytes: &mut [u8], key: Key) {
    if let [first, .., last] = bytes {
        *first = 1 + (key.storage & 0x7f) as u8;
        *last = 1 + (key.piece & 0x7f) as u8;
    }
}

/// What a hit does with a piece: it looks at the first byte and at the last.
#[inline(always)]
#[must_use]
pub fn touch(bytes: &[u8]) -> u64 {
    match bytes {
        [first, .., last] => u64::from(*first) + u64::from(*last),
        _ => 0,
    }
}
