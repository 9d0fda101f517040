//! A table by itself, used by one thread.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Arc;
use std::thread;

use super::leaf::{LEAF, Leaf, LeafRef, leaf_of, nodes_of, span_of};
use super::publish::{Claim, Domain, Published, Table};
use super::version::{Root, RootRef};
use crate::memory::budget::rounded;
use crate::memory::piece::{PieceRef, size_for};
use crate::memory::{Memory, Purpose, State};
use crate::retire::{Interval, Scheme, Span};

const LEN: u32 = 100;
const SIZE: usize = size_for(LEN as usize);

/// A table that ends with its memory, of which nothing is left then.
struct Alone(ManuallyDrop<Table<Interval>>);

impl Deref for Alone {
    type Target = Table<Interval>;

    fn deref(&self) -> &Table<Interval> {
        &self.0
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let memory = Arc::clone(&self.0.memory);
        // SAFETY: dropped here, once, and not used after.
        unsafe { ManuallyDrop::drop(&mut self.0) };
        memory.close();
        assert!(thread::panicking() || memory.budget.resident() == 0, "bytes are left");
    }
}

fn table(pieces: Option<u32>) -> Alone {
    let table =
        Table::new(&Memory::new(1 << 20, false), &Domain::new(), pieces).expect("there is room");
    Alone(ManuallyDrop::new(table))
}

fn publish(table: &Table<Interval>, piece: u32) -> Published {
    let buffer = table.memory.buffer(piece, LEN, false).expect("there is room");
    let nodes = table.nodes(Purpose::Publish).expect("there is room");
    table.domain.with_lane(|lane| table.publish(lane, nodes, piece, buffer))
}

fn claim(table: &Table<Interval>, limit: usize, wanted: impl Fn(u32) -> bool) -> Vec<Claim> {
    table.domain.with_lane(|lane| table.claim(lane, span_of(0), limit, |piece, _| wanted(piece)))
}

fn unpublish(table: &Table<Interval>, claims: &[Claim]) {
    let nodes = table.nodes(Purpose::Evict).expect("there is room");
    table.domain.with_lane(|lane| table.unpublish(lane, nodes, claims));
}

fn evict(table: &Table<Interval>, piece: u32) {
    let claims = claim(table, 1, |other| other == piece);
    assert_eq!(claims.len(), 1);
    unpublish(table, &claims);
}

/// Looks at the current version, which only the table's own thread can change.
fn current<T>(table: &Table<Interval>, look: impl FnOnce(RootRef) -> T) -> T {
    table.domain.with_lane(|lane| {
        // SAFETY: the lane is this call's, and idle.
        unsafe {
            let root = table.domain.scheme.enter(&lane.announcement, &table.root, Span::ALL);
            let result = look(root);
            Interval::leave(&lane.announcement);
            result
        }
    })
}

fn pieces(claims: &[Claim]) -> Vec<u32> {
    claims.iter().map(|claim| claim.piece).collect()
}

#[test]
fn a_leaf_is_about_its_pieces_and_its_nodes_are_about_none_of_them() {
    assert_eq!(span_of(3), Span { first: 3 * LEAF, last: 4 * LEAF - 1 });
    for piece in [0, LEAF - 1, LEAF, 5 * LEAF + 7, u32::MAX] {
        let (leaf, nodes) = (leaf_of(piece), nodes_of(leaf_of(piece)));
        assert!(span_of(leaf).contains(piece) && nodes.overlaps(span_of(leaf)));
        assert!(!nodes.contains(piece) && !nodes.overlaps(Span::one(piece)));
    }
}

#[test]
fn a_node_takes_its_head_and_a_pointer_for_each_place() {
    for count in [1, 15, 16, 17, 256, 65_536] {
        let pointers = 8 * count as usize;
        assert_eq!(LeafRef::size_for(count), rounded(size_of::<Leaf>() + pointers));
        assert_eq!(RootRef::size_for(count), rounded(size_of::<Root>() + pointers));
    }
}

#[test]
fn a_version_takes_what_is_reckoned_for_it_before_there_is_a_table() {
    type Sized = Table<Interval>;
    for pieces in [None, Some(1), Some(LEAF), Some(LEAF + 1), Some(20_000)] {
        let table = table(pieces);
        let memory = Arc::clone(&table.memory);
        let resident = || memory.budget.resident() as usize;
        let root = Sized::root_bytes(pieces);
        assert_eq!(resident(), root, "{pieces:?}");
        let nodes = table.nodes(Purpose::Publish).unwrap();
        assert_eq!(resident(), root + Sized::version_bytes(pieces), "{pieces:?}");
        assert_eq!(table.node_bytes(), Sized::version_bytes(pieces));
        drop(nodes);
        assert_eq!(resident(), 2 * root, "the root is kept for the next version");
        drop(table);
        assert_eq!(resident(), 0);
    }
}

