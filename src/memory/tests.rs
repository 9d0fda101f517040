//! Where buffers come from and go to, told by one thread.

use std::ops::Deref;
use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};
use std::thread;

use super::piece::size_for;
use super::*;
use crate::read::held::Held;

const LEN: u32 = 1000;
const SIZE: usize = size_for(LEN as usize);

/// A memory that is closed in the end, as that of a cache is.
struct Room(Arc<Memory>);

impl Deref for Room {
    type Target = Arc<Memory>;

    fn deref(&self) -> &Arc<Memory> {
        &self.0
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.close();
        assert!(thread::panicking() || self.0.budget.resident() == 0, "bytes are left");
    }
}

fn room(budget: u64) -> Room {
    Room(Memory::new(budget, false))
}

fn buffer(memory: &Arc<Memory>) -> Buffer {
    memory.buffer(0, LEN, false).expect("there is room")
}

/// A handle on a buffer that nobody else keeps.
fn held(memory: &Arc<Memory>) -> Held {
    let buffer = buffer(memory);
    // SAFETY: the buffer is alive; its share moves into the handle, which looks at no byte.
    unsafe {
        buffer.piece().retain();
        Held::new(buffer.piece())
    }
}

fn pooled(memory: &Memory) -> u64 {
    memory.budget.state(State::Pooled)
}

#[test]
fn a_buffer_that_comes_back_is_used_again_for_a_piece_of_its_size() {
    let memory = room(1 << 20);
    let first = buffer(&memory);
    let place = first.piece();
    drop(first);
    assert_eq!(pooled(&memory), SIZE as u64);
    let larger = memory.buffer(1, 2000, false).unwrap();
    assert!(larger.piece() != place && larger.size() == size_for(2000));
    let again = buffer(&memory);
    assert_eq!(again.piece(), place);
    assert_eq!((pooled(&memory), memory.budget.resident()), (0, (SIZE + larger.size()) as u64));
}

#[test]
fn above_the_limit_what_is_free_is_not_used_again_and_what_comes_back_is_freed() {
    let memory = room(4 * SIZE as u64);
    let (first, second, third) = (buffer(&memory), buffer(&memory), buffer(&memory));
    drop(first);
    memory.budget.set_limit(2 * SIZE as u64);
    let refused = memory.buffer(0, LEN, false).map(drop);
    assert_eq!((refused, pooled(&memory)), (Err(Refused::Budget), SIZE as u64));
    drop(second);
    assert_eq!((pooled(&memory), memory.budget.resident()), (SIZE as u64, 2 * SIZE as u64));
    // At the limit is not above it.
    let again = buffer(&memory);
    assert_eq!(pooled(&memory), 0);
    drop((again, third));
    assert_eq!(pooled(&memory), 2 * SIZE as u64);
}

#[test]
fn pooled_buffers_are_freed_one_by_one() {
    let memory = room(1 << 20);
    drop((buffer(&memory), buffer(&memory)));
    for left in [1, 0] {
        assert!(memory.free_one_pooled());
        assert_eq!(
            (pooled(&memory), memory.budget.resident()),
            (left * SIZE as u64, pooled(&memory))
        );
    }
    assert!(!memory.free_one_pooled());
}

#[test]
fn what_handles_return_is_taken_back_by_the_next_who_looks() {
    let memory = room(1 << 20);
    assert!(!memory.take_back_returned());
    let (first, second) = (held(&memory), held(&memory));
    assert_eq!(memory.budget.state(State::Held), 2 * SIZE as u64);
    drop((first, second));
    assert_eq!(pooled(&memory), 0, "a drop frees nothing and pools nothing");
    assert!(memory.take_back_returned());
    assert_eq!((pooled(&memory), memory.budget.state(State::Held)), (2 * SIZE as u64, 0));
    assert!(!memory.take_back_returned());
}

#[test]
fn once_closed_everything_is_freed_as_it_comes_back() {
    let memory = room(1 << 20);
    let (used, kept) = (buffer(&memory), held(&memory));
    drop((buffer(&memory), held(&memory)));
    memory.close();
    assert_eq!(memory.budget.resident(), 2 * SIZE as u64);
    drop(used);
    assert_eq!(memory.budget.resident(), SIZE as u64);
    drop(kept);
    assert_eq!((memory.budget.resident(), Arc::strong_count(&memory)), (0, 1));
}

#[test]
fn a_buffer_wakes_who_waits_for_memory_unless_it_was_taken_in_vain() {
    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let memory = room(1 << 20);
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let mut ticket = None;
    memory.freed.register(&mut ticket, &Waker::from(Arc::clone(&woken)));
    buffer(&memory).drop_quietly();
    assert_eq!((woken.0.load(Ordering::Relaxed), pooled(&memory)), (0, SIZE as u64));
    drop(buffer(&memory));
    assert_eq!((woken.0.load(Ordering::Relaxed), pooled(&memory)), (1, SIZE as u64));
    memory.freed.leave(&mut ticket);
}
