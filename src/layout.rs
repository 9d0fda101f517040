//! Byte offsets and the pieces they fall into.

use std::{ops::Range, sync::Arc};

use crate::error::{Error, Result};

/// Most pieces of a fixed layout.
const MAX_PIECES: u64 = 1 << 24;
/// Most segments that a segmented layout has at one time.
pub(crate) const MAX_SEGMENTS: usize = if cfg!(loom) { 8 } else { 1 << 16 };

/// How the bytes of a film are cut into pieces.
///
/// There are two kinds. A *fixed* layout has pieces of equal size, the last one perhaps
/// shorter, as torrents and ranges of HTTP have them. A *segmented* layout is a list of segments
/// of differing size that grows at its end and is cut off at its front, as live streams have
/// them; numbers and offsets only grow and are never used again.
///
/// A layout is a value: it never changes, and is cheap to clone. All lengths and offsets are in
/// bytes. No method panics, whatever it is given.
///
/// ```
/// use lookbehind::Layout;
///
/// let layout = Layout::fixed(10, 4)?;
/// assert_eq!(layout.pieces(), 0..3);
/// assert_eq!(layout.piece_at(9), Some((2, 1)));
/// assert_eq!(layout.byte_range(2), Some(8..10));
/// assert_eq!(layout.pieces_of(3..5), 0..2);
/// # Ok::<(), lookbehind::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Layout {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Fixed { total: u64, piece_len: u32, pieces: u32 },
    Segments(Segments),
}

/// The segments known at one moment.
#[derive(Clone, Debug)]
struct Segments {
    /// The number of the first segment.
    first: u32,
    /// The length of the longest segment, or 0.
    largest: u32,
    /// Where each segment starts and, last, where the last one ends.
    list: Arc<Vec<u64>>,
    /// So many of these have been dropped, but the next list is made by the next segment: letting
    /// segments go needs no memory. Less than the length of the list.
    dropped: usize,
}

impl Segments {
    /// Where each segment starts and, last, where the last one ends; hence never empty.
    fn bounds(&self) -> &[u64] {
        self.list.get(self.dropped..).unwrap_or_default()
    }

    fn count(&self) -> usize {
        self.bounds().len().saturating_sub(1)
    }

    /// The number of the segment at `index`, which is at most `count()`.
    fn number(&self, index: usize) -> u32 {
        // Appending keeps `first + count` within u32, so that nothing saturates here.
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.first.saturating_add(index)
    }

    /// How many segments start at or before `offset`.
    fn started_by(&self, offset: u64) -> usize {
        let starts = self.bounds().get(..self.count()).unwrap_or_default();
        starts.partition_point(|&start| start <= offset)
    }
}

