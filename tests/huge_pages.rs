//! Buffers on huge pages hold what was written, and give their memory back to the system.
#![cfg(all(target_os = "linux", not(any(asan, tsan))))]

mod common;

use common::{KIB, MIB, resident};
use lookbehind::{Cache, Error, Layout};

const LEN: usize = 64 * KIB;
const PIECES: u32 = 960;

fn content(piece: u32, round: u32) -> Vec<u8> {
    let mut bytes = vec![(piece + round) as u8; LEN];
    bytes[..4].copy_from_slice(&piece.to_le_bytes());
    bytes[LEN - 4..].copy_from_slice(&round.to_le_bytes());
    bytes
}

/// Bytes of the process's mappings that bear this flag, as Linux says: `hg` asks for huge pages, `nh`
/// for none.
fn flagged(flag: &str) -> usize {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut size, mut sum) = (0, 0);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Size:") => size = words.next().map_or(0, |kib| kib.parse().unwrap()),
            Some("VmFlags:") if words.any(|word| word == flag) => sum += size,
            _ => {}
        }
    }
    sum * KIB
}

// One test, for others would change what the process has in memory.
#[test]
fn pieces_on_huge_pages_are_as_they_were_written_and_their_memory_goes_back() {
    let cache = Cache::builder().budget(64 * MIB as u64).huge_pages(true).build().unwrap();
    let film =
        cache.add_storage(Layout::fixed(u64::from(PIECES) * LEN as u64, LEN as u32).unwrap());
    let film = film.unwrap();
    let before = resident();
    assert!(before > 0, "the system does not say");
    let flags = ["hg", "nh"].map(flagged); // stacks bear some
    for round in 0..2 {
        for piece in 0..PIECES {
            film.insert(piece, &content(piece, round)).unwrap();
        }
        let reader = film.reader();
        let snapshot = reader.snapshot();
        for piece in 0..PIECES {
            assert!(snapshot.get(piece).unwrap() == content(piece, round), "piece {piece}");
        }
        // The first one lies where a huge page begins.
        let first = snapshot.get(0).unwrap().as_ptr().addr();
        assert!(round > 0 || first % (2 * MIB) < KIB, "{first:x}");
        drop(snapshot);
        // Two slabs of 512 buffers, each with whole huge pages and a rest; later another length has
        // one as well.
        let asked = ["hg", "nh"].map(flagged);
        let asked = [asked[0] - flags[0], asked[1] - flags[1]];
        assert!(round > 0 || asked == [64 * MIB, 2 * 64 * KIB], "{asked:?}");
        let full = resident() - before;
        assert!(full >= 56 * MIB, "{full} bytes came");
        // Another size makes room for itself: what is freed does not stay with the first one.
        let held = film.get(0).unwrap();
        let other = cache.add_storage(Layout::fixed(32 * MIB as u64, MIB as u32).unwrap()).unwrap();
        for piece in 0..32 {
            other.insert(piece, &vec![piece as u8; MIB]).unwrap();
        }
        let mixed = resident() - before;
        assert!(mixed <= 64 * MIB + 8 * MIB, "{mixed} bytes are there");
        for piece in (0..32).filter(|piece| other.contains(*piece)) {
            assert!(other.get(piece).unwrap().iter().all(|byte| *byte == piece as u8));
        }
        assert!(held[..] == content(0, round));
        drop(held);
        other.remove().unwrap();
        film.evict(0..PIECES).unwrap();
        cache.set_budget(MIB as u64).unwrap();
        assert_eq!(cache.shrink(common::PATIENCE), Ok(()));
        let left = resident().saturating_sub(before);
        assert!(left <= 16 * MIB, "{left} bytes are left");
        cache.set_budget(64 * MIB as u64).unwrap();
    }
    assert!(matches!(film.get(0), Err(Error::Missing { .. })));
}
