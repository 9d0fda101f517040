//! Small pieces on huge pages take no more than is counted, but for the rest of a huge page; and
//! lengths that a film does not share get none.
#![cfg(all(target_os = "linux", not(any(asan, tsan))))]

mod common;

use common::{KIB, MIB, mapped, resident};
use lookbehind::{Cache, Layout};

// One test, for others would change what the process has in memory.
#[test]
fn small_pieces_take_the_rest_of_a_huge_page_and_those_of_no_common_length_none() {
    let cache = Cache::builder().budget(96 * MIB as u64).huge_pages(true).build().unwrap();
    let before = resident();
    assert!(before > 0, "the system does not say");
    for len in [16 * KIB, 32 * KIB] {
        let pieces = (80 * MIB / len) as u32;
        let layout = Layout::fixed(80 * MIB as u64, len as u32).unwrap();
        let film = cache.add_storage(layout).unwrap();
        for piece in 0..pieces {
            film.insert(piece, &vec![1; len]).unwrap();
        }
        let beside = (resident() - before).saturating_sub(cache.stats().resident as usize);
        assert!(beside <= 6 * MIB, "{beside} bytes beside the budget");
        film.remove().unwrap();
        cache.set_budget(MIB as u64).unwrap();
        assert_eq!(cache.shrink(common::PATIENCE), Ok(()));
        let left = resident().saturating_sub(before);
        assert!(left <= 6 * MIB, "{left} bytes are left");
        cache.set_budget(96 * MIB as u64).unwrap();
    } // Each would leave a slab behind for its length.
    let before = mapped();
    let live = cache.add_storage(Layout::segments()).unwrap();
    for n in 0..16 {
        let len = (16 + n) * KIB;
        let segment = live.append_segment(len as u32).unwrap();
        live.insert(segment, &vec![1; len]).unwrap();
        let film = cache.add_storage(Layout::fixed(len as u64, MIB as u32).unwrap()).unwrap();
        film.insert(0, &vec![1; len]).unwrap();
    }
    // Nor would pieces this short fill one.
    let short = cache.add_storage(Layout::fixed(64 * KIB as u64, 8 * KIB as u32).unwrap()).unwrap();
    for piece in 0..8 {
        short.insert(piece, &[1; 8 * KIB]).unwrap();
    }
    let grown = mapped().saturating_sub(before);
    assert!(grown < 4 * MIB, "{grown} bytes of addresses");
}
