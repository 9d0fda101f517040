//! The model of a film.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use lookbehind::{Error, Layout, Reclaim, Storage, StorageId, StorageOptions};

use crate::input::{Input, content, is_content};

/// What was published, by its film, by how many pieces came before it, and by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    pub(super) who: u64,
    pub(super) generation: u64,
    pub(super) number: u32,
    pub(super) len: usize,
}

impl Piece {
    pub(super) fn bytes(&self) -> Vec<u8> {
        content(self.who << 32 | self.generation, self.number, self.len)
    }

    /// Bytes of memory that it takes: a header, and whole units.
    pub(super) fn size(&self) -> u64 {
        (96 + self.len as u64).next_multiple_of(128)
    }

    /// Compares all bytes.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        is_content(bytes, self.who << 32 | self.generation, self.number, self.len)
    }

    /// Compares the edges.
    pub(super) fn looks_like(&self, bytes: &[u8]) -> bool {
        let who = self.who << 32 | self.generation;
        let edge = bytes.len().min(8);
        bytes.len() == self.len && is_content(&bytes[..edge], who, self.number, edge)
    }
}

/// A piece on its way: its two halves.
pub(super) struct Open {
    pub(super) piece: Piece,
    pub(super) written: [bool; 2],
    pub(super) progress: Duration,
}

impl Open {
    pub(super) fn half(&self, which: usize) -> Range<usize> {
        let middle = self.piece.len / 2;
        if which == 0 { 0..middle } else { middle..self.piece.len }
    }

    pub(super) fn count(&self) -> u64 {
        (0..2).filter(|half| self.written[*half]).map(|half| self.half(half).len() as u64).sum()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.count() == self.piece.len as u64
    }

    pub(super) fn prefix(&self) -> usize {
        match self.written {
            _ if self.is_complete() => self.piece.len,
            [true, false] => self.half(0).len(),
            // The first half of a single byte is empty.
            _ => 0,
        }
    }
}

pub(super) struct Film<R: Reclaim> {
    pub(super) storage: Storage<R>,
    pub(super) id: StorageId,
    pub(super) who: u64,
    pub(super) removed: bool,
    /// The numbers of which pieces are chosen, of a fixed film.
    chosen: Vec<u32>,
    /// A live film's segments, from `first` on.
    live: bool,
    pub(super) first: u32,
    pub(super) starts: Vec<u64>,
    window: Option<u32>,
    piece_len: u64,
    total: u64,
    pub(super) keep_assemblies: bool,
    pub(super) shared_out: Option<u64>,
    published: u64,
    pub(super) present: BTreeMap<u32, Piece>,
    pub(super) open: BTreeMap<u32, Open>,
    pub(super) in_flight: BTreeSet<u32>,
    pub(super) lookbehind: BTreeSet<u32>,
}

impl<R: Reclaim> Film<R> {
    pub(super) fn plan(input: &mut Input) -> (Layout, StorageOptions, FilmPlan) {
        let mut plan = FilmPlan { live: input.once_in(4), ..FilmPlan::default() };
        let mut options = StorageOptions::default().readable_prefix(true);
        plan.keep_assemblies = input.flag();
        options = options.keep_assemblies(plan.keep_assemblies);
        if input.once_in(4) {
            plan.share = Some(input.between(1000, 20_000));
            options = options.share(plan.share.unwrap_or(0));
        }
        if plan.live {
            plan.window = input.flag().then(|| input.between(1, 6) as u32);
            if let Some(window) = plan.window {
                options = options.window(window);
            }
            return (Layout::segments(), options, plan);
        }
        plan.piece_len = input.between(1, 2500);
        // One leaf, or three.
        let pieces = if input.once_in(4) { 1030 } else { input.between(1, 12) };
        plan.total = plan.piece_len * (pieces - 1) + input.between(1, plan.piece_len);
        plan.chosen = match pieces {
            1030 => vec![0, 1, 2, 510, 511, 512, 513, 1023, 1024, 1028, 1029],
            few => (0..few as u32).collect(),
        };
        let layout = Layout::fixed(plan.total, plan.piece_len as u32).unwrap();
        (layout, options, plan)
    }

    pub(super) fn new(storage: Storage<R>, who: u64, plan: FilmPlan) -> Self {
        Self {
            id: storage.id(),
            storage,
            who,
            removed: false,
            chosen: plan.chosen,
            live: plan.live,
            first: 0,
            starts: vec![0],
            window: plan.window,
            piece_len: plan.piece_len,
            total: plan.total,
            keep_assemblies: plan.keep_assemblies,
            shared_out: plan.share,
            published: 0,
            present: BTreeMap::new(),
            open: BTreeMap::new(),
            in_flight: BTreeSet::new(),
            lookbehind: BTreeSet::new(),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// One past the last piece.
    pub(super) fn end(&self) -> u32 {
        if self.live {
            self.first + self.starts.len() as u32 - 1
        } else {
            self.total.div_ceil(self.piece_len) as u32
        }
    }

    pub(super) fn total(&self) -> u64 {
        if self.live { self.starts[self.starts.len() - 1] } else { self.total }
    }

    /// Where the piece starts and ends, if the film has it.
    pub(super) fn range(&self, piece: u32) -> Option<Range<u64>> {
        if piece < self.first || piece >= self.end() {
            return None;
        }
        if self.live {
            let at = (piece - self.first) as usize;
            return Some(self.starts[at]..self.starts[at + 1]);
        }
        let start = u64::from(piece) * self.piece_len;
        Some(start..(start + self.piece_len).min(self.total))
    }

    pub(super) fn len(&self, piece: u32) -> Option<usize> {
        self.range(piece).map(|range| (range.end - range.start) as usize)
    }

    /// The piece at a byte, and where in it.
    pub(super) fn at(&self, byte: u64) -> Option<(u32, usize)> {
        (self.first..self.end()).find_map(|piece| {
            let range = self.range(piece)?;
            range.contains(&byte).then(|| (piece, (byte - range.start) as usize))
        })
    }

    /// A piece of the film, mostly.
    pub(super) fn choose(&self, input: &mut Input) -> u32 {
        if self.live {
            return self.first.saturating_sub(1) + input.small(self.starts.len() as u32 + 1);
        }
        if input.once_in(32) {
            return self.end() + input.small(3);
        }
        self.chosen[input.index(self.chosen.len())]
    }

    pub(super) fn out_of_range(&self, piece: u32) -> Error {
        Error::PieceOutOfRange { piece, first: self.first, end: self.end() }
    }

    /// What is to be published as that piece next.
    pub(super) fn next(&mut self, number: u32, len: usize) -> Piece {
        self.published += 1;
        Piece { who: self.who, generation: self.published, number, len }
    }

    pub(super) fn appended(&mut self, len: u64) {
        self.starts.push(self.total() + len);
    }

    /// From where on the window goes after an append.
    pub(super) fn window_start(&self) -> u32 {
        self.window.map_or(0, |window| self.end().saturating_sub(window)).max(self.first)
    }

    pub(super) fn dropped_before(&mut self, piece: u32) {
        while self.first < piece {
            self.starts.remove(0);
            self.first += 1;
        }
        self.open.retain(|number, _| *number >= piece);
    }
}

#[derive(Default)]
pub(super) struct FilmPlan {
    live: bool,
    chosen: Vec<u32>,
    window: Option<u32>,
    piece_len: u64,
    total: u64,
    keep_assemblies: bool,
    share: Option<u64>,
}
