//! Is every read right? It is, if what it says was current at some moment within the call.
//!
//! A piece has lives: an insertion published it at a moment within its call, and an eviction took
//! it away between the moment in which its observer was told and the end of its call. Lives do not
//! overlap, and each was certainly alive when its observer was told: that puts them in order. So
//! publications and evictions of a piece form one chain, each link with an earliest and a latest
//! time, and who read an insertion's bytes narrows its life further. What comes later is no
//! earlier, and the other way round; two sweeps over the chain make the bounds tight, or show that
//! no order of events explains the history. Then a read is right if its call meets the time in
//! which what it says may have been so, found by bisection. In all O(n log n).
//!
//! Reads that found bytes are judged all together, reads that found none each for itself: in
//! which of several gaps each of these fell would be a search. `linear` makes it, for short
//! histories.

use std::collections::HashMap;

use super::record::{Call, Did, Id, Time};

/// What a read found of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Something,
    Bytes(Id),
}

#[derive(Clone, Copy, Debug)]
pub struct Read {
    pub found: Found,
    pub start: Time,
    pub end: Time,
}

/// One insertion: published between two times; told of its eviction, and when that ended.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub id: Id,
    pub published: (Time, Time),
    pub evicted: Option<(Time, Time)>,
}

/// All that happened to one piece.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    pub lives: Vec<Life>,
    pub reads: Vec<Read>,
    /// Evictions of what nobody published.
    pub unknown: Vec<Id>,
}

/// The earliest and the latest time of the two ends of a life.
#[derive(Clone, Copy)]
struct Bounds {
    born: (Time, Time),
    died: (Time, Time),
}

/// Sorts what threads recorded by piece.
pub fn pieces(calls: &[Call]) -> HashMap<u32, Piece> {
    let mut pieces = HashMap::<u32, Piece>::new();
    for call in calls {
        let published = (call.start, call.end);
        let read = |found| Read { found, start: call.start, end: call.end };
        match &call.did {
            Did::Publish(piece, id) => {
                let life = Life { id: *id, published, evicted: None };
                pieces.entry(*piece).or_default().lives.push(life);
            }
            Did::Present(piece) => {
                pieces.entry(*piece).or_default().reads.push(read(Found::Something));
            }
            Did::Read(found) => {
                for (piece, id) in found {
                    let found = id.map_or(Found::Nothing, Found::Bytes);
                    pieces.entry(*piece).or_default().reads.push(read(found));
                }
            }
            Did::EvictNone(_) | Did::Nothing => {}
        }
    }
    let told = calls.iter().flat_map(|call| call.evicted.iter().map(|told| (told, call.end)));
    let mut evictions = HashMap::<(u32, Id), Vec<(Time, Time)>>::new();
    for (told, end) in told {
        evictions.entry((told.piece, told.id)).or_default().push((told.at, end));
    }
    for (number, piece) in &mut pieces {
        for life in &mut piece.lives {
            life.evicted = evictions.get_mut(&(*number, life.id)).and_then(Vec::pop);
        }
    }
    // Told twice of one life, or of none.
    for ((number, id), left) in evictions {
        pieces.entry(number).or_default().unknown.extend(left.iter().map(|_| id));
    }
    pieces
}

/// What is wrong with the history of one piece; nothing, if it can be explained.
pub fn wrong(piece: &Piece) -> Vec<String> {
    let mut wrong: Vec<String> =
        piece.unknown.iter().map(|id| format!("{id} was evicted, but not published")).collect();
    let mut lives = piece.lives.clone();
    lives.sort_unstable_by_key(|life| life.evicted.map_or(Time::MAX, |(told, _)| told));
    let place: HashMap<Id, usize> = lives.iter().enumerate().map(|(n, l)| (l.id, n)).collect();
    let mut chain: Vec<Bounds> = lives.iter().map(bounds).collect();
    if let Err(n) = tighten(&mut chain) {
        wrong.push(format!("published while another was there: {:?}", lives[n]));
        return wrong;
    }
    // Each for itself first, to say which is wrong; then what they say together.
    let mut narrowed = chain.clone();
    for read in &piece.reads {
        let Found::Bytes(id) = read.found else { continue };
        let Some(n) = place.get(&id).copied() else {
            wrong.push(format!("bytes that nobody wrote: {read:?}"));
            continue;
        };
        if read.start > chain[n].died.1 || read.end < chain[n].born.0 {
            wrong.push(format!("stale: {read:?}, but {:?}", lives[n]));
            continue;
        }
        narrowed[n].born.1 = narrowed[n].born.1.min(read.end);
        narrowed[n].died.0 = narrowed[n].died.0.max(read.start);
    }
    if let Err(n) = tighten(&mut narrowed) {
        wrong.push(format!("reads contradict each other about {:?}", lives[n]));
        return wrong;
    }
    for read in &piece.reads {
        let possible = match read.found {
            Found::Bytes(_) => continue,
            Found::Something => {
                let n = narrowed.partition_point(|life| life.died.1 < read.start);
                narrowed.get(n).is_some_and(|life| life.born.0 <= read.end)
            }
            Found::Nothing => {
                // The gap before the first life that may begin after the read has.
                let n = narrowed.partition_point(|life| life.born.1 < read.start);
                n == 0 || narrowed[n - 1].died.0 <= read.end
            }
        };
        if !possible {
            wrong.push(format!("stale: {read:?}"));
        }
    }
    wrong
}

fn bounds(life: &Life) -> Bounds {
    let (told, end) = life.evicted.unwrap_or((Time::MAX, Time::MAX));
    let (start, published) = life.published;
    Bounds { born: (start, published.min(told)), died: (told.max(start), end) }
}

/// Makes the bounds of a chain tight; the place where it breaks, if it does.
fn tighten(chain: &mut [Bounds]) -> Result<(), usize> {
    let mut earliest = 0;
    for life in chain.iter_mut() {
        for end in [&mut life.born, &mut life.died] {
            earliest = earliest.max(end.0);
            end.0 = earliest;
        }
    }
    let mut latest = Time::MAX;
    for life in chain.iter_mut().rev() {
        for end in [&mut life.died, &mut life.born] {
            latest = latest.min(end.1);
            end.1 = latest;
        }
    }
    let broken = |life: &Bounds| life.born.0 > life.born.1 || life.died.0 > life.died.1;
    chain.iter().position(broken).map_or(Ok(()), Err)
}
