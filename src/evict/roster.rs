//! Who is there: a seat for each published piece, so that an eviction draws its sample from all
//! resident pieces alike, at a cost that knows nothing of how many films and pieces there are.
//!
//! A seat is one word, in essence. Taken, it names a film's slot in the directory and a piece; free,
//! the seat that was given back before it: a stack (Treiber 1986) whose head counts what is given
//! back, so that a seat which comes back to the top meanwhile is not taken for the same (ABA; after
//! 2^32 of them just then it would be, and a seat be had twice, or lost). Seats are in segments, each
//! about as long as all before it, which stay for as long as the cache: the most pieces that were
//! resident at once cost 16 bytes each, up to twice that.
//!
//! All of it are hints: no memory is reached through a seat. A piece has its seat from before it is
//! seen until after it is gone, so that a sample may find a piece that is not there, or one twice;
//! it looks it up as a reader does. A piece that no seat was had for is only found by who looks at
//! all.
//!
//! Orderings: what a free seat says is stored before it is on the stack, by Release and Acquire of
//! the head; so for a segment, and its pointer. Model: `seats`.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::memory::budget::rounded;
use crate::memory::piece::PieceRef;
use crate::memory::{Memory, Purpose, Refused};
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Canary, Counter, Ordering};

/// Seats that a cache has from the start; they are part of it, and not counted by the budget.
const FIRST: u32 = if cfg!(loom) {
    2
} else if cfg!(shuttle) {
    32
} else {
    512
};
/// Segments beside those: all together there are nearly 2^32 seats, more than the largest budget has
/// room for pieces. (A piece beyond would have none.)
const SEGMENTS: usize = if cfg!(any(loom, shuttle)) { 4 } else { 22 };
/// Seats that a sample looks at, at most: enough while one of 16 is taken.
const TRIES: u32 = 1024;
/// The seat of a piece that has none.
pub(crate) const NONE: u32 = u32::MAX;

const LOWER: u64 = u32::MAX as u64;

/// A piece as a seat names it: the film's slot in the directory, and the number of the piece.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Entry {
    pub(crate) film: u32,
    pub(crate) piece: u32,
}

impl Entry {
    /// Never 0 in its upper half: that is how a free seat is told from a taken one.
    pub(crate) fn packed(self) -> u64 {
        ((u64::from(self.film) + 1) << 32) | u64::from(self.piece)
    }

    pub(crate) fn unpacked(word: u64) -> Option<Self> {
        let film = (word >> 32).checked_sub(1)? as u32;
        Some(Self { film, piece: word as u32 })
    }
}

struct Seat {
    /// An entry, or in the lower half the next free seat, plus one.
    who: AtomicU64,
    /// Where the piece is, for the processor alone: see [`fetch_early`].
    address: Counter,
    canary: Canary,
}

// SAFETY: atomics; and a canary, which loom checks.
unsafe impl Sync for Seat {}

impl Seat {
    fn free() -> Self {
        Self { who: AtomicU64::new(0), address: Counter::default(), canary: Canary::new() }
    }

    fn sit(&self, entry: Entry, piece: PieceRef) {
        self.who.store(entry.packed(), Ordering::Relaxed);
        self.address.set(piece.as_ptr().addr() as u64);
    }
}

pub(crate) struct Roster {
    memory: Arc<Memory>,
    /// Seats that were ever taken; those from here on are free, and not on the stack.
    used: AtomicU32,
    /// In its lower half the free seat on top of the stack, plus one; in the upper one how many were
    /// put there.
    free: AtomicU64,
    first: Box<[Seat]>,
    segments: [AtomicPtr<Seat>; SEGMENTS],
    /// Numbers drawn so far. Hashed they are random enough, and in one thread the same each time.
    drawn: Counter,
}

