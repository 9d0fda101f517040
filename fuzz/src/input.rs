//! What the targets share: choices drawn from the input, and bytes that say whose they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use arbitrary::Unstructured;

/// Draws choices from the input; an input that has come to its end says zero for ever.
pub(crate) struct Input<'a>(Unstructured<'a>);

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// A number below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.int_in_range(0..=end - 1).unwrap_or(0)
    }

    /// A number below `end`.
    pub(crate) fn index(&mut self, end: usize) -> usize {
        self.below(end as u64) as usize
    }

    /// A number below `end`.
    pub(crate) fn small(&mut self, end: u32) -> u32 {
        self.below(u64::from(end)) as u32
    }

    /// A number from `from` up to and with `to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0.int_in_range(from..=to).unwrap_or(from)
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) + 1 == times
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or(0)
    }

    /// Any number, or one near an edge.
    pub(crate) fn hostile(&mut self) -> u64 {
        let near = self.between(0, 6);
        match self.below(8) {
            0 => near,
            1 => u64::MAX - near,
            2 => u64::from(u32::MAX) - 3 + near,
            3 => (1 << 24) - 3 + near,
            4 => (1_u64 << self.below(64)).saturating_sub(3).saturating_add(near),
            5 => self.below(1 << 16),
            6 => self.below(1 << 32),
            _ => self.0.arbitrary().unwrap_or(0),
        }
    }

    /// The bytes that are left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0.take_rest()
    }
}

/// The bytes of a piece, derived from who it is: no two pieces are alike, nor two parts of one.
pub(crate) fn content(who: u64, piece: u32, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = words(who, piece).take(len.div_ceil(8)).flatten().collect();
    bytes.truncate(len);
    bytes
}

/// Whether these are the bytes of that piece.
pub(crate) fn is_content(bytes: &[u8], who: u64, piece: u32, len: usize) -> bool {
    bytes.len() == len
        && bytes.chunks(8).zip(words(who, piece)).all(|(part, word)| part == &word[..part.len()])
}

fn words(who: u64, piece: u32) -> impl Iterator<Item = [u8; 8]> {
    let mut word = (who + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (u64::from(piece) + 1).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    std::iter::repeat_with(move || {
        word = word.wrapping_add(0x2545_F491_4F6C_DD1D);
        word.to_le_bytes()
    })
}

/// A waker that counts.
#[derive(Default)]
pub(crate) struct Woken(AtomicUsize);

impl Woken {
    pub(crate) fn waker() -> (Arc<Self>, Waker) {
        let woken = Arc::new(Self::default());
        (Arc::clone(&woken), Waker::from(woken))
    }

    pub(crate) fn times(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