impl Layout {
    /// A film of `total_len` bytes in pieces of `piece_len` bytes, the last one perhaps shorter.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroLength`] and [`Error::ZeroPieceLength`] for lengths of 0;
    /// [`Error::TooManyPieces`] for more than 2^24 pieces.
    ///
    /// ```
    /// use lookbehind::{Error, Layout};
    ///
    /// assert_eq!(Layout::fixed(10, 4)?.piece_len(2), Some(2));
    /// assert_eq!(Layout::fixed(0, 4).unwrap_err(), Error::ZeroLength);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn fixed(total_len: u64, piece_len: u32) -> Result<Self> {
        if total_len == 0 {
            return Err(Error::ZeroLength);
        }
        if piece_len == 0 {
            return Err(Error::ZeroPieceLength);
        }
        let pieces = total_len.div_ceil(u64::from(piece_len));
        match u32::try_from(pieces) {
            Ok(count) if pieces <= MAX_PIECES => {
                Ok(Self { kind: Kind::Fixed { total: total_len, piece_len, pieces: count } })
            }
            _ => Err(Error::TooManyPieces { pieces, limit: MAX_PIECES }),
        }
    }

    /// How many pieces, from number 0 on, are known to be equally long for good, and how long.
    pub(crate) fn alike(&self) -> (u32, u32) {
        match self.kind {
            Kind::Fixed { piece_len, pieces, .. } => (pieces - 1, piece_len),
            Kind::Segments(_) => (0, 0),
        }
    }

    /// A list of segments, empty as yet. The first segment gets number 0 and starts at offset 0.
    /// At most 2^16 segments are known at one time.
    ///
    /// ```
    /// let layout = lookbehind::Layout::segments();
    /// assert!(layout.is_segmented() && layout.pieces().is_empty());
    /// ```
    #[must_use]
    pub fn segments() -> Self {
        Self::of_segments(0, 0, vec![0])
    }

    fn of_segments(first: u32, largest: u32, bounds: Vec<u64>) -> Self {
        let list = Arc::new(bounds);
        Self { kind: Kind::Segments(Segments { first, largest, list, dropped: 0 }) }
    }

    /// The layout with one more segment of `len` bytes at its end, and the segment's number. Its
    /// list is a new one; `reserve` is told of its bytes (see [`heap_bytes`](Self::heap_bytes))
    /// before it is made.
    ///
    /// # Errors
    ///
    /// [`Error::NotSegmented`] for a fixed layout; [`Error::ZeroLength`] for a segment of no
    /// bytes; [`Error::TooManyPieces`] when 2^16 segments are known, or the numbers are used up;
    /// [`Error::OffsetOutOfRange`] when the offsets are; what `reserve` says;
    /// [`Error::OutOfMemory`] if the allocator refuses.
    pub(crate) fn appended(
        &self,
        len: u32,
        reserve: impl FnOnce(usize) -> Result<()>,
    ) -> Result<(Self, u32)> {
        let Kind::Segments(old) = &self.kind else {
            return Err(Error::NotSegmented);
        };
        if len == 0 {
            return Err(Error::ZeroLength);
        }
        if old.count() >= MAX_SEGMENTS {
            return Err(Error::TooManyPieces {
                pieces: old.count() as u64 + 1,
                limit: MAX_SEGMENTS as u64,
            });
        }
        let number = old.number(old.count());
        if number == u32::MAX {
            // The end of the range of pieces must be a number, too.
            return Err(Error::TooManyPieces {
                pieces: u64::from(number) + 1,
                limit: u64::from(number),
            });
        }
        let end = self.total_len();
        let new_end = end
            .checked_add(u64::from(len))
            .ok_or(Error::OffsetOutOfRange { offset: u64::MAX, len: end })?;
        let count = old.bounds().len() + 1;
        reserve(list_bytes(count))?;
        let mut bounds = room_for(count)?;
        bounds.extend_from_slice(old.bounds());
        bounds.push(new_end);
        Ok((Self::of_segments(old.first, old.largest.max(len), bounds), number))
    }

    /// The layout without the segments before `piece`, which becomes the first. What has been
    /// dropped before stays dropped: an earlier `piece` changes nothing. The end of the range
    /// drops all segments, and the next one goes on with the same numbers and offsets. The list
    /// is shared with this layout.
    ///
    /// # Errors
    ///
    /// [`Error::NotSegmented`] for a fixed layout; [`Error::PieceOutOfRange`] for a `piece`
    /// beyond the end.
    pub(crate) fn dropped_before(&self, piece: u32) -> Result<Self> {
        let Kind::Segments(old) = &self.kind else {
            return Err(Error::NotSegmented);
        };
        let known = self.pieces();
        if piece <= known.start {
            return Ok(self.clone());
        }
        let gone = (piece - known.start) as usize;
        let kept = old
            .bounds()
            .get(gone..)
            .filter(|kept| !kept.is_empty())
            .ok_or(Error::PieceOutOfRange { piece, first: known.start, end: known.end })?;
        let lengths = kept.windows(2).map(|pair| pair[1] - pair[0]);
        // Every segment was appended with a length of 32 bits.
        let largest = u32::try_from(lengths.max().unwrap_or(0)).unwrap_or(u32::MAX);
        let (list, dropped) = (Arc::clone(&old.list), old.dropped + gone);
        Ok(Self { kind: Kind::Segments(Segments { first: piece, largest, list, dropped }) })
    }

    /// Whether this is a list of segments rather than pieces of equal size.
    #[must_use]
    pub fn is_segmented(&self) -> bool {
        matches!(self.kind, Kind::Segments(_))
    }

    /// The pieces there are: from 0 for a fixed layout, the known segments for a segmented one.
    #[must_use]
    pub fn pieces(&self) -> Range<u32> {
        match &self.kind {
            Kind::Fixed { pieces, .. } => 0..*pieces,
            Kind::Segments(list) => list.first..list.number(list.count()),
        }
    }

    /// The offset at which the first piece starts; above 0 once segments have been dropped.
    #[must_use]
    pub fn start_offset(&self) -> u64 {
        match &self.kind {
            Kind::Fixed { .. } => 0,
            Kind::Segments(list) => list.bounds().first().copied().unwrap_or(0),
        }
    }

    /// The offset at which the last piece ends. For a list of segments that counts the segments
    /// that have been dropped as well.
    #[must_use]
    pub fn total_len(&self) -> u64 {
        match &self.kind {
            Kind::Fixed { total, .. } => *total,
            Kind::Segments(list) => list.bounds().last().copied().unwrap_or(0),
        }
    }

    /// The length of a piece, or `None` if there is no such piece.
    #[must_use]
    pub fn piece_len(&self, piece: u32) -> Option<u32> {
        let range = self.byte_range(piece)?;
        u32::try_from(range.end - range.start).ok()
    }

    /// The length of the longest piece; 0 for a list of segments without any.
    #[must_use]
    pub fn largest_piece(&self) -> u32 {
        match &self.kind {
            // A film shorter than one piece fits 32 bits.
            Kind::Fixed { total, piece_len, .. } => {
                u32::try_from(*total).map_or(*piece_len, |total| total.min(*piece_len))
            }
            Kind::Segments(list) => list.largest,
        }
    }

    /// The piece in which the byte at `offset` lies, and where within the piece; `None` before
    /// the first piece and from the end on.
    #[must_use]
    pub fn piece_at(&self, offset: u64) -> Option<(u32, u32)> {
        if offset < self.start_offset() || offset >= self.total_len() {
            return None;
        }
        let (piece, within) = match &self.kind {
            Kind::Fixed { piece_len, .. } => {
                let len = u64::from(*piece_len);
                (u32::try_from(offset / len).ok()?, offset % len)
            }
            Kind::Segments(list) => {
                let index = list.started_by(offset).checked_sub(1)?;
                (list.number(index), offset - list.bounds().get(index)?)
            }
        };
        Some((piece, u32::try_from(within).ok()?))
    }

    /// The offsets of a piece's bytes, or `None` if there is no such piece.
    #[must_use]
    pub fn byte_range(&self, piece: u32) -> Option<Range<u64>> {
        match &self.kind {
            Kind::Fixed { total, piece_len, pieces } => {
                if piece >= *pieces {
                    return None;
                }
                let start = u64::from(piece).checked_mul(u64::from(*piece_len))?;
                let end = start.saturating_add(u64::from(*piece_len)).min(*total);
                Some(start..end)
            }
            Kind::Segments(list) => {
                let index = piece.checked_sub(list.first)? as usize;
                let end = *list.bounds().get(index.checked_add(1)?)?;
                Some(*list.bounds().get(index)?..end)
            }
        }
    }

    /// The pieces that have a byte in the range of offsets, as far as the layout has them; an
    /// empty range if none has, or the range of offsets is empty.
    #[must_use]
    pub fn pieces_of(&self, bytes: Range<u64>) -> Range<u32> {
        let none = self.pieces().start..self.pieces().start;
        let start = bytes.start.max(self.start_offset());
        let end = bytes.end.min(self.total_len());
        if start >= end {
            return none;
        }
        match (self.piece_at(start), self.piece_at(end - 1)) {
            (Some((first, _)), Some((last, _))) => first..last.saturating_add(1),
            _ => none,
        }
    }

    /// The pieces that have a byte in the range of offsets, in order, each with the part of it
    /// that lies in the range. What the layout does not have is left out.
    ///
    /// ```
    /// let layout = lookbehind::Layout::fixed(10, 4)?;
    /// let parts: Vec<_> = layout.parts(3..9).collect();
    /// assert_eq!(parts, [(0, 3..4), (1, 0..4), (2, 0..1)]);
    /// # Ok::<(), lookbehind::Error>(())
    /// ```
    pub fn parts(&self, bytes: Range<u64>) -> impl Iterator<Item = (u32, Range<u32>)> {
        self.pieces_of(bytes.clone()).filter_map(move |piece| {
            let whole = self.byte_range(piece)?;
            let start = bytes.start.max(whole.start) - whole.start;
            let end = bytes.end.min(whole.end) - whole.start;
            Some((piece, u32::try_from(start).ok()?..u32::try_from(end).ok()?))
        })
    }

    /// The memory that the list of segments takes beside the value itself, in bytes; clones
    /// share it. Segments that were dropped are in it until the next one is appended. 0 for a
    /// fixed layout.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match &self.kind {
            Kind::Fixed { .. } => 0,
            Kind::Segments(list) => list_bytes(list.list.capacity()),
        }
    }
}

/// The memory of a list of so many bounds, in bytes.
fn list_bytes(count: usize) -> usize {
    // The two counters of the Arc come on top of what they count.
    2 * size_of::<usize>() + size_of::<Vec<u64>>() + count * size_of::<u64>()
}

/// An empty vector with room for `count` bounds.
fn room_for(count: usize) -> Result<Vec<u64>> {
    let mut bounds = Vec::new();
    bounds.try_reserve_exact(count).map_err(|_| Error::OutOfMemory {
        bytes: (count as u64).saturating_mul(size_of::<u64>() as u64),
    })?;
    Ok(bounds)
}

#[cfg(test)]
mod tests;