impl Roster {
    pub(crate) fn new(memory: &Arc<Memory>) -> Self {
        Self {
            memory: Arc::clone(memory),
            used: AtomicU32::new(0),
            free: AtomicU64::new(0),
            first: (0..FIRST).map(|_| Seat::free()).collect(),
            segments: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())),
            drawn: Counter::default(),
        }
    }

    /// Takes a seat for a piece that is about to be published; `None` if all are taken: see
    /// [`grow`](Self::grow). Lock-free: a step is repeated only because another thread took a seat, or
    /// gave one back.
    pub(crate) fn take(&self, entry: Entry, piece: PieceRef) -> Option<u32> {
        // Acquire, here and below: pairs with the Release in `give_back`, so that what the free seat
        // says is seen. Those who take in between leave that in place: each exchange goes on with
        // the release that it found. Model: `seats`.
        let mut free = self.free.load(Ordering::Acquire);
        while let Some(top) = ((free & LOWER) as u32).checked_sub(1) {
            let seat = self.seat(top)?;
            // If it was taken meanwhile, this is nonsense, and the exchange fails.
            let next = seat.who.load(Ordering::Relaxed) & LOWER;
            let without = free & !LOWER | next;
            let relaxed = Ordering::Relaxed;
            match self.free.compare_exchange_weak(free, without, relaxed, Ordering::Acquire) {
                Ok(_) => {
                    seat.sit(entry, piece);
                    return Some(top);
                }
                Err(now) => free = now,
            }
        }
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let seat = self.seat(used)?;
            let relaxed = Ordering::Relaxed;
            match self.used.compare_exchange_weak(used, used + 1, relaxed, relaxed) {
                Ok(_) => {
                    seat.sit(entry, piece);
                    return Some(used);
                }
                Err(now) => used = now,
            }
        }
    }

    /// Gives back the seat of a piece that is gone, by whoever unpublished it.
    pub(crate) fn give_back(&self, number: u32) {
        let Some(seat) = self.seat(number) else { return };
        let mut free = self.free.load(Ordering::Relaxed);
        loop {
            seat.who.store(free & LOWER, Ordering::Relaxed);
            let with = (free & !LOWER).wrapping_add(1 << 32) | (u64::from(number) + 1);
            // Release: pairs with the Acquire in `take`.
            let relaxed = Ordering::Relaxed;
            match self.free.compare_exchange_weak(free, with, Ordering::Release, relaxed) {
                Ok(_) => return,
                Err(now) => free = now,
            }
        }
    }

    /// Bytes that the budget counts for all segments that there are. They only grow.
    pub(crate) fn bytes(&self) -> usize {
        let there = self.segments.iter().map(|seats| !seats.load(Ordering::Relaxed).is_null());
        (1..).zip(there).filter(|(_, there)| *there).map(|(segment, _)| counted(segment)).sum()
    }

    /// Bytes that the budget counts for the next segment.
    pub(crate) fn growth(&self) -> usize {
        let (segment, _) = place(self.used.load(Ordering::Relaxed));
        counted(segment)
    }

    /// Allocates the segment of the seats to come, unless it is there.
    pub(crate) fn grow(&self) -> Result<(), Refused> {
        let (segment, _) = place(self.used.load(Ordering::Relaxed));
        let slot = segment.checked_sub(1).and_then(|slot| self.segments.get(slot));
        let Some(slot) = slot.filter(|slot| slot.load(Ordering::Relaxed).is_null()) else {
            return Ok(());
        };
        let (bytes, layout) = (counted(segment), layout_of(segment));
        if !self.memory.reserve_node(bytes, Purpose::Publish) {
            return Err(Refused::Budget);
        }
        let Some(seats) = allocate(segment_len(segment), layout) else {
            self.memory.release_node(bytes);
            return Err(Refused::Allocator);
        };
        // Release: pairs with the Acquire in `seat`, so that it is seen as it was allocated.
        let (null, relaxed) = (std::ptr::null_mut(), Ordering::Relaxed);
        if slot.compare_exchange(null, seats.as_ptr(), Ordering::Release, relaxed).is_err() {
            // Another thread was first.
            // SAFETY: allocated with this layout above, and nobody else's.
            unsafe { dealloc(seats.as_ptr().cast(), layout) };
            self.memory.release_node(bytes);
        }
        Ok(())
    }

    /// The seat of that number, if there is memory for it.
    fn seat(&self, number: u32) -> Option<&Seat> {
        let (segment, place) = place(number);
        let Some(slot) = segment.checked_sub(1) else { return self.first.get(place) };
        // Acquire: pairs with the Release in `grow`. Model: `seats`, a new segment.
        let seats = NonNull::new(self.segments.get(slot)?.load(Ordering::Acquire))?;
        // SAFETY: a segment has that many seats, and stays until the roster is dropped.
        let seat = unsafe { seats.add(place).as_ref() };
        seat.canary.sing();
        Some(seat)
    }

    /// What a taken seat says; its piece is about to be looked at.
    fn taken(&self, number: u32) -> Option<u64> {
        let seat = self.seat(number)?;
        let word = seat.who.load(Ordering::Relaxed);
        if word & !LOWER == 0 {
            return None;
        }
        fetch_early(seat.address.get() as usize);
        Some(word)
    }

    /// Adds up to `count` pieces, of which there are `resident`; whether that is all. It is if few
    /// seats are in use, or few are taken and not too many in use; else they are drawn from all alike,
    /// one from each of `count` equal parts of the seats in turn, so that hardly any is drawn twice.
    /// Packed, as a seat has them.
    pub(crate) fn sample(&self, count: usize, resident: u64, words: &mut Vec<u64>) -> bool {
        let used = self.used.load(Ordering::Relaxed);
        if used as usize <= count || (used <= TRIES && resident <= count as u64) {
            words.extend((0..used).filter_map(|number| self.taken(number)).take(count));
            return true;
        }
        // From any part on: if many seats are free, the last round ends before its last part.
        let mut part = self.draw(1).next().map_or(0, |number| below(number, count as u32));
        for number in self.draw(TRIES) {
            part = (part + 1) % count as u32;
            // Where a part ends within a seat, the next one begins there.
            let (part, within) = (u64::from(part), u64::from(below(number, used)));
            let seat = (part * u64::from(used) + within) / count as u64;
            let Some(word) = self.taken(seat as u32) else { continue };
            if words.last() == Some(&word) {
                continue;
            }
            words.push(word);
            if words.len() == count {
                break;
            }
        }
        false
    }

    /// So many random numbers.
    pub(crate) fn draw(&self, count: u32) -> impl Iterator<Item = u64> + use<> {
        let first = self.drawn.get();
        self.drawn.add(u64::from(count));
        (0..u64::from(count)).map(move |n| splitmix(first.wrapping_add(n)))
    }
}

