//! Byte ranges to pieces and back, and the `Range` header.
//!
//! The model of a layout is a list of pieces, each with its length; what is asked is found by
//! looking at each of them, in 128 bits, and in short films at each byte. The model of the header
//! is in [`header`].

mod header;

use std::ops::Range;

use lookbehind::{Cache, Error, Layout, Storage, StorageOptions};

use crate::input::Input;

/// Cuts films into pieces and reads `Range` headers, as the input says.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(5) {
        0 => small(&mut input),
        1 => hostile(&mut input),
        2 => live(&mut input),
        3 => header::generated(&mut input),
        _ => header::raw(input),
    }
}

/// A film as a list of pieces.
struct Model {
    first: u32,
    start: u128,
    lens: Vec<u32>,
}

impl Model {
    /// Each piece with the byte at which it starts and the one at which it ends.
    fn pieces(&self) -> impl Iterator<Item = (u32, u128, u128)> + '_ {
        let mut at = self.start;
        (self.first..).zip(&self.lens).map(move |(piece, len)| {
            let start = at;
            at += u128::from(*len);
            (piece, start, at)
        })
    }

    fn end(&self) -> u128 {
        self.start + self.lens.iter().map(|len| u128::from(*len)).sum::<u128>()
    }

    /// The pieces that have a byte in the range, each with the part that lies in it.
    fn parts(&self, bytes: &Range<u64>) -> Vec<(u32, Range<u32>)> {
        let (from, to) = (u128::from(bytes.start), u128::from(bytes.end));
        let mut parts = Vec::new();
        for (piece, start, end) in self.pieces() {
            let (first, last) = (from.max(start), to.min(end));
            if first < last {
                parts.push((piece, (first - start) as u32..(last - start) as u32));
            }
        }
        parts
    }

    fn check(&self, layout: &Layout, input: &mut Input) {
        let numbers = self.first..self.first + self.lens.len() as u32;
        assert_eq!(layout.pieces(), numbers);
        assert_eq!(u128::from(layout.start_offset()), self.start);
        assert_eq!(u128::from(layout.total_len()), self.end());
        assert_eq!(layout.largest_piece(), self.lens.iter().copied().max().unwrap_or(0));
        for _ in 0..4 {
            let near = self.first.saturating_add(input.small(self.lens.len() as u32 + 2));
            let piece = if input.flag() { near } else { input.hostile() as u32 };
            let known = self.pieces().find(|(number, ..)| *number == piece);
            let range = layout.byte_range(piece);
            assert_eq!(
                range.map(|r| (u128::from(r.start), u128::from(r.end))),
                known.map(|(_, start, end)| (start, end))
            );
            assert_eq!(
                layout.piece_len(piece).map(u128::from),
                known.map(|(_, start, end)| end - start)
            );
        }
        for _ in 0..4 {
            let offset = self.offset(input);
            let at = u128::from(offset);
            let known = self.pieces().find(|(_, start, end)| (*start..*end).contains(&at));
            let expected = known.map(|(piece, start, _)| (piece, (at - start) as u32));
            assert_eq!(layout.piece_at(offset), expected, "offset {offset}");
        }
        for _ in 0..4 {
            let bytes = self.offset(input)..self.offset(input);
            self.check_range(layout, &bytes);
        }
    }

    fn check_range(&self, layout: &Layout, bytes: &Range<u64>) {
        let parts = self.parts(bytes);
        let found: Vec<_> = layout.parts(bytes.clone()).collect();
        assert_eq!(found, parts, "{bytes:?}");
        let pieces = layout.pieces_of(bytes.clone());
        match (parts.first(), parts.last()) {
            (Some((first, _)), Some((last, _))) => assert_eq!(pieces, *first..*last + 1),
            _ => assert!(pieces.is_empty()),
        }
    }

    /// An offset in the film, near its edges, or anywhere.
    fn offset(&self, input: &mut Input) -> u64 {
        let (start, end) = (self.start as u64, self.end() as u64);
        match input.below(4) {
            0 => input.hostile(),
            1 => start.wrapping_add(input.below(4)).wrapping_sub(2),
            2 => end.wrapping_add(input.below(4)).wrapping_sub(2),
            _ => start + input.below((end - start).max(1)),
        }
    }
}

/// A short film of equal pieces, byte by byte.
fn small(input: &mut Input) {
    let (total, piece_len) = (input.between(1, 300), input.between(1, 70) as u32);
    let layout = Layout::fixed(total, piece_len).expect("lengths that are sensible");
    assert!(!layout.is_segmented() && layout.heap_bytes() == 0);
    let mut lens = vec![0];
    // By counting bytes.
    for _ in 0..total {
        if lens.last() == Some(&piece_len) {
            lens.push(0);
        }
        lens.iter_mut().last().into_iter().for_each(|len| *len += 1);
    }
    let model = Model { first: 0, start: 0, lens };
    model.check(&layout, input);
    let bytes = input.below(total + 3)..input.below(total + 3);
    let mut walked: Vec<(u32, Range<u32>)> = Vec::new();
    let (mut piece, mut within) = (0, 0);
    for byte in 0..total {
        if within == piece_len {
            (piece, within) = (piece + 1, 0);
        }
        assert_eq!(layout.piece_at(byte), Some((piece, within)));
        if bytes.contains(&byte) {
            match walked.last_mut() {
                Some((last, part)) if *last == piece => part.end = within + 1,
                _ => walked.push((piece, within..within + 1)),
            }
        }
        within += 1;
    }
    assert_eq!(layout.parts(bytes).collect::<Vec<_>>(), walked);
}