#[test]
fn a_window_may_touch_as_many_leaves_as_its_segments_can_lie_in() {
    let table = table(None);
    let segments = crate::layout::MAX_SEGMENTS as u32;
    assert!(matches!(publish(&table, LEAF - 1), Published::Done(_)));
    assert!(matches!(publish(&table, LEAF - 1 + segments), Published::Done(_)));
    assert!(matches!(publish(&table, 2 * LEAF + segments), Published::OutOfWindow));
}

#[test]
fn what_is_published_was_born_in_the_version_that_shows_it_first() {
    let table = table(Some(600));
    for piece in 0..3 {
        let Published::Done(held) = publish(&table, piece) else { panic!("piece {piece}") };
        // SAFETY: the version is announced.
        current(&table, |root| unsafe {
            let number = root.head().number;
            assert_eq!((number, held.version()), (u64::from(piece) + 1, number));
            assert_eq!(root.leaf(0).map(|leaf| leaf.head().born), Some(number));
        });
    }
    evict(&table, 1);
    // SAFETY: as above.
    current(&table, |root| unsafe {
        let born = |piece: PieceRef| piece.header().born();
        assert_eq!(root.leaf(0).map(|leaf| leaf.head().born), Some(4));
        assert_eq!(
            (root.get(0).map(born), root.get(1), root.get(2).map(born)),
            (Some(1), None, Some(3))
        );
    });
}

#[test]
fn a_leaf_goes_with_its_last_piece() {
    let table = table(Some(600));
    drop((publish(&table, 0), publish(&table, 1)));
    for (piece, left) in [(0, true), (1, false)] {
        evict(&table, piece);
        // SAFETY: the version is announced.
        assert_eq!(current(&table, |root| unsafe { root.leaf(0) }.is_some()), left);
    }
}

#[test]
fn a_piece_is_claimed_if_it_is_wanted_and_only_once() {
    let table = table(Some(600));
    (0..4).for_each(|piece| drop(publish(&table, piece)));
    let all = |_| true;
    let first = claim(&table, 2, all);
    let second = claim(&table, 9, |piece| piece != 2);
    let third = claim(&table, 9, all);
    assert_eq!([pieces(&first), pieces(&second), pieces(&third)], [vec![0, 1], vec![3], vec![2]]);
    assert_eq!(pieces(&claim(&table, 9, all)), [0; 0]);
    [first, second, third].iter().for_each(|claims| unpublish(&table, claims));
    assert_eq!(table.memory.budget.state(State::Published), 0);
}

#[test]
fn a_pass_is_due_when_as_much_was_unpublished_as_it_is_worth() {
    let table = table(Some(600));
    let due_at = |bytes: usize| table.pass_is_due(bytes) && !table.pass_is_due(bytes + 1);
    assert!(due_at(0));
    drop(publish(&table, 0));
    assert!(due_at(table.node_bytes()));
    evict(&table, 0);
    assert!(due_at(2 * table.node_bytes() + SIZE));
    assert!(table.pass() && due_at(0));
}

#[test]
fn a_table_says_what_waits_for_its_grace_period_and_for_whom() {
    let table = table(Some(600));
    let line = table.domain.lines.claim(&table.domain.scheme);
    let lane = line.idle_lane().unwrap();
    assert!(!table.has_limbo() && !table.pass());
    (0..3).for_each(|piece| drop(publish(&table, piece)));
    assert!(table.has_limbo(), "the versions before");
    assert!(table.pass() && !table.has_limbo());
    // SAFETY: the lane is this test's, and idle.
    unsafe {
        table.domain.scheme.enter(&lane.announcement, &table.root, Span { first: 1, last: 2 })
    };
    evict(&table, 0);
    evict(&table, 1);
    assert!(table.pass() && table.has_limbo(), "the first is free, the second is shown");
    assert_eq!(table.memory.budget.state(State::Limbo), SIZE as u64);
    let shown =
        |born| (0..4).filter(|piece| table.shown_by_stalled(*piece, born)).collect::<Vec<_>>();
    assert_eq!([shown(1), shown(3), shown(4)], [vec![1, 2], vec![1, 2], vec![]]);
    // SAFETY: nothing of the version is used.
    unsafe { Interval::leave(&lane.announcement) };
    assert!(table.pass() && !table.has_limbo());
    assert_eq!((shown(1), table.memory.budget.state(State::Limbo)), (vec![], 0));
}

#[test]
fn a_closed_table_publishes_nothing() {
    let table = table(Some(600));
    let nodes = table.nodes(Purpose::Evict).unwrap();
    table.domain.with_lane(|lane| table.close(lane, nodes));
    assert!(matches!(publish(&table, 0), Published::Closed));
}