/// Has the processor fetch a piece's header, if there still is one. An eviction takes as long as it
/// waits for such lines; and with a fence for each look at a piece, it would wait for one after the
/// other.
fn fetch_early(header: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in [0, 64] {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let line = std::ptr::without_provenance(header.wrapping_add(line));
        // SAFETY: a hint that nothing follows from, whatever is at the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = header;
}

/// A random number below `end`.
pub(crate) fn below(number: u64, end: u32) -> u32 {
    (((number >> 32) * u64::from(end)) >> 32) as u32
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014), over its own sequence.
fn splitmix(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The segment of a seat, 0 for the first seats, and its place there.
fn place(number: u32) -> (usize, usize) {
    let segment = (number / FIRST + 1).ilog2();
    let before = FIRST * ((1 << segment) - 1);
    (segment as usize, (number - before) as usize)
}

fn segment_len(segment: usize) -> usize {
    (FIRST as usize) << segment
}

/// Bytes that the budget counts for a segment.
fn counted(segment: usize) -> usize {
    rounded(segment_len(segment) * size_of::<Seat>())
}

fn layout_of(segment: usize) -> Layout {
    let layout = Layout::array::<Seat>(segment_len(segment));
    layout.unwrap_or_else(|_| unreachable!("segments are far from the end of the addresses"))
}

/// Free seats; `None` if the allocator refuses.
fn allocate(len: usize, layout: Layout) -> Option<NonNull<Seat>> {
    if !cfg!(any(loom, shuttle, asan, tsan)) {
        // Zeros are free seats, and the system has large ones ready.
        // SAFETY: the size is not zero.
        return NonNull::new(unsafe { alloc_zeroed(layout) }.cast());
    }
    // SAFETY: the size is not zero.
    let seats = NonNull::<Seat>::new(unsafe { alloc(layout) }.cast())?;
    for place in 0..len {
        // SAFETY: within what was just allocated.
        unsafe {
            seats.add(place).write(Seat::free());
            seats.add(place).as_ref().canary.rise();
        }
    }
    Some(seats)
}

impl Drop for Roster {
    fn drop(&mut self) {
        for (segment, seats) in (1..).zip(&self.segments) {
            let Some(seats) = NonNull::new(seats.load(Ordering::Relaxed)) else { continue };
            // SAFETY: allocated by `grow` with this layout; nobody has the roster any more.
            unsafe { dealloc(seats.as_ptr().cast(), layout_of(segment)) };
            self.memory.release_node(counted(segment));
        }
    }
}

#[cfg(feature = "validate")]
impl Roster {
    /// Who sits where, and the bytes that the budget counts for seats, while nobody else uses the
    /// cache; or what is wrong.
    pub(crate) fn audit(&self) -> Result<(std::collections::HashMap<u32, Entry>, u64), String> {
        use crate::validate::check;
        let used = self.used.load(Ordering::Relaxed);
        let taken: std::collections::HashMap<_, _> = (0..used)
            .filter_map(|number| Some((number, Entry::unpacked(self.taken(number)?)?)))
            .collect();
        let mut free = 0;
        let mut next = self.free.load(Ordering::Relaxed) & LOWER;
        while let Some(number) = (next as u32).checked_sub(1) {
            check!(number < used && !taken.contains_key(&number), "seat {number} is not free");
            check!(free < used, "the free seats go round in a circle");
            free += 1;
            next = self.seat(number).map_or(0, |seat| seat.who.load(Ordering::Relaxed)) & LOWER;
        }
        let all = taken.len() + free as usize;
        check!(all == used as usize, "of {used} seats {all} are taken or free");
        Ok((taken, self.bytes() as u64))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn roster(budget: u64) -> Roster {
        Roster::new(&Memory::new(budget, false))
    }

    fn entry(piece: u32) -> Entry {
        Entry { film: piece % 7, piece }
    }

    /// Takes a seat, if one is free.
    fn try_take(roster: &Roster, piece: u32) -> Option<u32> {
        // Nobody follows it.
        let nowhere = PieceRef::from_ptr(std::ptr::dangling_mut())?;
        roster.take(entry(piece), nowhere)
    }

    /// Takes a seat, with a segment more if one is needed.
    fn take(roster: &Roster, piece: u32) -> u32 {
        try_take(roster, piece).unwrap_or_else(|| {
            roster.grow().unwrap();
            try_take(roster, piece).unwrap()
        })
    }

    #[test]
    fn seats_are_apart_and_those_that_were_given_back_are_used_again() {
        let roster = roster(1 << 20);
        let seats: Vec<_> = (0..5 * FIRST).map(|piece| take(&roster, piece)).collect();
        assert_eq!(seats, Vec::from_iter(0..5 * FIRST));
        for (piece, seat) in (0..).zip(&seats) {
            assert_eq!(roster.taken(*seat), Some(entry(piece).packed()));
        }
        for seat in (0..5 * FIRST).step_by(3) {
            roster.give_back(seat);
            assert_eq!(roster.taken(seat), None);
        }
        let mut again: Vec<_> =
            (0..5 * FIRST).step_by(3).map(|piece| take(&roster, piece)).collect();
        again.sort_unstable();
        assert_eq!(again, Vec::from_iter((0..5 * FIRST).step_by(3)));
        assert_eq!(take(&roster, 0), 5 * FIRST);
    }

    #[test]
    fn segments_are_counted_and_refused_by_the_budget() {
        let bytes = (2 * FIRST as usize * size_of::<Seat>()) as u64;
        let roster = roster(2 * bytes);
        let memory = Arc::clone(&roster.memory);
        (0..FIRST).for_each(|piece| assert_eq!(try_take(&roster, piece), Some(piece)));
        assert_eq!(memory.budget.resident(), 0, "the first seats are the cache's own");
        assert_eq!(try_take(&roster, 0), None);
        assert_eq!(roster.growth() as u64, bytes);
        roster.grow().unwrap();
        roster.grow().unwrap();
        assert_eq!(memory.budget.resident(), bytes);
        (0..2 * FIRST).for_each(|piece| assert!(try_take(&roster, piece).is_some()));
        assert_eq!(roster.grow(), Err(Refused::Budget));
        assert_eq!(try_take(&roster, 0), None);
        drop(roster);
        assert_eq!(memory.budget.resident(), 0);
    }

    #[test]
    fn a_seat_is_found_in_its_segment() {
        let mut next = (0, 0);
        for number in 0..20 * FIRST {
            assert_eq!(place(number), next, "{number}");
            next.1 += 1;
            if next.1 == segment_len(next.0) {
                next = (next.0 + 1, 0);
            }
        }
        let last = place(NONE - FIRST);
        assert_eq!(last, (SEGMENTS, segment_len(SEGMENTS) - 1));
        assert_eq!(place(NONE - FIRST + 1).0, SEGMENTS + 1);
    }

    fn fill(roster: &Roster, pieces: std::ops::Range<u32>) {
        for piece in pieces {
            take(roster, piece);
        }
    }

    fn sample(roster: &Roster, resident: u64) -> Vec<u32> {
        let mut words = Vec::new();
        roster.sample(64, resident, &mut words);
        words.into_iter().map(|word| Entry::unpacked(word).unwrap().piece).collect()
    }

    #[test]
    fn few_are_sampled_whole_and_many_without_repetition() {
        let roster = roster(1 << 20);
        fill(&roster, 0..40);
        assert_eq!(sample(&roster, 40), Vec::from_iter(0..40));
        fill(&roster, 40..3000);
        for _ in 0..100 {
            let mut some = sample(&roster, 3000);
            some.sort_unstable();
            some.dedup();
            assert_eq!(some.len(), 64);
        }
        // Those that are left on many seats are found as well as may be.
        (64..3000).for_each(|seat| roster.give_back(seat));
        assert!(sample(&roster, 64).iter().all(|piece| *piece < 64));
        (0..64).for_each(|seat| roster.give_back(seat));
        assert_eq!(sample(&roster, 0), []);
    }

    #[test]
    fn all_are_drawn_alike() {
        const PIECES: u32 = 2000;
        const ROUNDS: u32 = 4000;
        let roster = roster(1 << 20);
        fill(&roster, 0..2 * PIECES);
        // Every other seat is free.
        (0..PIECES).for_each(|n| roster.give_back(2 * n));
        let mut times = vec![0_u32; 2 * PIECES as usize];
        for _ in 0..ROUNDS {
            for piece in sample(&roster, u64::from(PIECES)) {
                times[piece as usize] += 1;
            }
        }
        let expected = f64::from(64 * ROUNDS) / f64::from(PIECES);
        let odd = times.iter().skip(1).step_by(2);
        let squares: f64 = odd.map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
        // Chi squared of 2,000 degrees of freedom, less a little, for none is drawn twice at once.
        assert!((1600.0..2400.0).contains(&squares), "{squares}");
        assert!(times.iter().step_by(2).all(|n| *n == 0));
    }
}