/// A film of equal pieces with lengths that nobody would choose.
fn hostile(input: &mut Input) {
    let (total, piece_len) = (input.hostile(), input.hostile() as u32);
    let layout = match Layout::fixed(total, piece_len) {
        Ok(layout) => layout,
        Err(error) => {
            let expected = match (total, piece_len) {
                (0, _) => Error::ZeroLength,
                (_, 0) => Error::ZeroPieceLength,
                _ => {
                    let whole = total / u64::from(piece_len);
                    let pieces = whole + u64::from(total % u64::from(piece_len) > 0);
                    Error::TooManyPieces { pieces, limit: 1 << 24 }
                }
            };
            assert_eq!(error, expected);
            if let Error::TooManyPieces { pieces, limit } = error {
                assert!(pieces > limit);
            }
            return;
        }
    };
    let (wide, len) = (u128::from(total), u128::from(piece_len));
    let mut count = wide / len;
    if count * len < wide {
        count += 1;
    }
    assert!(total > 0 && piece_len > 0 && count <= 1 << 24);
    assert_eq!((layout.pieces(), layout.total_len()), (0..count as u32, total));
    assert_eq!(u128::from(layout.largest_piece()), wide.min(len));
    let offset = |input: &mut Input| match input.below(3) {
        0 => input.hostile(),
        1 => total.wrapping_add(input.below(5)).wrapping_sub(2),
        _ => input.below(total),
    };
    for _ in 0..6 {
        let at = offset(input);
        let expected =
            (at < total).then(|| ((u128::from(at) / len) as u32, (u128::from(at) % len) as u32));
        assert_eq!(layout.piece_at(at), expected);
        let piece =
            if input.flag() { input.small(count as u32 + 2) } else { input.hostile() as u32 };
        let start = u128::from(piece) * len;
        let known = (u128::from(piece) < count).then(|| start..(start + len).min(wide));
        let range = layout.byte_range(piece).map(|r| u128::from(r.start)..u128::from(r.end));
        assert_eq!(range, known);
        assert_eq!(layout.piece_len(piece).map(u128::from), known.map(|r| r.end - r.start));
        let bytes = offset(input)..offset(input);
        let within = bytes.start..bytes.end.min(total);
        let pieces = layout.pieces_of(bytes.clone());
        if within.is_empty() {
            assert!(pieces.is_empty());
            assert!(layout.parts(bytes).next().is_none());
            continue;
        }
        let first = (u128::from(within.start) / len) as u32;
        let last = (u128::from(within.end - 1) / len) as u32;
        assert_eq!(pieces, first..last + 1);
        let mut at = u128::from(within.start);
        for (number, part) in layout.parts(bytes).take(5) {
            let start = u128::from(number) * len;
            assert_eq!(start + u128::from(part.start), at);
            at = u128::from(within.end).min(start + len);
            assert_eq!(start + u128::from(part.end), at);
        }
        assert!(at == u128::from(within.end) || last - first >= 5);
    }
}

/// A film that grows at its end and is cut off at its front.
fn live(input: &mut Input) {
    // Nothing is inserted: any length of 32 bits has room.
    let cache = Cache::builder().budget((512 << 30) - 128).build().expect("the largest budget");
    let window = input.flag().then(|| input.between(1, 6) as u32);
    let options = window.map_or_else(StorageOptions::default, |segments| {
        StorageOptions::default().window(segments)
    });
    let film: Storage =
        cache.add_storage_with(Layout::segments(), options).expect("room for an empty film");
    let mut model = Model { first: 0, start: 0, lens: Vec::new() };
    model.check(&film.layout(), input);
    while !input.is_over() {
        if input.below(3) > 0 {
            let len = if input.flag() { input.small(40) } else { input.hostile() as u32 };
            let number = model.first + model.lens.len() as u32;
            let appended = film.append_segment(len);
            if len == 0 {
                assert_eq!(appended, Err(Error::ZeroLength));
            } else {
                assert_eq!(appended, Ok(number));
                model.lens.push(len);
                let count = window.map_or(usize::MAX, |window| window as usize);
                while model.lens.len() > count {
                    model.drop_first();
                }
            }
        } else {
            let end = model.first + model.lens.len() as u32;
            let before = if input.once_in(8) {
                input.hostile() as u32
            } else {
                model.first + input.small(model.lens.len() as u32 + 1)
            };
            let dropped = film.drop_segments_before(before);
            if before > end {
                let first = model.first;
                assert_eq!(dropped, Err(Error::PieceOutOfRange { piece: before, first, end }));
            } else {
                assert_eq!(dropped, Ok(()));
                while model.first < before {
                    model.drop_first();
                }
            }
        }
        let layout = film.layout();
        assert!(layout.is_segmented() && layout.heap_bytes() > 0);
        model.check(&layout, input);
    }
    let fixed = Layout::fixed(9, 4).and_then(|layout| cache.add_storage(layout));
    let fixed = fixed.expect("a small film");
    assert_eq!(fixed.append_segment(4), Err(Error::NotSegmented));
    assert_eq!(fixed.drop_segments_before(1), Err(Error::NotSegmented));
}

impl Model {
    fn drop_first(&mut self) {
        self.start += u128::from(self.lens.remove(0));
        self.first += 1;
    }
}
