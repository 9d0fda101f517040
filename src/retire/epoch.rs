//! Reclamation by crossbeam-epoch.
//!
//! Each lane has a participant of its own, pinned while a snapshot is announced. What is
//! deferred only raises a flag (and frees the flag's own few bytes, possibly on a reader, for
//! crossbeam runs deferred functions wherever somebody pins).
//!
//! Limits: a snapshot keeps everything that is unpublished after it, in every storage of the
//! cache; under a hard budget a stalled one stops every writer. Windows are not heeded.

use crossbeam_epoch::{Collector, Guard, LocalHandle};

use super::batches::Batches;
use super::{Lines, List, Record, Scheme, Span};
use crate::sync::{AtomicBool, AtomicPtr, Ordering, Owned};
use crate::table::version::{Root, RootRef};

/// Reclamation by epochs, with [crossbeam-epoch](https://docs.rs/crossbeam-epoch).
#[derive(Debug)]
pub struct Epoch {
    collector: Collector,
}

/// A participant, registered when it is first used.
struct Participant(Option<LocalHandle>);

// SAFETY: a `LocalHandle` points to a participant on the heap, which the collector keeps in a
// list of its own and which nothing ties to a thread; it is not Sync, and every use here is
// exclusive and ordered (a lane by `busy`, a limbo by its pass). This is trusted of
// crossbeam-epoch 0.9, whose handle lacks Send for guards' sake: a guard is kept inside here.
unsafe impl Send for Participant {}

impl Participant {
    fn handle(&mut self, collector: &Collector) -> &LocalHandle {
        self.0.get_or_insert_with(|| collector.register())
    }
}

struct Pinned {
    // Dropped before the participant that it pins.
    guard: Option<Guard>,
    participant: Participant,
}

// SAFETY: as for `Participant`: the guard refers to that participant only, and moves with it.
unsafe impl Send for Pinned {}

pub(crate) struct Announced {
    busy: AtomicBool,
    pinned: Owned<Pinned>,
}

#[derive(Default)]
pub(crate) struct Limbo {
    batches: Batches,
    participant: Option<Participant>,
}

impl Scheme for Epoch {
    type Announcement = Announced;
    type Limbo = Limbo;

    const PRECISE: bool = false;

    fn new() -> Self {
        Self { collector: Collector::new() }
    }

    fn announcement(&self) -> Announced {
        Announced {
            busy: AtomicBool::new(false),
            pinned: Owned::new(Pinned { guard: None, participant: Participant(None) }),
        }
    }

    fn is_idle(lane: &Announced) -> bool {
        // Acquire: pairs with the Release in `leave`: the participant comes along.
        !lane.busy.load(Ordering::Acquire)
    }

    unsafe fn enter(&self, lane: &Announced, root: &AtomicPtr<Root>, _: Span) -> RootRef {
        // Relaxed: the lane has one owner; others only see "idle" by `leave`.
        lane.busy.store(true, Ordering::Relaxed);
        // SAFETY: the lane is the caller's alone.
        unsafe {
            lane.pinned.with(|pinned| {
                pinned.guard = Some(pinned.participant.handle(&self.collector).pin());
            });
            self.renew(lane, root)
        }
    }

    unsafe fn renew(&self, _: &Announced, root: &AtomicPtr<Root>) -> RootRef {
        // Acquire: pairs with the publishing compare-and-swap. What it names is protected since
        // the pin, and no address comes back meanwhile.
        // SAFETY: a table's root is never null.
        unsafe { RootRef::from_ptr(root.load(Ordering::Acquire)).unwrap_unchecked() }
    }

    unsafe fn leave(lane: &Announced) {
        // SAFETY: the lane is the caller's alone.
        unsafe { lane.pinned.with(|pinned| pinned.guard = None) };
        lane.busy.store(false, Ordering::Release);
    }

    unsafe fn collect(
        &self,
        _: &Lines<Self>,
        limbo: &mut Limbo,
        fresh: List,
        free: &mut dyn FnMut(Record),
    ) {
        // SAFETY: the caller's contract, here and below.
        unsafe { limbo.batches.add(fresh) };
        let participant = limbo.participant.get_or_insert(Participant(None));
        let handle = participant.handle(&self.collector);
        loop {
            if let Some(flag) = limbo.batches.start() {
                let guard = handle.pin();
                guard.defer(move || flag.raise());
                guard.flush();
            }
            // Two advances end a grace period; each flush tries one and runs what has expired.
            for _ in 0..3 {
                handle.pin().flush();
            }
            // SAFETY: as above.
            if !unsafe { limbo.batches.take_passed(free) } {
                return;
            }
        }
    }

    #[cfg(feature = "validate")]
    unsafe fn each(limbo: &Limbo, see: &mut dyn FnMut(Record)) {
        // SAFETY: the caller's contract.
        unsafe { limbo.batches.each(see) };
    }

    unsafe fn surrender(limbo: &mut Limbo, free: &mut dyn FnMut(Record)) {
        // SAFETY: the caller's contract.
        unsafe { limbo.batches.take_all(free) };
    }
}
